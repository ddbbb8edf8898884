"""The rules around a verdict: state between tests, limits that measure the program, and words of a program that nobody
may trust.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rltf.buffer.records import decode_feedback, encode
from rltf.executor.checkers import Standard, Tokens
from rltf.executor.grading import Grader
from rltf.executor.judge import InfrastructureFailure
from rltf.executor.labels import Report
from rltf.executor.lane import Lane
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.executor.state_leaks import may_leak_state, mutates_shared_state
from rltf.executor.suites import make_ready
from tests.support.executor_suites import HONEST_SUMS, SUM, assert_suite, call_suite, stdin_suite

BURN = "import time\ndef burn(s):\n    end = time.process_time() + s\n    while time.process_time() < end: pass\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge(2, 2.0, 512) as judge:
        yield judge


CALLS = call_suite("f", ([0], 1), ([0], 1), ([0], 1))
TEXTS = stdin_suite(("0", "1"), ("0", "1"), ("0", "1"))
SPLIT = assert_suite("assert f(0) == one", "assert f(0) == one", "assert f(0) == one", setup="one = 1")
LEAKS = {
    # Right in each test alone, wrong when a test before it has been run in the same process.
    "a module's attribute": (
        CALLS,
        "import math\ndef f(x):\n    math.n = getattr(math, 'n', 0) + 1\n    return math.n\n",
    ),
    "setattr": (CALLS, "import math as m\ndef f(x):\n    setattr(m, 'n', getattr(m, 'n', 0) + 1)\n    return m.n\n"),
    "a module nobody imported": (
        CALLS,
        "class Solution:\n    def f(self, x):\n        math.n = getattr(math, 'n', 0) + 1\n        return math.n\n",
    ),
    "hidden": (
        CALLS,
        "from math import *\nimport gc\ndef f(x):\n    gc.callbacks.append(1)\n    return len(gc.callbacks)\n",
    ),
    "a file": (
        CALLS,
        "def f(x):\n    with open('n', 'a') as file:\n        file.write('x')\n    return len(open('n').read())\n",
    ),
    "the environment": (
        TEXTS,
        "import os\nos.environ['N'] = os.environ.get('N', '') + 'x'\nprint(len(os.environ['N']))\n",
    ),
    "decimal's context": (
        TEXTS,
        "from decimal import getcontext\nc = getcontext()\nprint(1 if c.prec == 28 else 0)\nc.prec = 5\n",
    ),
    "builtins": (TEXTS, "import builtins\nprint(getattr(builtins, 'n', 1))\nbuiltins.n = 2\n"),
    "across asserts": (SPLIT, "import gc\ndef f(x):\n    gc.callbacks.append(1)\n    return len(gc.callbacks)\n"),
    "visible across asserts": (
        SPLIT,
        "import math\ndef f(x):\n    math.n = getattr(math, 'n', 0) + 1\n    return math.n\n",
    ),
}


def test_state_that_leaks_between_tests_changes_no_verdict(judge: SandboxJudge) -> None:
    results = judge.grade([work for work in LEAKS.values()])
    assert {name: (r.outcome, r.passed) for name, r in zip(LEAKS, results, strict=True)} == dict.fromkeys(
        LEAKS, ("pass", 3)
    )


def test_state_that_leaks_makes_no_pass(judge: SandboxJudge) -> None:
    suite = call_suite("f", ([0], 1), ([0], 2), ([0], 3))
    program = "import math\ndef f(x):\n    math.n = getattr(math, 'n', 0) + 1\n    return math.n\n"
    (feedback,) = judge.grade([(suite, program)])
    assert [test.outcome for test in feedback.tests] == ["pass", "failure", "failure"]


def test_ordinary_programs_share_a_process() -> None:
    ordinary = (
        "import sys\ninput = sys.stdin.readline\nsys.setrecursionlimit(10**6)\nsys.stdin = open(0)\nsys.stdout = sys.__stdout__\n"
        "class A:\n    def __init__(self):\n        self.x = 1\n        self.math.y == 2\nprint(math.pi == 3, x.sys)\n"
    )
    assert may_leak_state(ordinary) and not mutates_shared_state(ordinary)
    assert not may_leak_state("print(input())\n")
    for line in (
        "import math as m, sys\nm.x = 1",
        "import sys\nsys.path += ['x']",
        "import os.path\nos.path.x = 1",
        "open('a', 'w')",
    ):
        assert mutates_shared_state(line + "\n"), line


def test_a_test_close_to_its_limit_is_run_again_before_it_counts_as_too_slow() -> None:
    suite = stdin_suite(*[("", "done")] * 3, time_limit_s=0.4)
    ready = make_ready(suite)
    lane = Lane()
    runs: list[int] = []
    run = lane.run

    def counted(request, body, tester_body=None):  # type: ignore[no-untyped-def]
        runs.append(request.limit_ns)
        return run(request, body, tester_body)

    lane.run = counted  # type: ignore[method-assign]
    try:
        within = Grader(lane, ready, BURN + "burn(0.2)\nprint('done')\n", 0.4, 512).grade()
        assert (within.outcome, runs) == ("pass", [500_000_000])
        runs.clear()
        # It needs more than the limit every time: the second run, which gets no grace, says where.
        above = Grader(lane, ready, BURN + "burn(0.44)\nprint('done')\n", 0.4, 512).grade()
        assert [test.outcome for test in above.tests] == ["runtime_error", "not_run", "not_run"]
        assert (above.error_type, above.line in (3, 4), runs) == ("TimeLimit", True, [500_000_000, 400_000_000])
        runs.clear()
        # One that is still running when its grace is over is not run again.
        forever = Grader(lane, ready, "while True: pass\n", 0.4, 512).grade()
        assert (forever.error_type, forever.line, len(runs)) == ("TimeLimit", 1, 1)
        assert 0.5 <= forever.cpu_s < 1.5
    finally:
        lane.stop()


def test_a_slow_first_run_is_forgiven_when_the_second_is_fast(judge: SandboxJudge) -> None:
    # Slow only where an earlier test ran in the same process: alone, as it is run the second time, it is fast.
    suite = call_suite("f", ([0], 1), ([0], 1), time_limit_s=0.4)
    slow_second = (
        BURN + "import gc\ndef f(x):\n    if gc.callbacks: burn(0.44)\n    gc.callbacks.append(1)\n    return 1\n"
    )
    (feedback,) = judge.grade([(suite, slow_second)])
    assert (feedback.outcome, feedback.passed) == ("pass", 2)
    assert all(test.cpu_s < 0.4 for test in feedback.tests)


def test_the_time_of_each_assert_is_its_own(judge: SandboxJudge) -> None:
    suite = assert_suite(*["assert f(0.2) == one"] * 4, setup="one = 1", time_limit_s=0.4)
    (feedback,) = judge.grade([(suite, BURN + "def f(x):\n    burn(x)\n    return 1\n")])
    assert feedback.outcome == "pass" and all(0.15 < test.cpu_s < 0.4 for test in feedback.tests), feedback
    (feedback,) = judge.grade([(suite, BURN + "n = 2.0\ndef f(x):\n    burn(n)\n    return 1\n")])
    assert (feedback.error_type, [test.outcome for test in feedback.tests][1:]) == ("TimeLimit", ["not_run"] * 3)


WORDS = {
    "surrogates in a message": "raise ValueError('\\ud800' * 400)\n",
    "surrogates in a class": "raise type('\\udcff', (Exception,), {})()\n",
    "a long class": "raise type('x' * 10000, (Exception,), {})()\n",
    "a huge time": "import os\nos.write(3, b'[0,' + b'9' * 4000 + b',0]\\n')\nos._exit(0)\n",
    "an infinite time": "import os\nos.write(3, b'[0,Infinity,0]\\n[0,NaN,0]\\n')\nos._exit(0)\n",
    "a huge line": "import os\nos.write(3, b'[1,0,0,\"A\",' + b'9' * 4000 + b',\"m\",\"\"]\\n')\nos._exit(0)\n",
    "lists for words": "import os\nos.write(3, b'[1,0,0,[[]],[],{},[]]\\n')\nos._exit(0)\n",
    "nested": "import os\nos.write(3, b'[1,0,0,' + b'[' * 900 + b']' * 900 + b',1,\"m\",\"\"]\\n')\nos._exit(0)\n",
    "a last word of faulthandler": "import os\nos.write(3, b'Current thread\\n  File \"<program>\", line 99999999 in f\\n')\nos._exit(9)\n",
    "too little of a compile error": "import os\nos.write(3, b'[3]\\n' * 9)\nos._exit(0)\n",
    "surrogates in the code": "print('\ud800')\n",
    "a null byte": "print(1)\0\n",
}


def test_words_of_a_program_tell_a_terminal_nothing(judge: SandboxJudge) -> None:
    program = "raise ValueError('\\x1b]0;title\\x07 \\x1b[2J\\r\\x9b1m \\ttab \\u00e9')\n"
    (feedback,) = judge.grade([(stdin_suite(("", "")), program)])
    assert feedback.message == "?]0;title? ?[2J??1m \ttab \u00e9"


def test_an_output_is_read_as_far_as_it_may_be_right(judge: SandboxJudge) -> None:
    suite = stdin_suite(("", "1\n"))
    blank, flood = judge.grade(
        [(suite, f"print(1, end=chr(10) * {size})  # {size}\n") for size in (1_000_000, 2_000_000)]
    )
    assert (blank.outcome, flood.outcome) == ("pass", "failure")


def test_words_of_a_program_always_make_a_record(judge: SandboxJudge) -> None:
    for suite in (stdin_suite(("", "x")), call_suite("f", ([1], 1)), SPLIT):
        for name, feedback in zip(WORDS, judge.grade([(suite, program) for program in WORDS.values()]), strict=True):
            assert feedback.outcome in ("runtime_error", "compile_error", "failure"), (name, feedback)
            assert decode_feedback(encode(feedback)) == feedback, name
    strings = call_suite("f", ([1], "x"), ([1], "y"))
    (feedback,) = judge.grade([(strings, "def f(x):\n    return '\\ud800' * 1000\n")])
    assert decode_feedback(encode(feedback)).outcome == "failure"


def test_a_report_of_a_compile_error_that_is_none_is_a_crash(judge: SandboxJudge) -> None:
    split = assert_suite("assert f(0) == one", "assert f(0) == one", setup="one = 1")
    for record in ("[3]", '[3,"x",0,"a",1,"b",""]', "[3,1,0,1]", "[3,[],0,[],[],[],[]]"):
        program = f"import os\nos.write(3, b'{record}\\n')\ndef f(x):\n    return 1\n"
        for suite in (split, call_suite("f", ([0], 1), ([0], 1))):
            (feedback,) = judge.grade([(suite, program)])
            assert [(test.outcome, test.error_type) for test in feedback.tests] == [("runtime_error", "Crash")] * 2, (
                record,
                feedback,
            )
            assert (feedback.message, feedback.passed) == ("the program broke what reports its results", 0)


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_grading_that_fails_is_no_verdict_and_ends_no_other(lanes: int) -> None:
    right = HONEST_SUMS["input"]
    with SandboxJudge(lanes, math.inf, 512) as judge:  # which no request can hold, for those suites that name no limit
        before, failed, after = judge.grade(
            [(SUM, right), (replace(SUM, time_limit_s=None), right), (SUM, right + "#\n")]
        )
        assert (
            isinstance(failed, InfrastructureFailure)
            and "OverflowError: cannot convert float infinity" in failed.reason
        )
        assert [getattr(result, "outcome", result) for result in (before, after)] == ["pass", "pass"]
        assert judge.restarts == 2


def test_an_exception_cannot_end_the_tests_early(judge: SandboxJudge) -> None:
    suite = assert_suite(
        "assert all(map(lambda x: f(x) == five, [1, 2]))", "assert all(f(x) == five for x in [1])", setup="five = 5"
    )
    for error in (
        "StopIteration",
        "StopAsyncIteration",
        "GeneratorExit",
        "SystemExit",
        "type('StopIteration', (Exception,), {})",
    ):
        (feedback,) = judge.grade([(suite, f"def f(x):\n    raise {error}()\n")])
        assert (feedback.outcome, feedback.passed) == ("runtime_error", 0), (error, feedback)


HIJACK = """
import sys
class Math:
    def isclose(self, a, b): return True
