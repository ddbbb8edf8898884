"""Records that cannot be used and fields that nobody reads: which, where and why.

By `check-data`: tests/integration/problems/test_check_data.py.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rltf.config import UserError
from rltf.problems import load_problems, prompt_of
from rltf.problems.fields import foreign, mistakes
from tests.support.problem_files import GOOD, write


def test_one_line_that_is_no_utf8_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad = '{"id": "b", "question": "caf\u00e9"}'.encode("latin-1")
    loaded = load_problems(write(tmp_path, {"id": "a"} | GOOD, bad, {"id": "c", **GOOD, "question": "caf\u00e9"}))
    assert [problem.id for problem in loaded] == ["a", "c"]
    assert [str(one) for one in loaded.skipped] == ["line 2: not UTF-8 text: byte 0xe9 at position 28 of the line"]


def test_a_key_that_stands_twice_is_told(tmp_path: Path) -> None:
    once = json.dumps({"id": "b"} | GOOD)
    twice = once[:-1] + ', "outputs": [0]}'
    nested = json.dumps({"id": "c"} | GOOD | {"inputs": [[{"k": 1}]]}).replace('{"k": 1}', '{"k": 1, "k": 2}')
    loaded = load_problems(write(tmp_path, {"id": "a"} | GOOD, twice.encode(), nested.encode()))
    assert [problem.id for problem in loaded] == ["a"]
    assert [str(one) for one in loaded.skipped] == [
        "line 2: broken JSON: the key 'outputs' stands twice in one object",
        "line 3: broken JSON: the key 'k' stands twice in one object",
    ]


def test_data_without_a_usable_problem_is_refused_with_the_reason(tmp_path: Path) -> None:
    for data, options, reason in (
        ([], "", "it holds no problem"),
        ([{"id": "a"} | GOOD], ",ids=b", "b is the id of no record there"),
        ([{"id": "a"}], "", "its only problem cannot be used: line 1, a: it has no question"),
        ([{"id": "a"} | GOOD], ",ids=a+b+3-5", "b, 3-5 are ids of no record there"),
        (
            [{"id": "a"}, {"id": "b"}],
            "",
            "none of its 2 problems can be used; the first, line 1, a: it has no question",
        ),
    ):
        with pytest.raises(UserError) as refused:
            load_problems(write(tmp_path, *data) + options)
        assert str(refused.value).endswith(f": {reason}")


def test_order_mark_zip_and_blank_lines_change_nothing(tmp_path: Path) -> None:
    text = (
        b"\xef\xbb\xbf\n"
        + json.dumps({"id": "a"} | GOOD).encode()
        + b"\r\n\n  \n"
        + json.dumps({"id": "b"} | GOOD).encode()
    )
    for data in (text, gzip.compress(text)):
        (tmp_path / "own.jsonl").write_bytes(data)
        loaded = load_problems(f"jsonl:{tmp_path / 'own.jsonl'}")
        assert [problem.id for problem in loaded] == ["a", "b"] and not loaded.skipped


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": None}, "it has no id"),
        ({"id": 1.5}, "id must be a string or an integer"),
        ({"id": True}, "id must be a string or an integer"),
        ({"id": float("nan")}, "id must be a string or an integer"),
        ({"question": None}, "it has no question"),
        (
            {"question": None, "prompt": "Echo."},
            "it has no question; the field prompt is not read: did you mean question?",
        ),
        ({"question": " \n"}, "its question is empty"),
        ({"question": ["Echo."]}, "question must be a string"),
        ({"inputs": [], "outputs": []}, "there are no tests"),
        ({"inputs": ["1", "2"]}, "2 inputs but 1 outputs"),
        ({"inputs": "1\n"}, "it needs inputs and outputs (two lists), or tests"),
        (
            {"inputs": None, "input": ["1\n"]},
            "it needs inputs and outputs (two lists), or tests; the field input is not read",
        ),
        ({"inputs": [1]}, "inputs and outputs of a stdin problem must be strings"),
        ({"fn_name": "f", "inputs": ["1"]}, "a call-based problem needs fn_name and one list of arguments per test"),
        ({"solutions": "print(1)"}, "solutions must be a list of programs"),
        ({"tests": {"a": 1}}, "tests must be a list of assert statements, or test code"),
        ({"tests": [1]}, "tests must be a list of assert statements, or test code"),
        ({"tests": ["assert f(1)", " \n"]}, "number 2 of its tests is empty: every program would pass it"),
        ({"checker": 3}, "checker must be a string"),
        ({"checker": "lenient"}, "unknown checker 'lenient', known: standard, tokens, codecontests, apps_compat"),
        ({"tolerance": float("nan")}, "tolerance must be at least 0 and less than 1"),
        ({"time_limit_s": float("nan")}, "time_limit_s must be more than 0"),
        ({"memory_limit_mb": float("nan")}, "memory_limit_mb is out of all bounds"),
        ({"id": "good"}, "the id occurs twice, the one of line 1 is used"),
    ],
)
def test_what_is_wrong_with_a_record_is_told_with_its_line(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    loaded = load_problems(write(tmp_path, {"id": "good"} | GOOD, {"id": "odd"} | GOOD | fields))
    assert [problem.id for problem in loaded] == ["good"]
    assert str(loaded.skipped[0]).startswith("line 2") and loaded.skipped[0].reason.startswith(reason)


def test_a_record_after_an_unusable_one_of_its_id_is_used(tmp_path: Path) -> None:
    loaded = load_problems(write(tmp_path, {"id": "a", **GOOD, "question": ""}, {"id": "a", **GOOD}))
    assert [problem.id for problem in loaded] == ["a"] and [str(one) for one in loaded.skipped] == [
        "line 1, a: its question is empty"
    ]


def test_a_field_that_nobody_reads_is_told_with_what_was_meant(tmp_path: Path) -> None:
    records = [
        {"id": str(number), **GOOD, "solution": "print(1)", "timeout": 3, "url": "x", "verified": True}
        for number in range(5)
    ]
    tested = {
        "id": "t",
        "question": "q",
        "tests": ["assert f(1)"],
        "inputs": [[1]],
        "outputs": [2],
        "checker": "tokens",
    }
    checked = {"id": "c", "question": "q", "tests": "def check(f): pass", "entry_point": "f", "fn_name": "g"}
    named = {
        "id": "n",
        **GOOD,
        "entry_point": "f",
        "soutions": ["x"],
        "Difficulty": "easy",
        "set": "own",
        "solution": "",
    }
    loaded = load_problems(write(tmp_path, *records, tested, checked, named))
    assert mistakes(loaded.unread) == [
        "the field solution of 5 records (line 1, line 2, line 3, ..) is not read: did you mean solutions?",
        "the field timeout of 5 records (line 1, line 2, line 3, ..) is not read: did you mean time_limit_s?",
        "the field inputs of 1 record (line 6) is not read: its tests judge it",
        "the field outputs of 1 record (line 6) is not read: its tests judge it",
        "the field checker of 1 record (line 6) is not read: its tests compare by themselves",
        "the field fn_name of 1 record (line 7) is not read: entry_point names what its tests check",
        "the field entry_point of 1 record (line 8) is not read: did you mean fn_name?",
        "the field soutions of 1 record (line 8) is not read: did you mean solutions?",
        "the field Difficulty of 1 record (line 8) is not read: did you mean difficulty?",
    ]
    assert foreign(loaded.unread) == "set, url, verified"
    whole = {**GOOD, "id": "w", "solutions": ["print(1)"], "time_limit_s": 2, "solution": "print(1)", "timeout": 2}
    loaded = load_problems(write(tmp_path, whole))
    assert mistakes(loaded.unread) == [] and foreign(loaded.unread) == "solution, timeout", (
        "nothing lacks what they could mean"
    )


def test_the_other_formats_tell_too(tmp_path: Path) -> None:
    record = {
        "task_id": 1,
        "text": "Add.",
        "code": "x",
        "test_list": ["assert f"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    (tmp_path / "mbpp.jsonl").write_text(
        json.dumps(record | {"test_import": ["import math"], "tag": "own"}) + '\n{"task_id": [1]}\n'
    )
    loaded = load_problems(f"mbpp:{tmp_path / 'mbpp.jsonl'}")
    assert mistakes(loaded.unread) == [
        "the field test_import of 1 record (line 1) is not read: did you mean test_imports?"
    ]
    assert (
        foreign(loaded.unread) == "tag" and str(loaded.skipped[0]) == "line 2: task_id must be a string or an integer"
    )
    both = [record, record | {"task_id": 2, "test_list": ["assert f", ""]}]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(one) + "\n" for one in both))
    (skipped,) = load_problems(f"mbpp:{tmp_path / 'mbpp.jsonl'}").skipped
    assert str(skipped) == "line 2, mbpp/2: number 2 of its tests is empty: every program would pass it"
    folder = tmp_path / "apps" / "train" / "0001"
    folder.mkdir(parents=True)
    (folder / "question.txt").write_text("Echo.")
    (folder / "input_output.json").write_text(json.dumps({"inputs": ["1"], "outputs": ["1"]}))
    (folder / "solution.json").write_text('["print(input())"]')
    (folder / "notes.md").write_text("mine")
    loaded = load_problems(f"apps:{tmp_path / 'apps'}")
    assert mistakes(loaded.unread) == [
        f"the field solution.json of 1 record ({folder}) is not read: did you mean solutions.json?"
    ]
    assert foreign(loaded.unread) == ""


def test_an_empty_list_of_tests_makes_no_prompt_with_tests(tmp_path: Path) -> None:
    (problem,) = load_problems(write(tmp_path, {"id": "a", "tests": [], **GOOD}))
    assert prompt_of(problem).text == "\nQUESTION:\nEcho the line.\n\n\nUse Standard Input format\n\nANSWER:\n"
