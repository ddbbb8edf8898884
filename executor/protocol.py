"""The frames between a lane and its zygote: fixed-size headers. Shared by both sides, standard library only.

What a program is given and what it leaves travels in memory files beside them, whose descriptors a request carries. The
zygote, of whose memory every program has a copy, never reads them.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

MAGIC = b"xec2"
RUN, SPLIT, SCRIPT = 0, 1, 2
"""RUN: one process for a program's tests; the request carries its job, its report and its output. SPLIT: one for the
program and one for the data set's test code, joined by a socket; the request carries job and report of each. SCRIPT: as
RUN, and one more for what the program writes to standard error, which is lost else."""
DESCRIPTORS = {RUN: 3, SPLIT: 4, SCRIPT: 4}
ENDED, CPU_KILLED, WALL_KILLED, DISK_KILLED, IDLE_KILLED = 0, 1, 2, 3, 4
"""How a program's process came to its end: by itself, or killed by the zygote; the last for what all of its tests
waited together."""
TIME_LIMIT_STATUS = 27
"""Exit status of a process that its own CPU timer ended (SIGPROF's number)."""
MEMORY_STATUS, OUTPUT_STATUS, HARNESS_STATUS, SETUP_FAILED_STATUS = 28, 29, 98, 99
"""Exit statuses of a process whose harness could not go on: no memory, the report full, anything else, and a failed
set-up."""

JOB_FORMAT = 4
"""Of `marshal`, which judge and interpreter may have of different versions: 3.11 to 3.13 read it. Read only what the
judge wrote."""

FRAGMENT_END = "\x1e"
"""Behind each part of a line that is reported in parts."""

FILENAME = "<program>"
"""What a program's code objects call their file."""
REPORT, RPC, INPUT, OUTPUT, JOB = 3, 4, 5, 6, 7
"""A program's descriptors: the report, the socket of a split run, spare copies of the memory files behind 0 and 1; the
job, while its process is being set up, is the last."""

REQUEST = struct.Struct("<4sB3xIIIQQQ")
REPLY = struct.Struct("<4siIQQQ")
HELLO = struct.Struct("<4sI")
"""What a zygote sends first: the length of the JSON that follows."""


class LaneFailure(Exception):
    """The other side broke off, or answered something that is no frame."""


class Request(NamedTuple):
    """What a zygote is to run."""

    kind: int
    tests: int
    processes: int
    """Processes and threads the program may have."""
    cpu_total_s: int
    """Hard limit over all tests, whole seconds."""
    limit_ns: int
    """CPU time per test."""
    memory_bytes: int
    """Address space beyond what the zygote itself has."""
    file_bytes: int
    """Largest file, standard output included."""

    def pack(self) -> bytes:
        """The header's bytes."""
        return REQUEST.pack(MAGIC, *self)


class Reply(NamedTuple):
    """How a process ended. A SPLIT has two: the program's and the tests'."""

    status: int
    """As waitpid returns it."""
    cause: int
    cpu_us: int
    wall_us: int
    peak_kib: int

    def pack(self) -> bytes:
        """The header's bytes."""
        return REPLY.pack(MAGIC, *self)


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes, and not one more. Raises LaneFailure when the other side closes first."""
    data = connection.recv(count)
    if len(data) == count:
        return data
    parts = [data]
    missing = count - len(data)
    while missing:
        data = connection.recv(min(missing, 1 << 20))
        if not data:
            raise LaneFailure("the connection was closed")
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def receive_request(connection: socket.socket) -> tuple[Request, list[int]]:
    """Next request, and the descriptors that it carries. Raises LaneFailure."""
    data, descriptors, _, _ = socket.recv_fds(connection, REQUEST.size, max(DESCRIPTORS.values()))
    if len(data) != REQUEST.size:
        raise LaneFailure("the connection was closed")
    magic, *fields = REQUEST.unpack(data)
    if magic != MAGIC:
        raise LaneFailure("not a request")
    request = Request(*fields)
    if len(descriptors) != DESCRIPTORS[request.kind]:
        raise LaneFailure("not the files of a request")
    return request, descriptors


def receive_reply(connection: socket.socket) -> Reply:
    """Next reply. Raises LaneFailure."""
    magic, *fields = REPLY.unpack(receive(connection, REPLY.size))
    if magic != MAGIC:
        raise LaneFailure("not a reply")
    return Reply(*fields)


def receive_hello(connection: socket.socket) -> bytes:
    """What a zygote says of itself, JSON. Raises LaneFailure."""
    magic, size = HELLO.unpack(receive(connection, HELLO.size))
    if magic != MAGIC:
        raise LaneFailure("not a zygote")
    return receive(connection, size)
