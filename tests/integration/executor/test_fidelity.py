"""At least 80 honest programs pass and at least 25 wrong ones do not: the judge neither helps nor hinders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import TestSuite
from tests.support.executor_suites import HONEST_SUMS, SUM, WRONG_SUMS
from tests.support.fidelity_kinds import HONEST_KINDS, WRONG_KINDS
from tests.support.fidelity_programs import HONEST, WRONG


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge(2, 4.0, 1024) as judge:
        yield judge


def test_no_honest_program_fails(judge: SandboxJudge) -> None:
    programs: dict[str, tuple[TestSuite, str]] = {name: (SUM, program) for name, program in HONEST_SUMS.items()}
    programs |= HONEST | HONEST_KINDS
    assert len({program for _, program in programs.values()}) >= 80
    results = judge.grade(list(programs.values()))
    failed = {
        name: result for name, result in zip(programs, results, strict=True) if getattr(result, "outcome", "") != "pass"
    }
    assert not failed


def test_no_wrong_program_passes(judge: SandboxJudge) -> None:
    programs: dict[str, tuple[TestSuite, str]] = {name: (SUM, program) for name, program in WRONG_SUMS.items()}
    programs |= WRONG | WRONG_KINDS
    assert len({program for _, program in programs.values()}) >= 25
    results = judge.grade(list(programs.values()))
    outcomes = {name: getattr(result, "outcome", "not judged") for name, result in zip(programs, results, strict=True)}
    assert {name for name, outcome in outcomes.items() if outcome not in ("failure", "runtime_error")} == set()
