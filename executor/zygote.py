"""The lane's server process: one thread, a warm standard library, one fork per program.

Started by exec, never forked from the process that uses it (forking one that holds torch costs tens of milliseconds)::

    python -s -S -P -B -c "import sys; sys.path.append(ROOT); from rltf.executor.zygote import main; main()" OPTIONS

OPTIONS is JSON: socket (descriptor), tier (which to try), packages (folders and files of what programs may import),
preload (modules to import before the first program), box (working folder where no root of the lane's own can be had).
Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import importlib
import json
import marshal
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rltf.executor import protocol
from rltf.executor.heap import fill_holes, make_immortal, move_code_to_huge_pages
from rltf.executor.isolation import CpuTimer, Isolation, Refused, beyond_standard, kill_stragglers, stack_is_small
from rltf.executor.process_watcher import ConnectionGone, ProcessWatcher, WatchedProcess
from rltf.executor.protocol import SETUP_FAILED_STATUS, LaneFailure, Request
from rltf.executor.syscalls import libc

PRELOADED_MODULES = (
    "abc array bisect cmath collections copy datetime decimal enum fractions functools heapq io itertools json math "
    "numbers operator os queue random re statistics string struct textwrap threading time traceback types typing "
    "warnings"
).split()

LARGE_JOB_BYTES = 1 << 20
"""Tests from this size on are looked at for what they take of a program's memory."""
JobRunner = Callable[[Any, int, CpuTimer], None]
REHEARSALS = 20
"""So often has a function to run before the interpreter stops to rewrite its code."""
_REHEARSED = """import sys
from collections import Counter, deque
from math import gcd


class Number:
    def __init__(self, value):
        self.value = value


def total(numbers, start=0):
    for number in numbers:
        start += number.value
    return start


def main():
    n = int(input())
    numbers = [Number(int(text)) for text in sys.stdin.readline().split()]
    counts = Counter(number.value for number in numbers)
    seen = {}
    for index, number in enumerate(sorted(numbers, key=lambda number: -number.value)):
        seen.setdefault(gcd(number.value, 6), []).append(index)
    try:
        n // len(deque())
    except ZeroDivisionError as error:
        print(error)
    print(total(numbers), *counts.values(), sep=' ')
    print(f'{n / 3:.2f}', {key: len(value) for key, value in seen.items()}, [1, 'a', (2,), None, True])


def f(numbers):
    return [total(map(Number, numbers)), {'a': 1.5}, (True, None)]


if __name__ == '__main__':
    main()
    raise ValueError('once')
"""


