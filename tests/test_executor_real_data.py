"""Agreement with real data sets: references pass, and programs that models wrote get the labels that others gave them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor.judge import Judge
from problems import load_problems

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
pytestmark = [
    pytest.mark.real_problems,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: real problems are not part of the project"),
]
OUTCOMES = {
    "pass": "pass",
    "wrong": "failure",
    "runtime_error": "runtime_error",
    "compile_error": "compile_error",
    "timeout": "runtime_error",
}
HASH_ORDER = {"MBPP/341"}
"""Tests that compare the order of a set's strings: the verdict depends on the seed of the label-maker's interpreter."""


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(2, 4.0, 1024) as judge:
        yield judge


@pytest.mark.parametrize("file", ["mbpp.jsonl", "sanitized-mbpp.json"])
def test_mbpp_references_pass(judge: Judge, file: str) -> None:
    problems = [problem for problem in load_problems(f"mbpp:{DATA / 'mbpp' / file}") if problem.id != "mbpp/123"]  # takes seconds
    chosen = {problem.id: problem for problem in random.Random(0).sample(problems, 60)}
    # Tests with code of their own: setup with the program's classes, types as arguments, modules of the standard library.
    chosen |= {problem.id: problem for problem in problems if problem.id in ("mbpp/367", "mbpp/927", "mbpp/533", "mbpp/98")}
    results = judge.grade([(problem.suite, problem.solutions[0]) for problem in chosen.values()])
    assert {name: result for name, result in zip(chosen, results, strict=True) if getattr(result, "outcome", "") != "pass"} == {}


def test_labels_of_programs_that_models_wrote(judge: Judge) -> None:
    with gzip.open(DATA / "gen_samples" / "mbpp_labeled.jsonl.gz") as lines:
        rows = [json.loads(line) for line in lines]
    errors = [row for row in rows if row["status"] in ("runtime_error", "compile_error")]
    others = [row for row in rows if row["status"] in ("pass", "wrong") and row["task"] not in HASH_ORDER | {"MBPP/123"}]
    chosen = random.Random(1).sample(errors, 100) + random.Random(2).sample(others, 150)
    problems = load_problems(f"mbpp:{DATA / 'mbpp' / 'mbpp.jsonl'}").by_id
    results: list[Any] = judge.grade([(problems["mbpp/" + row["task"].removeprefix("MBPP/")].suite, row["code"]) for row in chosen])
    for row, result in zip(chosen, results, strict=True):
        if row["status"] == "wrong" and result.outcome == "runtime_error":
            continue  # labelled at the first test that fails; here a later one, which raises, counts more
        assert result.outcome == OUTCOMES[row["status"]], (row, result)
        if row["status"] == "runtime_error":
            assert (result.error_type, result.line) == (row["error"], row["line"]), (row, result)
