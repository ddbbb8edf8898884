"""Outcome, error type and exact line of programs that go wrong in every way there is."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from rltf.executor.labels import Report, verdict_of_death
from rltf.executor.lane import ProcessExit
from rltf.executor.protocol import ENDED, LaneFailure
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.executor.suites import make_ready
from tests.support.executor_suites import call_suite, stdin_suite
from tests.support.labelled_programs import CASES, ONE


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge(2, 2.0, 512) as judge:
        yield judge


def test_labels(judge: SandboxJudge) -> None:
    results = judge.grade([(ONE, program) for program, *_ in CASES])
    found = [
        (program, result.outcome, result.error_type, result.line)
        for (program, *_), result in zip(CASES, results, strict=True)
    ]
    assert found == CASES


def test_a_c_stack_overflow_is_a_crash_with_its_line(judge: SandboxJudge) -> None:
    program = (
        "import sys\nsys.setrecursionlimit(10 ** 9)\nclass A:\n    def __repr__(self): return repr(self)\nrepr(A())\n"
    )
    suite = stdin_suite(("", ""), time_limit_s=20.0, memory_limit_mb=1024)
    (feedback,) = judge.grade([(suite, program)])
    assert (feedback.error_type, feedback.line) in [("Crash", 4), ("RecursionError", 4)]  # the second since Python 3.12


def test_every_signal_that_kills_has_a_name() -> None:
    ready = make_ready(ONE)
    for number in sorted({*range(1, 65)} - {signal.SIGKILL, signal.SIGXCPU, signal.SIGPROF}):
        ended = ProcessExit(status=number, cause=ENDED, report=b"", output=b"", cpu_s=0.01, wall_s=0.01, memory_mb=10.0)
        verdict = verdict_of_death(ready, 0, ended, Report(b"", [100]), 0, 0.5, contained=False)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        assert (verdict.outcome, verdict.error_type, verdict.message) == ("runtime_error", "Crash", name)


def test_a_real_time_signal_is_a_crash() -> None:
    try:
        # Where programs are not the first process of a pid namespace; with an interpreter that a user without rights
        # can read.
        judge = SandboxJudge(1, 2.0, 512, tiers=("B",), python="/usr/bin/python3")
    except LaneFailure as reason:
        pytest.skip(f"no tier B: {reason}")
    with judge:
        (feedback,) = judge.grade([(ONE, "import os\nos.kill(os.getpid(), 40)\nprint(1)\n")])
    assert (feedback.error_type, feedback.message) == ("Crash", "signal 40")


def test_the_time_limit_ends_the_program_and_names_the_line(judge: SandboxJudge) -> None:
    suite = stdin_suite(("1\n", "1\n"), ("2\n", "2\n"), ("3\n", "3\n"), time_limit_s=0.3)
    (feedback,) = judge.grade([(suite, "n = int(input())\nwhile n == 2:\n    pass\nprint(n)\n")])
    assert [test.outcome for test in feedback.tests] == ["pass", "runtime_error", "not_run"]
    assert (feedback.passed, feedback.run, feedback.error_type) == (1, 2, "TimeLimit")
    assert feedback.line in (2, 3)
    assert feedback.message.startswith(f"stuck at line {feedback.line}")


def test_the_limit_is_per_test(judge: SandboxJudge) -> None:
    suite = stdin_suite(*[(f"{n}\n", "done\n") for n in range(4)], time_limit_s=0.4)
    program = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint('done')\n"
    (feedback,) = judge.grade([(suite, program)])
    assert feedback.outcome == "pass"


def test_labels_of_calls(judge: SandboxJudge) -> None:
    suite = call_suite("f", ([1], 2), ([2], 3), time_limit_s=0.5)
    cases = [
        ("def g(x): return x\n", "runtime_error", "NameError", None),
        ("def f(x):\n    return x[0]\n", "runtime_error", "TypeError", 2),
        ("def f(): return 1\n", "runtime_error", "TypeError", None),
        ("import sys\ndef f(x):\n    sys.exit(0)\n", "runtime_error", "SystemExit", 3),
        ("import os\ndef f(x):\n    os._exit(0)\n", "runtime_error", "SystemExit", None),
        ("def f(x):\n    while x: pass\n", "runtime_error", "TimeLimit", 2),
        ("def f(x):\n    return [x] * 10**9\n", "runtime_error", "MemoryLimit", 2),
        ("def f(x):\n    return object()\n", "failure", None, None),
        ("def f(x):\n    print(x + 1)\n", "failure", None, None),
    ]
    results = judge.grade([(suite, program) for program, *_ in cases])
    assert [
        (program, r.outcome, r.error_type, r.line) for (program, *_), r in zip(cases, results, strict=True)
    ] == cases


def test_messages_are_bounded_and_what_was_used_is_told(judge: SandboxJudge) -> None:
    (feedback,) = judge.grade([(ONE, "raise ValueError('x' * 100000)\n")])
    assert feedback.message == "x" * 300
    assert 0 < feedback.cpu_s < 5 and 0 < feedback.wall_s and 1 < feedback.memory_mb < 512
    assert (feedback.time_limit_s, feedback.memory_limit_mb, feedback.checker) == (0.5, 128, "standard")
    assert feedback.problem_hash == ONE.content_hash