def main() -> None:
    """Serves until the other end of the socket closes."""
    options = json.loads(sys.argv[1])
    if stack_is_small():
        # The room a main thread's stack can grow into is laid out at exec.
        os.execv(sys.executable, sys.orig_argv)
    os.environ.pop("LD_BIND_NOW", None)  # it was for this process
    connection = socket.socket(fileno=options["socket"])
    prefixes = [f"{prefix}/{name}" for prefix in {sys.base_prefix, sys.base_exec_prefix} for name in ("lib", "lib64")]
    python_paths = [path for path in prefixes if os.path.isdir(path) and path not in ("/usr/lib", "/usr/lib64")]
    lane = Isolation(options["tier"], python_paths, options["packages"], options["box"])
    # While this is still the user who started it: the one without rights may not be able to read the modules.
    roles = warm_up()
    move_code_to_huge_pages()
    folders = sorted({os.path.dirname(path) for path in options["packages"]})
    sys.path[:] = [path for path in sys.path if path != options["root"]] + folders
    try:
        if lane.enter():
            pid = os.fork()
            if pid:
                connection.close()
                os.waitpid(pid, 0)
                os._exit(0)
        statm = os.open("/proc/self/statm", os.O_RDONLY)  # now: the lane may have no /proc
        lane.confine()
    except Refused as refusal:
        _say(connection, {"refused": str(refusal)})
        os._exit(0)
    if lane.own_root:
        sys.path[:] = [path for path in sys.path if path not in folders] + ["/packages"]
    for name in options["preload"]:
        try:
            with without_fork_callbacks() if name.startswith("unittest") else nullcontext():
                importlib.import_module(name)  # from inside the lane, where programs will find the rest of it
        except Exception as error:  # whatever a package does that is not whole, a program that imports it will see
            lane.layers[f"package {name}"] = f"off: {type(error).__name__}: {error}"
    mapped = int(os.pread(statm, 100, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")
    os.close(statm)
    errors = os.fdopen(beyond_standard(2), "w")  # descriptor 2 will be a program's
    try:
        Zygote(lane, connection, roles, mapped).serve()
    except BaseException:
        traceback.print_exc(file=errors)
        errors.flush()
        raise


def _say(connection: socket.socket, what: dict[str, Any]) -> None:
    data = json.dumps(what).encode()
    connection.sendall(protocol.HELLO.pack(protocol.MAGIC, len(data)) + data)


@contextmanager
def without_fork_callbacks() -> Iterator[None]:
    """Modules that are imported inside do without: a fork then touches a third of the pages.

    Neither a thread registry nor a generator nor a lock needs mending after the fork of a process with one thread and a
    fixed seed.
    """
    register = os.register_at_fork
    os.register_at_fork = lambda **_: None
    try:
        yield
    finally:
        os.register_at_fork = register


def warm_up() -> dict[str, JobRunner]:
    """Loads what programs commonly import, and the harness: what each kind of process does with its job."""
    with without_fork_callbacks():
        for name in PRELOADED_MODULES:
            importlib.import_module(name)
    from rltf.executor import child, split, streams
    from rltf.executor.together import process

    streams.install()
    sys.set_int_max_str_digits(0)  # as judges and the sets' own harnesses have it: a long integer costs CPU time
    import _sitebuiltins
    import builtins
    import threading
    import warnings

    for name in ("exit", "quit"):  # the site module adds these, and programs end with them
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    threading.stack_size(8 << 20)  # not the main thread's limit, which would count in full for every thread
    warnings.simplefilter("ignore")
    sys.argv[:] = ["program.py"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "rltf"]:
        del sys.modules[name]  # a program may have a module of this name

    def run_tests(job: Any, limit_ns: int, timer: CpuTimer) -> None:
        (process.run if job["mode"] == "together" else child.run_tests)(job, limit_ns, timer)

    return {"tests": run_tests, "serve": split.serve, "ask": split.ask}


def _peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


class Zygote:
    """Runs one program at a time, each in a fork of this process."""

    def __init__(self, lane: Isolation, connection: socket.socket, roles: dict[str, JobRunner], mapped: int) -> None:
        """`mapped` is the address space that this process has itself, in bytes."""
        self._lane = lane
        self._roles = roles
        self._connection = socket.socket(fileno=beyond_standard(connection.detach()))
        self._watch = ProcessWatcher(self._connection.fileno(), lane.proc, "" if lane.own_root else lane.box)
        self._timer = CpuTimer(signal.SIGPROF)
        os.chdir(lane.box)
        self._null = os.open("/dev/null", os.O_RDWR)
        for descriptor in range(protocol.JOB + 1):
            os.dup2(self._null, descriptor)
        # faulthandler says where the program is stuck or broke down; then the process ends, in C, whatever the program
        # does: the handler that faulthandler calls next is _exit itself, and its argument, the signal's number, the
        # status.
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal(signal.SIGPROF, ctypes.cast(libc._exit, ctypes.c_void_p))
        faulthandler.register(signal.SIGPROF, file=protocol.REPORT, all_threads=True, chain=True)
        faulthandler.enable(file=protocol.REPORT, all_threads=True)
        self._address_space = mapped

    def _rehearse(self) -> None:
        """Runs a program here as its process will: what the interpreter settles at first use is settled in every copy.

        A program's process then writes to fewer pages, and copying pages is most of what it costs.
        """
        before = sys.stdin, sys.stdout, sys.modules["__main__"]
        given = os.memfd_create("input")
        os.dup2(given, protocol.INPUT)
        os.close(given)
        self._timer.create()
        for mode, test in (("stdin", "3\n4 5 6\n"), ("call", ["f", [[4, 5, 6]]])):
            for _ in range(REHEARSALS):
                job = {
                    "program": _REHEARSED,
                    "mode": mode,
                    "apps": False,
                    "literal": False,
                    "site": "",
                    "prelude": "",
                    "tests": [test],
                }
                self._roles["tests"](job, 1_000_000_000, self._timer)
        self._timer.start(0)
        for descriptor in (0, 1, protocol.INPUT):
            os.dup2(self._null, descriptor)
        sys.stdin, sys.stdout, sys.modules["__main__"] = before
        sys.__stdin__, sys.__stdout__ = before[:2]  # type: ignore[misc,assignment]
        sys.modules.pop("solution", None)

    def serve(self) -> None:
        """Answers requests until the connection closes."""
        self._rehearse()
        version = sys.version.split()[0]
        _say(self._connection, {"layers": self._lane.layers, "contained": self._lane.threads_only, "python": version})
        gc.collect()
        make_immortal()
        gc.freeze()
        fill_holes()
        while True:
            try:
                request, files = protocol.receive_request(self._connection)
            except (LaneFailure, ConnectionError):
                return
            try:
                if request.kind == protocol.SPLIT:
                    self._split(request, files)
                else:
                    self._run(request, files)
            except ConnectionGone:
                os._exit(0)  # and with this process goes what it was running
            for descriptor in files:
                os.close(descriptor)
            self._lane.clean_box()

    def _run(self, request: Request, files: list[int]) -> None:
        job, report, output, *errors = files
        pid = self._fork()
        if pid == 0:
            descriptors = {protocol.REPORT: report, protocol.OUTPUT: output}
            if errors:
                descriptors[2] = errors[0]
            self._program(request, job, descriptors, "tests")
        self._answer(request, [WatchedProcess(pid, report)])

    def _split(self, request: Request, files: list[int]) -> None:
        """The program serves calls, the data set's test code makes them; two processes that share a socket and nothing
        else.
        """
        job, report, tester_job, tester_report = files
        ours, theirs = socket.socketpair()
        pid = self._fork()
        if pid == 0:
            self._program(request, job, {protocol.REPORT: report, protocol.RPC: theirs.fileno()}, "serve")
        tester = self._fork()
        if tester == 0:
            self._program(request, tester_job, {protocol.REPORT: tester_report, protocol.RPC: ours.fileno()}, "ask")
        ours.close()
        theirs.close()
        # The tester ends when it is done or its peer is gone, the program when its peer is gone.
        self._answer(request, [WatchedProcess(pid, report), WatchedProcess(tester, tester_report)])

    def _fork(self) -> int:
        self._lane.before_fork()
        return os.fork()

    def _program(self, request: Request, job: int, descriptors: dict[int, int], role: str) -> None:
        """In the new process; does not return."""
        try:
            os.setsid()
            os.dup2(job, protocol.JOB, inheritable=False)
            size = os.fstat(protocol.JOB).st_size
            before = _peak_bytes() if size >= LARGE_JOB_BYTES else 0
            body = os.pread(protocol.JOB, size, 0)
            for target, descriptor in descriptors.items():
                os.dup2(descriptor, target, inheritable=False)
            if role == "tests":
                os.dup2(os.memfd_create("input"), protocol.INPUT, inheritable=False)
            self._lane.restrict_files()
            os.closerange(protocol.JOB + 1, 1 << 20)
            task = marshal.loads(body)
            # The harness holds the tests: their memory is not the program's.
            held = _peak_bytes() - before if size >= LARGE_JOB_BYTES else 0
            memory = request.memory_bytes + self._address_space + held
            self._lane.limit(memory, request.file_bytes, request.cpu_total_s, request.processes)
            self._timer.create()
            self._lane.filter_calls()
        except BaseException as error:
            os.pwrite(protocol.JOB, repr(error).encode(), os.fstat(protocol.JOB).st_size)  # where no program can write
            os._exit(SETUP_FAILED_STATUS)
        os.close(protocol.JOB)
        del body
        status = 0
        try:
            self._roles[role](task, request.limit_ns, self._timer)
            if request.kind == protocol.SCRIPT:
                sys.stderr.flush()  # a line that has no end
        except MemoryError:
            status = protocol.MEMORY_STATUS
        except BaseException as error:
            status = (
                protocol.OUTPUT_STATUS
                if isinstance(error, OSError) and error.errno == errno.EFBIG
                else protocol.HARNESS_STATUS
            )
        finally:
            os._exit(status)

    def _answer(self, request: Request, processes: list[WatchedProcess]) -> None:
        """Waits for the processes of a program and sends what came of them."""
        self._watch.until_the_end(processes, request)
        if not self._lane.threads_only:
            self._end_what_is_left(processes)
        self._connection.sendall(b"".join(process.ended.pack() for process in processes))

    def _end_what_is_left(self, processes: list[WatchedProcess]) -> None:
        for process in processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # nothing was left
        kill_stragglers()
