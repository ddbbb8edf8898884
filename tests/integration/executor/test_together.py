"""Tests that share the program's process: honest programs pass, wrong ones and cheats do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rltf.buffer.records import Feedback
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import TestSuite
from tests.support.together_attacks import CHEATS, PROGRAMS
from tests.support.together_patches import PATCHES
from tests.support.together_programs import HONEST, WRONG


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge(2, 4.0, 1024) as judge:
        yield judge


def outcomes(judge: SandboxJudge, programs: dict[str, tuple[TestSuite, str]]) -> dict[str, tuple[str, str | None]]:
    found = {}
    for name, result in zip(programs, judge.grade(list(programs.values())), strict=True):
        assert isinstance(result, Feedback), (name, result)
        found[name] = result.outcome, result.error_type
    return found


def test_no_honest_program_fails(judge: SandboxJudge) -> None:
    assert len(HONEST) >= 200
    failed = {name: found for name, found in outcomes(judge, HONEST).items() if found != ("pass", None)}
    assert not failed


def test_no_wrong_program_passes(judge: SandboxJudge) -> None:
    passed = {name for name, (outcome, _) in outcomes(judge, WRONG).items() if outcome == "pass"}
    assert not passed


def test_no_cheat_passes(judge: SandboxJudge) -> None:
    assert len(CHEATS) + len(PATCHES) >= 90
    found = outcomes(judge, PROGRAMS | PATCHES)
    assert not {name for name, (outcome, _) in found.items() if outcome == "pass"}
    assert "Cheating" in {error_type for _, error_type in found.values()}
    assert judge.restarts == 0
