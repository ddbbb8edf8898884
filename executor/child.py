"""Runs a program's tests, inside the process that was forked for the program.

Standard library only; expected outputs never come here.

What the process reports is data that the judge validates: one JSON line per test in a memory file, followed by `"end"`,
and what the program wrote to standard output in another. Lines that faulthandler adds on a time limit or a crash end up
behind them.

    [0, cpu_us, offset]                               stdin: ended with status 0; standard output ends at this offset
    [0, cpu_us, value]                                call: returned
    [1, cpu_us, offset, class, line, message, kind]   raised; kind: "", "memory" or "output"
    [2, cpu_us, offset, "", line, message, ""]        ended with another status
    [3, cpu_us, 0, class, line, message, ""]          does not compile
"""

from __future__ import annotations

import atexit
import builtins
import errno
import gc
import io
import json
import linecache
import mmap
import os
import random
import re
import sys
import threading
import time
from types import ModuleType, TracebackType
from typing import Any

from rltf.executor.isolation import CpuTimer
from rltf.executor.plaindata import MAX_CALL_NODES, decode, encode
from rltf.executor.protocol import FILENAME, INPUT, OUTPUT, REPORT
from rltf.executor.sites import RECURSION_LIMIT, surroundings
from rltf.executor.streams import own_null

MAX_MESSAGE_CHARS = 300
TICK_NS = 10_000_000
_RESERVE = mmap.mmap(-1, 1 << 18)
"""Address space that is let go of when a program has used up its own: to report that takes some. Nobody ever writes to
it."""
_FILES = re.compile(r"open|detach|FileIO|Wrapper|Writer")
"""What in a program's text may make a file that writes at the interpreter's end what it still holds."""


def report(line: str) -> None:
    """Appends a line. Written at once: the process may be killed at any moment."""
    data = line.encode() + b"\n"
    if os.write(REPORT, data) != len(data):
        raise OSError(errno.EFBIG, "the report does not fit")


def line_of(error: BaseException, trace: TracebackType | None) -> int | None:
    """Line of the deepest frame inside the program; for what does not compile, the line the compiler names."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is None and isinstance(error, SyntaxError) and error.filename == FILENAME:
        return error.lineno
    return line


def class_of(error: BaseException, compiling: bool = False) -> str:
    """Name of an exception's class; for null bytes and half characters in the source, which some versions call
    ValueError, SyntaxError.
    """
    return "SyntaxError" if compiling and isinstance(error, ValueError) else type(error).__name__[:100]


def message_of(error: BaseException) -> str:
    """Text of an exception, shortened; its `__str__` may be the program's."""
    try:
        return str(error)[:MAX_MESSAGE_CHARS]
    except BaseException as second:
        return f"its message cannot be read ({type(second).__name__})"


def limit_kind(error: BaseException) -> str:
    """Whether an exception stands for a limit."""
    if isinstance(error, MemoryError):
        return "memory"
    return "output" if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC) else ""


