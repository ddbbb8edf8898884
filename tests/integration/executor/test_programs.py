"""Honest programs in many styles pass, wrong ones do not: the judge neither helps nor hinders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rltf.executor.protocol import LaneFailure
from rltf.executor.sandbox_judge import SandboxJudge
from tests.support.executor_suites import HONEST_SUMS, SUM, WRONG_SUMS, assert_suite, call_suite, stdin_suite


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge(2, 2.0, 512) as judge:
        yield judge


def test_honest_programs_pass(judge: SandboxJudge) -> None:
    results = judge.grade([(SUM, program) for program in HONEST_SUMS.values()])
    wrong = {
        name: result
        for name, result in zip(HONEST_SUMS, results, strict=True)
        if getattr(result, "outcome", "") != "pass"
    }
    assert not wrong


def test_wrong_programs_do_not_pass(judge: SandboxJudge) -> None:
    results = judge.grade([(SUM, program) for program in WRONG_SUMS.values()])
    assert {name: result.outcome for name, result in zip(WRONG_SUMS, results, strict=True)} == dict.fromkeys(
        WRONG_SUMS, "failure"
    )


def test_a_program_that_state_of_an_earlier_test_breaks_is_confirmed_alone(judge: SandboxJudge) -> None:
    once = (
        "import math\nassert not hasattr(math, 'used')\nmath.used = 1\ninput()\nprint(sum(map(int, input().split())))\n"
    )
    (feedback,) = judge.grade([(SUM, once)])
    assert (feedback.outcome, feedback.passed) == ("pass", 2)


def test_the_pass_ratio_is_over_all_tests(judge: SandboxJudge) -> None:
    suite = stdin_suite(*[(f"{n}\n", f"{n * n}\n") for n in range(6)])
    (feedback,) = judge.grade([(suite, "n = int(input())\nprint(n if n < 2 else 1 // (n - 3))\n")])
    assert [test.outcome for test in feedback.tests] == [
        "pass",
        "pass",
        "failure",
        "runtime_error",
        "failure",
        "failure",
    ]
    assert (feedback.passed, feedback.run, feedback.outcome, feedback.error_type) == (
        2,
        6,
        "runtime_error",
        "ZeroDivisionError",
    )


def test_a_megabyte_of_output_and_input(judge: SandboxJudge) -> None:
    text = "".join(f"{n}\n" for n in range(150_000))
    suite = stdin_suite((text, text), ("1\n", "1\n"), time_limit_s=5.0)
    (feedback,) = judge.grade([(suite, "import sys\nfor line in sys.stdin: print(line, end='')\n")])
    assert feedback.outcome == "pass"


def test_unicode_and_odd_characters(judge: SandboxJudge) -> None:
    suite = stdin_suite(("naïve 日本 \U0001f600\n", "\U0001f600 日本 naïve\n"))
    (feedback,) = judge.grade([(suite, "print(*input().split()[::-1])\n")])
    assert feedback.outcome == "pass"
    (feedback,) = judge.grade([(suite, "import sys\nsys.stdout.buffer.write(bytes(range(128, 256)))\n")])
    assert feedback.outcome == "failure"


def test_numpy_is_at_hand(judge: SandboxJudge) -> None:
    (feedback,) = judge.grade(
        [(SUM, "import numpy as np\ninput()\nprint(np.array(input().split(), dtype=int).sum())\n")]
    )
    assert feedback.outcome == "pass"


def test_random_is_seeded_for_each_test_and_hashes_are_fixed(judge: SandboxJudge) -> None:
    program = "import random\nprint(random.random(), hash('x'))\n"
    first = judge.grade([(stdin_suite(("", "?")), program)])[0]
    second = judge.grade([(stdin_suite(("1", "?")), program)])[0]
    assert first.message == second.message


def test_calls_of_functions_and_of_solutions(judge: SandboxJudge) -> None:
    suite = call_suite("add", ([1, 2], 3), ([[1], [2]], [1, 2]))
    method = "class Solution:\n    def add(self, a: List[int], b: Optional[int]) -> int:\n        return a + b\n"
    outcomes = [
        result.outcome for result in judge.grade([(suite, "def add(a, b):\n    return a + b\n"), (suite, method)])
    ]
    assert outcomes == ["pass", "pass"]


@pytest.mark.parametrize(
    ("expected", "returned", "outcome"),
    [
        ([1, 2], "(1, 2)", "pass"),
        (True, "1", "failure"),
        (1, "True", "failure"),
        (1, "1.0", "pass"),
        (0.1, "0.1 + 1e-9", "pass"),
        (0.1, "0.11", "failure"),
        (3, "3.0000001", "failure"),
        ("a", "'a'", "pass"),
        ("1", "1", "failure"),
        ({"1": [2]}, "{1: (2,)}", "pass"),
        (None, "None", "pass"),
        ([], "None", "failure"),
        ([1], "{1}", "failure"),
        ([1], "iter([1])", "failure"),
        ([3, 1], "__import__('collections').namedtuple('P', 'a b')(3, 1)", "pass"),
        (2, "__import__('enum').IntEnum('E', {'A': 2}).A", "pass"),
        ([1, 2], "__import__('numpy').array([1, 2])", "pass"),
        (10**3000, "10 ** 3000", "pass"),
        (1.0, "float('nan')", "failure"),
        ([[1]], "(lambda x: (x.append(x), x)[1])([])", "failure"),
        ([1], "[0] * 100000", "failure"),
    ],
)
def test_returned_values(judge: SandboxJudge, expected: object, returned: str, outcome: str) -> None:
    (feedback,) = judge.grade([(call_suite("f", ([], expected)), f"def f():\n    return {returned}\n")])
    assert feedback.outcome == outcome, feedback


def test_asserts_with_literals_and_with_code_of_their_own(judge: SandboxJudge) -> None:
    literal = assert_suite("assert pair(1, (2,)) == (1, (2,))", "assert pair('a', {1}) == ('a', {1})")
    assert (
        judge.grade([(literal, "def pair(a, b): return a, b"), (literal, "def pair(a, b): return [a, b]")])[1].outcome
        == "failure"
    )
    coded = assert_suite(
        "assert math.isclose(half(3), 1.5)",
        "assert list(count(3)) == [0, 1, 2]",
        "assert set(names) == {'a', 'b'}",
        "assert root.left.value == 2 and depth(root) == 2",
        "assert sorted(map(half, [2, 4])) == [1, 2]",
        setup="root = Node(1)\nroot.left = Node(2)",
    )
    program = (
        "names = ['a', 'b']\nclass Node:\n    def __init__(self, value):\n        self.value, self.left, self.right = value, None, None\n"
        "def depth(node): return 1 + max(depth(node.left), depth(node.right)) if node else 0\n"
        "def half(x): return x / 2\ndef count(n): yield from range(n)\n"
    )
    (feedback,) = judge.grade([(coded, program)])
    assert (feedback.outcome, feedback.passed) == ("pass", 5), feedback
    (feedback,) = judge.grade([(coded, program.replace("x / 2", "x // 0"))])
    assert (feedback.outcome, feedback.error_type, feedback.line, feedback.passed) == (
        "runtime_error",
        "ZeroDivisionError",
        6,
        3,
    )
    (feedback,) = judge.grade([(coded, program + "def count(n):\n    while True: pass\n")])
    assert (feedback.error_type, feedback.line) == ("TimeLimit", 9)
    assert [test.outcome for test in feedback.tests] == ["pass", "runtime_error", "not_run", "not_run", "not_run"]
    (feedback,) = judge.grade([(coded, "def half(x) return x")])
    assert (feedback.outcome, feedback.line, feedback.run) == ("compile_error", 1, 0)


def test_equal_programs_are_graded_once_and_the_order_is_kept(judge: SandboxJudge) -> None:
    right, wrong = "input()\nprint(sum(map(int, input().split())))  # a\n", "print(0)  # b\n"
    before = judge.hits
    outcomes = [
        result.outcome for result in judge.grade([(SUM, program) for program in (right, wrong, right, right, wrong)])
    ]
    assert outcomes == ["pass", "failure", "pass", "pass", "failure"]
    assert judge.hits - before == 3
    assert judge.grade([(SUM, right)])[0].outcome == "pass" and judge.hits - before == 4
    # Another limit, another test or a blank more is another question.
    others = [replace(SUM, time_limit_s=0.9), replace(SUM, memory_limit_mb=300), replace(SUM, outputs=("3\n", "16\n"))]
    asked = judge.grade([*((suite, right) for suite in others), (SUM, right + " ")])
    assert [result.outcome for result in asked] == ["pass", "pass", "failure", "pass"] and judge.hits - before == 4
    assert asked[0].time_limit_s == 0.9 and asked[1].memory_limit_mb == 300


def test_a_broken_lane_is_replaced_and_says_nothing_about_the_program(
    judge: SandboxJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SandboxJudge(1, 2.0, 512) as own:
        process = own._all[0].plain._process
        assert process is not None
        process.kill()
        process.wait()
        (feedback,) = own.grade([(SUM, HONEST_SUMS["input"])])
        assert (feedback.outcome, own.restarts) == ("pass", 1)
    monkeypatch.setattr("sys._base_executable", "/bin/false", raising=False)
    with pytest.raises(LaneFailure, match="did not start"):
        SandboxJudge(1, 2.0, 512)
