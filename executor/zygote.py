"""The lane's server process: one thread, a warm standard library, one fork per program.

Started by exec, never forked from the process that uses it (forking one that holds torch costs tens of milliseconds)::

    python -s -S -P -B -c "import sys; sys.path.insert(0, ROOT); from executor.zygote import main; main()" OPTIONS

OPTIONS is JSON: socket (descriptor), namespaces (whether to try them), packages (folders that programs may import), preload (names
of those to load at once), box (working folder where no root of the lane's own can be had). Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from executor import protocol
from executor.isolation import CpuTimer, Isolation, address_space, beyond_standard, kill_stragglers, libc, limit_program, stack_is_small
from executor.protocol import CPU_KILLED, ENDED, SETUP_FAILED_STATUS, WALL_KILLED, LaneFailure, Reply, Request

WARM = (
    "abc array bisect calendar cmath collections copy dataclasses datetime decimal enum fractions functools heapq io itertools json math "
    "numbers operator os queue random re statistics string struct textwrap threading time traceback types typing warnings"
).split()
TICK_S = 0.05
LAST_WORDS_S = 0.2

Role = Callable[[Any, int, CpuTimer], None]


def main() -> None:
    """Serves until the other end of the socket closes."""
    options = json.loads(sys.argv[1])
    if stack_is_small():
        # The room a main thread's stack can grow into is laid out at exec.
        os.execv(sys.executable, sys.orig_argv)
    connection = socket.socket(fileno=options["socket"])
    lane = Isolation()
    inside = lane.enter(options["namespaces"])
    pid = os.fork()
    if pid:
        connection.close()
        os.waitpid(pid, 0)
        os._exit(0)
    prefixes = [f"{prefix}/{name}" for prefix in {sys.base_prefix, sys.base_exec_prefix} for name in ("lib", "lib64")]
    python_paths = [path for path in prefixes if os.path.isdir(path) and path not in ("/usr/lib", "/usr/lib64")]
    roles = warm_up()
    mapped = address_space()  # read now: the lane will have no /proc
    lane.confine(inside, python_paths, options["packages"], options["box"])
    folders = ["/packages"] if lane.mounted else sorted({os.path.dirname(path) for path in options["packages"]})
    sys.path[:] = [path for path in sys.path if path != options["root"]] + folders
    mapped += preload(lane, options["preload"])
    errors = os.fdopen(beyond_standard(2), "w")  # descriptor 2 will be a program's
    try:
        Zygote(lane, connection, roles, mapped).serve()
    except BaseException:
        traceback.print_exc(file=errors)
        errors.flush()
        raise


def warm_up() -> dict[str, Role]:
    """Loads what programs commonly import, and the harness: what each kind of process does with its job."""
    # Neither a thread registry nor a generator needs mending after the fork of a process with one thread and a fixed seed;
    # without these callbacks a fork touches a third of the pages.
    register = os.register_at_fork
    os.register_at_fork = lambda **_: None
    for name in WARM:
        importlib.import_module(name)
    from executor import child, split

    os.register_at_fork = register
    import _sitebuiltins
    import builtins
    import threading
    import warnings

    for name in ("exit", "quit"):  # the site module adds these, and programs end with them
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    threading.stack_size(8 << 20)  # not the main thread's limit, which would count in full for every thread
    warnings.simplefilter("ignore")
    sys.argv[:] = ["program.py"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "executor"]:
        del sys.modules[name]  # a program may have a module of this name
    return {"tests": child.run_tests, "serve": split.serve, "ask": split.ask}


def preload(lane: Isolation, names: list[str]) -> int:
    """Loads packages from inside the lane, where programs will find them; the address space that it took, in bytes."""
    sizes = []
    for name in ["", *names]:
        if name:
            importlib.import_module(name)
        told = lane._read_proc(f"{os.getpid()}/statm").split()
        sizes.append(int(told[0]) * os.sysconf("SC_PAGE_SIZE") if told else 0)
    return sizes[-1] - sizes[0]


class Zygote:
    """Runs one program at a time, each in a fork of this process."""

    def __init__(self, lane: Isolation, connection: socket.socket, roles: dict[str, Role], mapped: int) -> None:
        """`mapped` is the address space that this process has itself, in bytes."""
        self._lane = lane
        self._roles = roles
        self._connection = socket.socket(fileno=beyond_standard(connection.detach()))
        self._timer = CpuTimer(signal.SIGPROF)
        self._poll = select.poll()
        self._poll.register(self._connection, 0)
        self._null = os.open("/dev/null", os.O_RDWR)
        for descriptor in range(protocol.FIRST_FREE):
            os.dup2(self._null, descriptor)
        # faulthandler says where the program is stuck or broke down; then the process ends, in C, whatever the program does:
        # the handler that faulthandler calls next is _exit itself, and its argument, the signal's number, the status.
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal(signal.SIGPROF, ctypes.cast(libc._exit, ctypes.c_void_p))
        faulthandler.register(signal.SIGPROF, file=protocol.REPORT, all_threads=True, chain=True)
        faulthandler.enable(file=protocol.REPORT, all_threads=True)
        self._address_space = mapped

    def serve(self) -> None:
        """Answers requests until the connection closes."""
        hello = json.dumps({"layers": self._lane.layers, "python": sys.version.split()[0]}).encode()
        self._connection.sendall(Reply(0, ENDED, len(hello), 0, 0, 0, 0).pack() + hello)
        gc.collect()
        gc.freeze()
        while True:
            try:
                request = protocol.receive_request(self._connection)
                body = protocol.receive(self._connection, request.body_bytes)
            except (LaneFailure, ConnectionError):
                return
            if request.kind == protocol.SPLIT:
                self._split(request, body)
            else:
                self._run(request, body)

    def _run(self, request: Request, body: bytes) -> None:
        report, data, output = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("report", "input", "output"))
        pid = self._fork()
        if pid == 0:
            self._program(request, {3: report, 5: data, 6: output}, body, "tests")
        self._answer(request, pid, report, output)
        for descriptor in (report, data, output):
            os.close(descriptor)
        self._lane.clean_box()

    def _split(self, request: Request, body: bytes) -> None:
        """The program serves calls, the data set's test code makes them; two processes that share a socket and nothing else.

        The tester reads its own part from the connection. It never passes through this process, of whose memory every
        program has a copy.
        """
        report, tester_report = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("report", "tester"))
        ours, theirs = socket.socketpair()
        pid = self._fork()
        if pid == 0:
            self._program(request, {3: report, 4: theirs.fileno()}, body, "serve")
        tester = self._fork()
        if tester == 0:
            part = protocol.receive(self._connection, int.from_bytes(protocol.receive(self._connection, 8), "little"))
            self._program(request, {3: tester_report, 4: ours.fileno()}, part, "ask")
        ours.close()
        theirs.close()
        # The tester ends when it is done or its peer is gone, the program when its peer is gone.
        self._answer(request, pid, report, None)
        self._answer(request, tester, tester_report, None)
        os.close(report)
        os.close(tester_report)
        self._lane.clean_box()

    def _fork(self) -> int:
        if self._lane.pid_namespaces:
            self._lane.new_pid_namespace()
        return os.fork()

    def _program(self, request: Request, descriptors: dict[int, int], body: bytes, role: str) -> None:
        """In the new process; does not return."""
        try:
            os.setsid()
            for target, descriptor in descriptors.items():
                os.dup2(descriptor, target, inheritable=False)
            os.closerange(protocol.FIRST_FREE, 1 << 20)
            os.chdir(self._lane.box)
            memory = request.memory_bytes + self._address_space
            limit_program(self._lane, memory, request.file_bytes, request.cpu_total_s, request.processes)
            self._timer.create()
            job = json.loads(body)
        except BaseException as error:
            os.write(protocol.REPORT, json.dumps(["setup", repr(error)]).encode() + b"\n")
            os._exit(SETUP_FAILED_STATUS)
        del body
        status = 0
        try:
            self._roles[role](job, request.limit_ns, self._timer)
        except MemoryError:
            status = protocol.MEMORY_STATUS
        except BaseException as error:
            status = protocol.OUTPUT_STATUS if isinstance(error, OSError) and error.errno == errno.EFBIG else protocol.HARNESS_STATUS
        finally:
            os._exit(status)

    def _answer(self, request: Request, pid: int, report: int, output: int | None) -> None:
        """Waits for a process and sends what came of it."""
        start = time.monotonic()
        cause = self._watch(request, pid, report, start)
        _, status, usage = os.wait4(pid, 0)
        wall = time.monotonic() - start
        if not self._lane.pid_namespaces:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # nothing was left
            kill_stragglers()
        parts = [os.pread(file, os.fstat(file).st_size, 0) if file is not None else b"" for file in (report, output)]
        cpu = usage.ru_utime + usage.ru_stime
        reply = Reply(status, cause, len(parts[0]), len(parts[1]), int(cpu * 1e6), int(wall * 1e6), usage.ru_maxrss)
        self._connection.sendall(b"".join((reply.pack(), *parts)))

    def _watch(self, request: Request, pid: int, report: int, start: float) -> int:
        """Returns when the process has ended: by itself (its CPU timer included), or because it outwitted its timer or sleeps."""
        limit = request.limit_ns / 1e9
        handle = os.pidfd_open(pid)
        self._poll.register(handle, select.POLLIN)
        clock = (~pid << 3) | 2
        done, done_at, waited_at, timeout = 0, start, 0.0, limit + 0.1
        try:
            while True:
                events = dict(self._poll.poll(timeout * 1000))
                if handle in events:
                    return ENDED
                if events:
                    os.kill(pid, signal.SIGKILL)
                    os._exit(0)  # the other end is gone, and with it the need for an answer
                timeout, now, waited = TICK_S, time.monotonic(), self._lane.run_queue_wait_s(pid)
                finished = min(_lines(report), request.tests - 1)
                if finished > done:
                    done, done_at, waited_at = finished, now, waited
                used = max(time.clock_gettime(clock), self._lane.cpu_s_inside())
                asleep = now - done_at - (waited - waited_at) > 2 * limit + 1
                if asleep or used > limit * (done + 1) + 0.5:
                    os.kill(pid, signal.SIGPROF)  # for the line, if it still listens
                    if not select.select([handle], [], [], LAST_WORDS_S)[0]:
                        os.kill(pid, signal.SIGKILL)
                    return WALL_KILLED if asleep else CPU_KILLED
        finally:
            self._poll.unregister(handle)
            os.close(handle)


def _lines(report: int) -> int:
    size = os.fstat(report).st_size
    return os.pread(report, min(size, 1 << 22), 0).count(b"\n")
