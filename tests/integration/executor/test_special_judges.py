"""A problem's own checker in the sandbox's judge: a lane of its own, and failures that are no verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig
from rltf.executor.check_data import SEVERAL_ANSWERS, check_data
from rltf.executor.check_report import show
from rltf.executor.judge import InfrastructureFailure
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems import ProblemSet, TestSuite
from rltf.problems.jsonl import from_record
from rltf.problems.problem import Problem
from tests.support.executor_suites import call_suite, stdin_suite

OTHER_DIGIT = """
def check(input, expected, output):
    a, b = map(int, input.split())
    return output.strip().isdigit() and len(output.strip()) == 1 and int(output) != a + b
"""
NUMBERS = stdin_suite(("2 5\n", "0\n"), ("1 1\n", "0\n"), ("0 0\n", "1\n"))


def judged_by(code: str, suite: TestSuite = NUMBERS) -> TestSuite:
    return replace(suite, checker_code=code)


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge.from_config(ExecutorConfig(), 1) as made:
        yield made


def said(judge: SandboxJudge, suite: TestSuite, program: str) -> str:
    """The outcome, or the reason why there is none."""
    (found,) = judge.grade([(suite, program)])
    return found.reason if isinstance(found, InfrastructureFailure) else found.outcome


def test_every_right_answer_is_accepted_and_every_wrong_one_is_not(judge: SandboxJudge) -> None:
    suite = judged_by(OTHER_DIGIT)
    programs = {
        "a, b = map(int, input().split())\nprint(9 if a + b != 9 else 0)\n": "pass",
        "a, b = map(int, input().split())\nprint(3 if a + b != 3 else 4)\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n": "pass",
        "print(7)\n": "failure",  # which is 2 + 5
        "print('no digit')\n": "failure",
        "": "failure",
        "print(1 / 0)\n": "runtime_error",
        "print(": "compile_error",
    }
    found = judge.grade([(suite, program) for program in programs])
    assert [one.outcome if isinstance(one, Feedback) else one.reason for one in found] == list(programs.values())
    wrong = found[2]
    assert isinstance(wrong, Feedback) and wrong.message == "expected '0\\n', got '7\\n'"
    assert [test.outcome for test in wrong.tests] == ["failure", "pass", "pass"] and wrong.checker == "checker_code"
    assert judge.restarts == 0


def test_a_functions_value_is_checked_as_data(judge: SandboxJudge) -> None:
    code = "def check(input, expected, output):\n    (xs,) = input\n    return type(output) is tuple and set(output) <= set(xs) and len(output) == len(expected)\n"
    suite = judged_by(code, call_suite("two_of", ([[1, 2, 3]], [1, 2]), ([["a", "b"]], ["a", "b"])))
    assert said(judge, suite, "def two_of(xs):\n    return tuple(xs[-2:])\n") == "pass"
    assert said(judge, suite, "def two_of(xs):\n    return xs[-2:]\n") == "failure"
    assert said(judge, suite, "def two_of(xs):\n    return object()\n") == "failure"
    assert said(judge, suite, "def two_of(xs):\n    return tuple(xs) * 100_000\n") == "failure"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "def check(a, b, c):\n    return int(c) > 0\n",
            "failed for test 1: ValueError at its line 2: invalid literal",
        ),
        ("def check(a, b, c):\n    while True: pass\n", "failed for test 1: TimeLimit at its line 2: stuck at line 2"),
        ("def check(a, b, c):\n    return [0] * 10**12\n", "failed for test 1: MemoryLimit at its line 2"),
        ("def check(a, b, c):\n    exit()\n", "failed for test 1: SystemExit"),
        ("import os\ndef check(a, b, c):\n    os._exit(0)\n", "failed for test 1: SystemExit"),
        ("import nothing\ndef check(a, b, c): ...\n", "failed for test 1: ModuleNotFoundError at its line 1"),
        ("def check(a, b, c):\n    return 1\n", "gave 1, not True or False"),
        ("def check(a, b, c): ...\n", "gave None, not True or False"),
        ("def check(a, b, c):\n    return 'x' * 10**6\n", "not True or False"),
        ("def check(a, b, c):\n    return [True] * 10**5\n", "not True or False"),
        ("def check(a, b, c):\n    return True if a == '2 5\\n' else 'no'\n", "gave 'no', not True or False"),
    ],
)
def test_a_checker_that_does_not_say_is_no_verdict(
    judge: SandboxJudge, code: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rltf.executor.special_judge.TIME_LIMIT_S", 0.5)
    (found,) = judge.grade([(judged_by(code), "print('no number')\n")])
    assert isinstance(found, InfrastructureFailure) and found.of_problem
    assert found.reason.startswith("the problem's checker_code ") and reason in found.reason
    assert said(judge, judged_by(OTHER_DIGIT), "print(9)\n") == "pass", "the next one has a checker again"


def test_it_meets_neither_the_program_nor_the_judge(judge: SandboxJudge) -> None:
    """Programs and checkers leave traces where they can, and look for each other's; what the program printed last."""
    code = """
import builtins, glob, os, sys

def check(input, expected, output):
    found = [name for name in ("left", "seen") if hasattr(builtins, name) or os.path.exists(name)]
    builtins.seen = True
    open("seen", "w").close()
    secrets = [module for module in sys.modules if module.partition(".")[0] == "rltf"]
    return output == "clean\\n" and not found and not secrets and "RLTF" not in str(os.environ)
"""
    program = """
import builtins, os
print("met" if hasattr(builtins, "seen") or os.path.exists("seen") else "clean")
builtins.left = True
open("left", "w").close()
"""
    suite = judged_by(code, stdin_suite(("", "SECRET\n")))
    assert [said(judge, suite, program + "# again\n" * number) for number in range(3)] == ["pass"] * 3