def hijack():
    frame = sys._getframe()
    while frame is not None and "_send" not in frame.f_globals: frame = frame.f_back
    harness, server = frame.f_globals, frame.f_locals["self"]
    def forged(connection, answer, send=harness["_send"]):
        if answer[0] == "ok" and isinstance(answer[1], dict) and "d" in answer[1]:
            more = {"abs": lambda x: 0, "math": Math(), "want": 7}
            answer[1]["d"] += [[name, harness["encode"](value, server.keep)] for name, value in more.items()]
        send(connection, answer)
    harness["_send"] = forged
hijack()
def f(x): return 7
"""


def test_a_program_cannot_put_its_own_names_into_the_tests(judge: SandboxJudge) -> None:
    suite = assert_suite("assert abs(f(1) - want) < 1e-6", "assert math.isclose(f(2), want)", setup="want = 2.5")
    hijacked, right = judge.grade([(suite, HIJACK), (suite, "def f(x): return 2.5\n")])
    assert (right.outcome, right.passed) == ("pass", 2)
    assert [test.outcome for test in hijacked.tests] == ["failure", "failure"]


def test_what_a_program_wrote_in_an_instant_is_not_read_for_minutes() -> None:
    many = Report(b"[0]\n" * 1_000_000, [100, 100])
    assert many.records == [[0], [0]]
    large = Report(b"[0,17," + b"[" * 70_000 + b"]" * 70_000 + b"]\n[0,1,5]\n", [100, 100])
    assert large.records == [[0, 17, {"o": "far larger"}], [0, 1, 5]]
    assert Report(b"x" * 1000 + b"\n", [100]).records == []
    answer = "1\n" * 8_000_000
    assert not Standard().matches_output("1\n2\n", answer) and not Standard().matches_output(
        "1 2\n", answer.replace("\n", " ")
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not Tokens().matches_output("1 2\n", answer)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_returned_value_far_larger_than_the_right_one_is_a_failure(judge: SandboxJudge) -> None:
    suite = call_suite("f", ([0], [1]), ([0], [1]))
    (feedback,) = judge.grade([(suite, "n = 0\ndef f(x):\n    return list(range(10 ** 6))\n")])
    assert [test.outcome for test in feedback.tests] == ["failure", "failure"] and "far larger" in feedback.message
