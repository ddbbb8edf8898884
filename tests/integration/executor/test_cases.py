"""The small inputs of ../shared/cases, each of a kind that once went wrong, with their right verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf.buffer.records import Feedback
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.loading import load_problems
from rltf.problems.problem import ProblemSet
from tests.support.paths import ROOT

CASES = ROOT.parent / "shared" / "cases"
FOLDERS = ["01", "02", "03", "04", "05", "06", "07", "08", "34", "40"]
"""Those about test code."""


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge(2, 4.0, 1024) as judge:
        yield judge


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def loaded(folder: Path) -> ProblemSet:
    return load_problems(f"jsonl:{folder / 'problems.jsonl'}")


@pytest.mark.parametrize("name", FOLDERS)
def test_the_verdicts_are_right(judge: SandboxJudge, name: str) -> None:
    folder = CASES / name
    if not folder.is_dir():
        pytest.skip("../shared/cases is not there")
    problems = loaded(folder)
    programs = lines(folder / "programs.jsonl")
    wanted = json.loads((folder / "expected.json").read_text())["programs"]
    judged = [
        (program, want) for program, want in zip(programs, wanted, strict=True) if "skipped" not in want["outcome"]
    ]
    skipped = {want["problem_id"] for want in wanted if "skipped" in want["outcome"]}
    assert skipped == {one.id for one in problems.skipped}
    results = judge.grade([(problems.by_id[program["problem_id"]].suite, program["code"]) for program, _ in judged])
    wrong = []
    for result, (_, want) in zip(results, judged, strict=True):
        assert isinstance(result, Feedback), result
        if result.outcome != want["outcome"] or (want["line"] is not None and result.line != want["line"]):
            wrong.append((want["problem_id"], result.outcome, result.error_type, result.line, result.message))
    assert not wrong
