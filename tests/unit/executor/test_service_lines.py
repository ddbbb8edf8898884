"""The lines of a request: what is read of them, and that each bad one is one error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rltf.executor.judge import InfrastructureFailure
from rltf.executor.service.lines import Suites, answer, read_lines
from rltf.problems import TestSuite, load_problems
from rltf.problems.jsonl import suite_of
from tests.support.service import ADD, RIGHT, as_lines

SUITE = suite_of(ADD)


def read(*lines: Any) -> tuple[list[tuple[int, dict[str, Any], TestSuite, str]], list[dict[str, Any]]]:
    known = load_problems("starter,split=heldout").by_id
    found = read_lines(as_lines(*lines), known, Suites())
    programs = [(one.place, dict(one.named), one.suite, one.code) for one in found.programs]
    return programs, [json.loads(line) for line in found.errors]


def test_a_problem_comes_in_the_line_before_it_or_is_known() -> None:
    name, problem = next(iter(load_problems("starter,split=heldout").by_id.items()))
    lines = [
        {"problem_id": "add", "problem": ADD},
        b"",
        {"problem_id": "add", "code": RIGHT, "id": 7},
        {"problem": {**ADD, "question": "?", "solutions": []}, "code": "x"},
        {"problem_id": 5, "suite": json.loads(SUITE.to_json()), "code": "y", "id": "z"},
        {"problem_id": 5, "code": ""},
        {"problem_id": name, "code": RIGHT},
    ]
    programs, errors = read(*lines)
    assert not errors
    assert programs == [
        (3, {"id": 7, "problem_id": "add"}, SUITE, RIGHT),
        (4, {}, SUITE, "x"),
        (5, {"id": "z", "problem_id": 5}, SUITE, "y"),
        (6, {"problem_id": 5}, SUITE, ""),
        (7, {"problem_id": name}, problem.suite, RIGHT),
    ]
    assert programs[0][2] is programs[1][2] is programs[2][2], "equal tests are prepared once"


BAD: list[tuple[Any, str]] = [
    (b"{", "Expecting property name"),
    (b"\xff\xfe{}", "codec can't decode"),
    (b"[" * 100_000, "recursion"),
    ([], "a line must be a JSON object"),
    ({"code": RIGHT}, "it names no problem"),
    ({"problem_id": "add"}, "it has neither code nor a problem"),
    ({"problem_id": "nobody", "code": RIGHT}, "problem_id is that of no problem"),
    ({"problem_id": True, "code": RIGHT}, "problem_id must be a short string or an integer"),
    ({"problem_id": "x" * 2000, "code": RIGHT}, "problem_id must be a short string or an integer"),
    ({"problem_id": "add", "code": 5}, "code must be a string"),
    ({"problem": 5, "code": ""}, "problem must be a JSON object"),
    ({"problem": ADD}, "a problem without code needs a problem_id"),
    ({"problem": {**ADD, "inputs": 5}, "code": ""}, "it needs inputs and outputs"),
    ({"problem": {**ADD, "fn_name": 5}, "code": ""}, "fn_name must be a string"),
    ({"problem": {**ADD, "checker": "mine:check"}, "code": ""}, "is of files that the service does not have"),
    ({"problem": {**ADD, "checker_code": "x = 1"}, "code": ""}, "checker_code has to define check"),
    ({"problem": {**ADD, "time_limit_s": 1e9}, "code": ""}, "time_limit_s must be more than 0"),
    ({"suite": {"kind": "stdin"}, "code": ""}, "needs the field"),
    ({"suite": [], "code": ""}, "a test suite must be a JSON object"),
    ({"suite": json.loads(SUITE.to_json()) | {"asserts": [5], "kind": "assert"}, "code": ""}, "wrong type"),
    ({"problem_id": "\ud800", "code": ""}, "problem_id is that of no problem"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_one_error_and_the_rest_is_read(line: Any, reason: str) -> None:
    programs, errors = read({"problem_id": "add", "problem": ADD}, line, {"problem_id": "add", "code": RIGHT})
    assert [place for place, *_ in programs] == [3]
    (error,) = errors
    assert error["place"] == 2 and reason in error["error"] and len(error["error"]) <= 300


def test_old_tests_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltf.executor.service.lines.MAX_SUITE_BYTES", 1000)
    suites = Suites()
    first = suites.one(suite_of(ADD))
    assert suites.one(suite_of(ADD)) is first
    for number in range(10):
        suites.one(suite_of({**ADD, "outputs": [number, 7]}))
    assert suites.one(other := suite_of(ADD)) is other


def test_what_cannot_be_judged_says_why() -> None:
    (asked,) = read_lines(as_lines({"problem": ADD, "code": "", "id": 1}), {}, Suites()).programs
    row = json.loads(answer(asked, InfrastructureFailure("the lane broke")))
    assert row == {"place": 1, "id": 1, "error": "the lane broke", "of_problem": False}