def _inside_a_function(source: str) -> Any:
    """The program as the APPS harness ran it: all that follows its first imports is the body of a function, lines as
    they were.
    """
    import _ast as ast  # not loaded for everyone: few programs are wanted so

    def parsed(text: str) -> ast.Module:
        tree = compile(text, FILENAME, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        return tree

    tree = parsed(source)
    first = next(
        (index for index, node in enumerate(tree.body) if not isinstance(node, ast.Import | ast.ImportFrom)),
        len(tree.body),
    )
    wrapped = parsed("stdin = sys.stdin\nstdout = sys.stdout\ndef code():\n    pass\ncode()")
    function = wrapped.body[2]
    assert isinstance(function, ast.FunctionDef)
    function.body += tree.body[first:]
    tree.body[first:] = wrapped.body
    return tree


class Tests:
    """One program and the tests that its process runs, in order."""

    def __init__(self, job: dict[str, Any], limit_ns: int, timer: CpuTimer) -> None:
        """`job` as in `run_tests`; `limit_ns` of CPU time for each test."""
        self._source: str = job["program"]
        self._mode: str = job["mode"]
        self._tests: list[Any] = job["tests"]
        self._limit_ns = limit_ns
        self._timer = timer
        self._random = "random" in self._source
        self._file = os.path.join(os.getcwd(), "program.py")
        self._apps: bool = job["apps"]
        self._literal: bool = job["literal"]
        self._surroundings = surroundings(
            self._source, "apps" if self._apps else job["site"], job["prelude"], called=self._mode == "call"
        )
        self._has_files = _FILES.search(self._source) is not None
        self._started = 0, 0
        self._me = os.getpid()

    def run(self) -> None:
        """Runs every test; returns when all are reported."""
        self.begin()
        code = self.compiled()
        if code is not None:
            one = self._stdin if self._mode == "stdin" else self._call
            for index, test in enumerate(self._tests):
                if index:
                    self.begin()
                one(code, test)
        report('"end"')

    def begin(self) -> None:
        """Starts the clock of a test."""
        self._timer.start(self._limit_ns)
        self._started = time.process_time_ns(), time.thread_time_ns()

    def cpu_us(self) -> int:
        """CPU time since `begin`."""
        process, thread = time.process_time_ns() - self._started[0], time.thread_time_ns() - self._started[1]
        # While a timer runs on it, Linux advances the process's clock by scheduler ticks; the thread's own is exact.
        return (process if process > thread + TICK_NS else thread) // 1000

    def compiled(self) -> Any:
        """The program's code, None (and a line in the report) where it does not compile."""
        show_source(self._source, self._file)
        try:
            whole: Any = _inside_a_function(self._source) if self._apps and self._mode == "stdin" else self._source
            return compile(whole, FILENAME, "exec", dont_inherit=True)
        except BaseException as error:
            self.failed(3, error, 0)
            return None

    def failed(self, code: int, error: BaseException, offset: int) -> None:
        """Reports an exception, and lets go of what it holds first: memory may be what ran out."""
        name, line, kind = class_of(error, compiling=code == 3), line_of(error, error.__traceback__), limit_kind(error)
        if kind == "memory":
            _RESERVE.close()
            error.__traceback__ = error.__context__ = None
        report(json.dumps([code, self.cpu_us(), offset, name, line, message_of(error), kind]))

    def namespace(self, name: str) -> dict[str, Any]:
        """A fresh module for the program to run in."""
        module = ModuleType(name)
        sys.modules[name] = module
        names = module.__dict__
        names["__file__"] = self._file
        names.update(self._surroundings.names)
        if "stdin" in names:
            names.update(stdin=sys.stdin, stdout=sys.stdout)  # this test's
        if self._random:
            random.seed(0)
            if "numpy" in sys.modules:
                sys.modules["numpy"].random.seed(0)
        sys.setrecursionlimit(self._surroundings.recursion_limit)
        return names

    def _stdin(self, code: Any, text: str) -> None:
        os.ftruncate(INPUT, 0)
        os.pwrite(INPUT, text.encode("utf-8", "surrogatepass"), 0)
        os.lseek(INPUT, 0, 0)
        os.dup2(INPUT, 0)
        os.dup2(OUTPUT, 1)
        into, out = _stream(0, "<stdin>", "r"), _stream(1, "<stdout>", "w")
        sys.stdin = sys.__stdin__ = into  # type: ignore[misc]
        sys.stdout = sys.__stdout__ = out  # type: ignore[misc]
        caught: BaseException | None = None
        names = self.namespace("__main__")
        names.update(__builtins__=builtins, __annotations__={}, __cached__=None)  # as of a script
        try:
            exec(code, names)
        except BaseException as error:
            caught = error
        refused = ""
        try:
            _finish_threads()
        except BaseException as error:
            caught = caught or error
        try:
            _flush(getattr(sys, "stdout", None))
            if self._has_files and _is_success(caught):
                caught = None
                _flush_files()
                # Gone before the next test, whose descriptors they would close.
                sys.stdin, sys.stdout = into, out
                names.clear()
                gc.collect()
        except BaseException as error:
            if limit_kind(error):
                caught = caught or error
            else:
                refused = f"exit status 120: sys.stdout cannot be flushed: {class_of(error)}: {message_of(error)}"
        try:
            if not _is_gone(out):
                out.flush()
        except BaseException as error:
            caught = caught or error
        if os.getpid() != self._me:
            os._exit(0)
        offset = os.lseek(OUTPUT, 0, 1)
        line = None
        if isinstance(caught, SystemExit):
            if not _is_success(caught):
                status = caught.code
                refused = f"exit status {status}" if isinstance(status, int) else f"exit: {message_of(caught)}"
                line = line_of(caught, caught.__traceback__)
            caught = None
        if caught is not None:
            self.failed(1, caught, offset)
            if limit_kind(caught) == "output":
                os._exit(0)  # the file is full for the next test as well: that needs a new process
        elif refused:
            report(json.dumps([2, self.cpu_us(), offset, "", line, refused[:MAX_MESSAGE_CHARS], ""]))
        else:
            report(f"[0,{self.cpu_us()},{offset}]")

    def _call(self, code: Any, test: list[Any]) -> None:
        function, arguments = test
        names: dict[str, Any] = {}
        loaded = False
        try:
            names = self.namespace("solution")
            exec(code, names)
            loaded = True
            value = find_function(names, function)(*[decode(argument, MAX_CALL_NODES) for argument in arguments])
            sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_LIMIT))  # the program may have lowered it
            # Where a test has a literal, an array of numpy's is no list.
            array = self._literal and type(value).__module__ == "numpy" and bool(value.shape)
            result = json.dumps({"h": 0} if array else encode(value), separators=(",", ":"))
        except BaseException as error:
            if os.getpid() != self._me:
                os._exit(0)
            names.clear()
            if isinstance(error, SystemExit):
                report(
                    json.dumps(
                        [2, self.cpu_us(), 0, "", line_of(error, error.__traceback__), f"exit: {message_of(error)}", ""]
                    )
                )
            else:
                # The APPS harness counts a program that does not load as one that does not compile.
                self.failed(3 if self._apps and not loaded else 1, error, 0)
            return
        if os.getpid() != self._me:
            os._exit(0)
        report(f"[0,{self.cpu_us()},{result}]")


