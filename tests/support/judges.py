"""A judge that runs programs in the process of the test: for programs that the test wrote itself."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Self
from unittest.mock import patch

from rltf.buffer.records import Feedback, TestResult
from rltf.config import ExecutorConfig
from rltf.executor.checkers import make_checker
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.problems.problem import TestSuite

UNJUDGED = "# cannot be judged"
"""A program of this text is the judge's own failure."""


class InProcessJudge(Judge):
    """Programs that read stdin and functions, without isolation and limits."""

    def __init__(self, lanes: int = 1) -> None:
        self._lanes = lanes
        self.closed: list[bool] = []
        """`at_once` of each close."""

    @classmethod
    def from_config(cls, config: ExecutorConfig | None = None, lanes: int | None = None, hash_seed: int = 0) -> Self:
        return cls((config or ExecutorConfig()).lanes if lanes is None else lanes)

    @property
    def lanes(self) -> int:
        return self._lanes

    @property
    def tier(self) -> str:
        return "none"

    @property
    def layers(self) -> Mapping[str, str]:
        return {"process": "off: programs run in the judge's own"}

    def grade_each(
        self, work: Sequence[tuple[TestSuite, str]]
    ) -> Iterator[tuple[int, Feedback | InfrastructureFailure]]:
        for index, (suite, program) in reversed(list(enumerate(work))):  # any order will do
            failed = program == UNJUDGED
            yield index, InfrastructureFailure("it is out of order") if failed else _judged(suite, program)

    def close(self, at_once: bool = False) -> None:
        self.closed.append(at_once)


def _judged(suite: TestSuite, program: str) -> Feedback:
    results, line, error_type = [], None, ""
    for given, expected in zip(suite.inputs, suite.outputs, strict=True):
        try:
            passed = _passes(suite, program, given, expected)
            results.append(TestResult(outcome="pass" if passed else "failure"))
        except Exception as error:
            line, error_type = traceback.extract_tb(error.__traceback__)[-1].lineno, type(error).__name__
            results.append(TestResult(outcome="runtime_error", error_type=error_type))
    outcomes = [result.outcome for result in results]
    worst = next((kind for kind in ("runtime_error", "failure") if kind in outcomes), "pass")
    return Feedback(
        outcome=worst,  # type: ignore[arg-type]
        error_type=error_type,
        line=line,
        tests=results,
        passed=outcomes.count("pass"),
        run=len(outcomes),
        problem_hash=suite.content_hash,
        time_limit_s=suite.time_limit_s or 1.0,
        memory_limit_mb=suite.memory_limit_mb or 256,
        executor_version="in process",
    )


def _passes(suite: TestSuite, program: str, given: object, expected: object) -> bool:
    names: dict[str, object] = {"__name__": "__main__"}
    checker, code = make_checker(suite), compile(program, "<program>", "exec")
    if suite.kind == "call":
        exec(code, names)
        return checker.matches_value(expected, names[suite.fn_name](*given))  # type: ignore
    with redirect_stdout(io.StringIO()) as printed, patch.object(sys, "stdin", io.StringIO(str(given))):
        exec(code, names)
    return checker.matches_output(str(expected), printed.getvalue())