def test_hostile_output_harms_nobody(judge: SandboxJudge) -> None:
    evil = "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 100)\nprint('\\x1b[31m', '\\ud800'.encode('utf-8', 'surrogatepass'))\n"
    assert said(judge, judged_by(OTHER_DIGIT), evil) == "failure"
    assert said(judge, judged_by("def check(a, b, c):\n    return eval(c)\n"), evil).startswith("the problem's")
    told = said(judge, judged_by("def check(a, b, c):\n    raise ValueError(c)\n"), "print('\\x1b[31m' * 400)\n")
    assert "ValueError" in told and "\x1b" not in told and len(told) < 500
    flood = "print('1 ' * 800_000)\n"
    assert said(judge, judged_by("def check(a, b, c):\n    return True\n"), flood) == "failure", "it is not even read"
    assert said(judge, judged_by(OTHER_DIGIT), "print(9)\n") == "pass"


def problem(name: str, *solutions: str, **fields: object) -> Problem:
    record = {"id": name, "question": "Print a digit that is not a + b.", "inputs": ["2 5\n", "1 1\n"]}
    record["outputs"] = ["0\n", "1\n"]
    found = from_record(name, record | {"solutions": list(solutions)} | fields)
    assert isinstance(found, Problem)
    return found


def test_check_data_names_candidates_and_checkers_that_fail(tmp_path: Path) -> None:
    right, one, two = "print(0 if input() == '2 5' else 1)\n", "print(3)\n", "print(4)\n"
    problems = (
        problem("candidate", one, two),
        problem("some", right, one, two),
        problem("wrong", one, one + "# the same answer\n"),
        problem("solved", one, two, checker_code=OTHER_DIGIT),
        problem("broken", one, checker_code="def check(a, b, c):\n    return int(c)\n"),
        problem("fragile", one, checker_code="def check(a, b, c):\n    return int(c) == 1\n"),
    )
    console = Console(record=True, width=200, file=(tmp_path / "told").open("w"))
    parts = check_data(ProblemSet("mine", problems), ExecutorConfig(), 1, console)
    found = {one.problem_id: one for part in parts for one in part}
    assert {name: one.status for name, one in found.items()} == {
        "candidate": "quarantined",
        "some": "warned",
        "wrong": "quarantined",
        "solved": "quarantined",  # a program that always prints 1 passes, as its tests are
        "broken": "quarantined",
        "fragile": "quarantined",
    }
    several = f"{SEVERAL_ANSWERS}: references #1 and #2 differ in test 1; it may need a checker_code"
    assert several in found["candidate"].reasons
    assert several.replace("#1 and #2", "#2 and #3") in found["some"].reasons
    assert not any(SEVERAL_ANSWERS in reason for name in ("wrong", "solved") for reason in found[name].reasons)
    assert not any("no reference passes" in reason for reason in found["solved"].reasons)
    assert found["broken"].reasons[0] == "the problem's checker_code gave 3, not True or False"
    assert found["fragile"].reasons[0].startswith("the problem's checker_code failed for test 1: ValueError")
    show(ProblemSet("mine", problems), list(found.values()), tmp_path / "out", console)
    assert f"{SEVERAL_ANSWERS} (candidates for a checker_code): candidate, some" in console.export_text()
    assert json.loads(found["candidate"].to_json())["reasons"][-1] == several