def show_source(source: str, file: str) -> None:
    """Lets a program find its own text, where it may look for it: in its file, and in tracebacks."""
    if "__file__" in source:
        with open(file, "w", encoding="utf-8", errors="surrogatepass") as out:
            out.write(source)
    if any(name in source for name in ("traceback", "inspect", "linecache")):
        linecache.cache[FILENAME] = (len(source), None, source.splitlines(keepends=True), FILENAME)


def find_function(names: dict[str, Any], function: str) -> Any:
    """The function under test: a method of a new `Solution` where that class has one of the name, else a plain
    function.

    Raises NameError when the program defines neither.
    """
    solution = names.get("Solution")
    if isinstance(solution, type) and hasattr(solution, function):
        return getattr(solution(), function)
    if function not in names:
        raise NameError(f"name '{function}' is not defined")
    return names[function]


def _stream(descriptor: int, name: str, mode: str) -> io.TextIOWrapper:
    """Standard input or output, as an interpreter makes it."""
    raw = io.FileIO(descriptor, mode + "b", closefd=False)
    raw.name = name
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    stream = io.TextIOWrapper(buffer, "utf-8")
    stream.mode = mode  # type: ignore[misc]
    return stream


def _is_gone(stream: io.TextIOWrapper) -> bool:
    """Whether a stream is closed, or its buffer is another's."""
    try:
        return stream.closed
    except ValueError:
        return True


def _flush(stream: Any) -> None:
    """As an interpreter does at its end: also what does not say whether it is closed."""
    try:
        closed = stream is None or stream.closed
    except Exception:
        closed = False
    if not closed:
        stream.flush()


def _flush_files() -> None:
    """What files that nobody closed do at an interpreter's end."""
    found = [each for each in gc.get_objects() if isinstance(each, io.TextIOWrapper | io.BufferedWriter)]
    for each in sorted(found, key=lambda file: isinstance(file, io.BufferedWriter)):
        try:
            _flush(each)
        except Exception as error:
            if limit_kind(error):
                raise


def _is_success(caught: BaseException | None) -> bool:
    """Whether a program that ended so ends with status 0."""
    return caught is None or (isinstance(caught, SystemExit) and (caught.code is None or caught.code == 0))


def _finish_threads() -> None:
    """What an interpreter does before it ends: waits for threads, calls what was registered for the exit."""
    if len(threading._active) > 1:  # type: ignore[attr-defined]
        for function in reversed(threading._threading_atexits):  # type: ignore[attr-defined]
            function()
        main = threading.main_thread()
        for thread in threading.enumerate():
            if not thread.daemon and thread is not main:
                thread.join()
    if atexit._ncallbacks():
        atexit._run_exitfuncs()
        atexit._clear()


def run_tests(job: dict[str, Any], limit_ns: int, timer: CpuTimer) -> None:
    """The job of a program's process: {"program": text, "mode": "stdin" or "call", "tests": [..]}."""
    own_null()
    Tests(job, limit_ns, timer).run()
