"""The frames between a lane and its zygote, fixed-size headers and bytes. Shared by both sides, standard library only."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

MAGIC = b"xec1"
RUN, SPLIT = 0, 1
"""RUN: one process for a program's tests. SPLIT: one for the program and one for the data set's test code, joined by a socket."""
ENDED, CPU_KILLED, WALL_KILLED = 0, 1, 2
"""How a program's process came to its end: by itself, or killed by the zygote."""
TIME_LIMIT_STATUS = 27
"""Exit status of a process that its own CPU timer ended (SIGPROF's number)."""
MEMORY_STATUS, OUTPUT_STATUS, HARNESS_STATUS, SETUP_FAILED_STATUS = 28, 29, 98, 99
"""Exit statuses of a process whose harness could not go on: no memory, the report full, anything else, and a failed set-up."""

FILENAME = "<program>"
"""What a program's code objects call their file."""
REPORT, RPC, INPUT, OUTPUT, FIRST_FREE = 3, 4, 5, 6, 7
"""A program's descriptors: the report, the socket of a split run, spare copies of the memory files behind 0 and 1, and the first unused."""

REQUEST = struct.Struct("<4sB3xIIIIQQQ")
REPLY = struct.Struct("<4siIIIQQQ")


class LaneFailure(Exception):
    """The other side broke off, or answered something that is no frame."""


class Request(NamedTuple):
    """What a zygote is to run; `body_bytes` bytes of JSON follow. A SPLIT is followed by a length and the tester's own JSON."""

    kind: int
    body_bytes: int
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
    """How a process ended; report and output follow."""

    status: int
    """As waitpid returns it."""
    cause: int
    report_bytes: int
    output_bytes: int
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


def receive_request(connection: socket.socket) -> Request:
    """Next request. Raises LaneFailure."""
    magic, *fields = REQUEST.unpack(receive(connection, REQUEST.size))
    if magic != MAGIC:
        raise LaneFailure("not a request")
    return Request(*fields)


def receive_reply(connection: socket.socket) -> Reply:
    """Next reply. Raises LaneFailure."""
    magic, *fields = REPLY.unpack(receive(connection, REPLY.size))
    if magic != MAGIC:
        raise LaneFailure("not a reply")
    return Reply(*fields)
