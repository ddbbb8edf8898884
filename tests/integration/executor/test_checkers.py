"""The checker and the tolerance of a problem in the judge."""

from __future__ import annotations

from typing import Any

from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import TestSuite
from tests.support.executor_suites import stdin_suite


def test_apps_compat_runs_programs_as_the_harness_did() -> None:
    def suite(name: Any) -> TestSuite:
        return TestSuite("stdin", None, ("3\n",), ("3\n",), checker=name)

    programs = {
        "a return at the top": (
            "n = input()\nif n == '3':\n    print(n)\n    return\nprint(0)\n",
            "pass",
            "compile_error",
        ),
        "global": ("n = 3\ndef f():\n    global n\n    print(n)\nf()\n", "runtime_error", "pass"),
        "names of its prelude": ("print(int(sqrt(9)), end='')\n", "pass", "runtime_error"),
        "a late star import": ("n = 1\nfrom math import *\nprint(int(sqrt(9)))\n", "compile_error", "pass"),
    }
    call = {"apps_compat": "compile_error", "standard": "runtime_error"}
    with SandboxJudge(1, 2.0, 512) as judge:
        for column, name in enumerate(("apps_compat", "standard"), start=1):
            results = judge.grade([(suite(name), program) for program, *_ in programs.values()])
            assert {key: result.outcome for key, result in zip(programs, results, strict=True)} == {
                key: row[column] for key, row in programs.items()
            }
            failing = TestSuite("call", "f", ([1],), ([1],), checker=name)  # type: ignore[arg-type]
            (result,) = judge.grade([(failing, "def f(x):\n    return x\nundefined\n")])
            assert (result.outcome, result.error_type, result.line, result.checker) == (
                call[name],
                "NameError",
                3,
                name,
            )


def test_the_tolerance_of_a_problem_is_used_when_it_is_graded() -> None:
    with SandboxJudge(1, 2.0, 512) as judge:
        loose = TestSuite("stdin", None, ("",), ("3.14\n",), tolerance=1e-2)
        work = [(stdin_suite(("", "3.14\n")), "print(3.1416)\n"), (loose, "print(3.1416)\n")]
        assert [result.outcome for result in judge.grade(work)] == ["failure", "pass"]
