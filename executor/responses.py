"""Responses of a policy to be judged: their programs go to a judge, one without a program gets its verdict here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rltf.buffer.records import NO_PROGRAM, Feedback, Source, TestResult
from rltf.config import ExecutorConfig
from rltf.executor.grading import EXECUTOR_VERSION
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.problems.problem import TestSuite


def judged(
    judge: Judge, work: Sequence[tuple[TestSuite, Source]], config: ExecutorConfig
) -> Iterator[tuple[int, Feedback | InfrastructureFailure]]:
    """Verdicts as they come, each with its place in `work`, those of responses without a program first.

    Raises as Judge.grade_each. `config` has the limits that such a verdict names where the tests name none.
    """
    for index, (suite, response) in enumerate(work):
        if not response.has_program:
            yield index, no_program(suite, config)
    places = [index for index, (_, response) in enumerate(work) if response.has_program]
    for place, result in judge.grade_each([(work[index][0], work[index][1].code) for index in places]):
        yield places[place], result


def no_program(suite: TestSuite, config: ExecutorConfig) -> Feedback:
    """The verdict on a response without a program: a compile error without a line."""
    return Feedback(
        outcome="compile_error",
        error_type=NO_PROGRAM,
        message="the response holds no program",
        tests=[TestResult(outcome="compile_error", error_type=NO_PROGRAM)] * suite.count,
        problem_hash=suite.content_hash,
        time_limit_s=suite.time_limit_s or config.time_limit_s,
        memory_limit_mb=suite.memory_limit_mb or config.memory_limit_mb,
        checker=suite.rule,
        executor_version=EXECUTOR_VERSION,
    )
