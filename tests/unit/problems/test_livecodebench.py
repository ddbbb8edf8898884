"""LiveCodeBench: releases, dates, both kinds of tests, and private tests that are never unpickled."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rltf.config import UserError
from rltf.problems import load_problems
from rltf.problems.pickled_text import packed_text
from tests.support.problem_files import lines
from tests.support.published_records import LIVECODEBENCH as RECORD
from tests.support.published_records import LIVECODEBENCH_FUNCTIONAL as FUNCTIONAL
from tests.support.published_records import packed, stdin_test


def test_stdin_and_functional_tests_public_ones_first(tmp_path: Path) -> None:
    first, second = load_problems(f"livecodebench:{lines(tmp_path, RECORD, FUNCTIONAL)}")
    assert (first.id, first.difficulty, first.examples, first.solutions) == ("abc1_a", "easy", (0,), ())
    assert (first.suite.kind, first.suite.inputs, first.suite.time_limit_s) == ("stdin", ("1\n", "2\n", "é\n"), 6.0)
    assert (second.suite.kind, second.suite.fn_name, second.starter_code) == (
        "call",
        "pick",
        FUNCTIONAL["starter_code"],
    )
    assert (second.suite.inputs, second.suite.outputs) == (([[1, 2], 1], [["a"], 0]), ([1], []))


@pytest.mark.parametrize("protocol", range(5))
def test_packed_text_of_every_protocol_and_size(protocol: int) -> None:
    for text in ("", "é" * 100, "x" * 300_000):
        if protocol:  # the oldest writes its text with escapes
            assert packed_text(packed(text, protocol)) == text
        else:
            with pytest.raises(ValueError, match="UNICODE, and only a string is accepted"):
                packed_text(packed(text, protocol))


def test_nothing_that_the_data_pickled_is_ever_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    broken = {
        "calls": (packed(Evil()), "private_test_cases: its pickle has the instruction"),
        "list": (packed(["[]"]), "private_test_cases: its pickle has the instruction EMPTY_LIST"),
        "cut": (packed("[]" * 900)[:-8], "private_test_cases: it is cut off"),
        "noise": ("no base64!", "private_test_cases: it is no base64 of zlib"),
        "text": (packed("no tests"), "private_test_cases: broken JSON"),
        "shape": (packed('[{"input": 1}]'), "private_test_cases must be a list of tests with input, output"),
    }
    records = [RECORD | {"question_id": name, "private_test_cases": tests} for name, (tests, _) in broken.items()]
    loaded = load_problems(f"livecodebench:{lines(tmp_path, RECORD, *records)}")
    assert [problem.id for problem in loaded] == ["abc1_a"] and not (tmp_path / "made").exists()
    for skipped, (name, (_, reason)) in zip(loaded.skipped, broken.items(), strict=True):
        assert skipped.id == name and skipped.reason.startswith(reason), skipped


def test_other_broken_records(tmp_path: Path) -> None:
    mixed = json.dumps([stdin_test("1", "1"), {"input": "1", "output": "1", "testtype": "functional"}])
    broken = [
        ({"contest_date": "soon"}, "contest_date is no date"),
        ({"public_test_cases": mixed}, "testtype must be stdin or functional, and one of them"),
        ({"metadata": "{}"}, "functional tests need metadata with func_name"),
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "there are no tests"),
        (
            {"private_test_cases": json.dumps([{"input": "x", "output": "1", "testtype": "functional"}])},
            "an input: broken",
        ),
        ({"question_content": " "}, "its question is empty"),
    ]
    loaded = load_problems(f"livecodebench:{lines(tmp_path, RECORD, *(FUNCTIONAL | fields for fields, _ in broken))}")
    assert len(loaded) == 1 and len(loaded.skipped) == len(broken)
    for skipped, (_, reason) in zip(loaded.skipped, broken, strict=True):
        assert skipped.reason.startswith(reason), skipped


def test_releases_are_files_of_a_folder_and_a_window_has_both_ends(tmp_path: Path) -> None:
    for number in range(1, 7):
        day = f"2024-0{number}-15T00:00:00"
        lines(
            tmp_path,
            RECORD | {"question_id": f"q{number}", "contest_date": day},
            name=f"test{number if number > 1 else ''}.jsonl",
        )

    def ids(options: str) -> list[str]:
        return [problem.id for problem in load_problems(f"livecodebench:{tmp_path}{options}")]

    assert ids("") == ids(",version=release_latest") == [f"q{number}" for number in range(1, 7)]
    assert ids(",version=release_v2") == ids(",version=v1_v2") == ["q1", "q2"] and ids(",version=v5") == ["q5"]
    assert ids(",start_date=2024-02-15,end_date=2024-04-15") == ["q2", "q3", "q4"]
    assert ids(",version=release_v3,start_date=2024-02-16,platform=atcoder,difficulty=easy") == ["q3"]
    for options, sentence in {
        "version=release_v9": "version 'release_v9' is unknown; did you mean 'release_v",
        "version=v3_v1": "version 'v3_v1' is unknown",
        "start_date=May": "start_date must be a date such as",
        "platform=leetcod": "did you mean 'leetcode'",
    }.items():
        with pytest.raises(UserError, match=sentence):
            load_problems(f"livecodebench:{tmp_path},{options}")
    with pytest.raises(UserError, match="version chooses among the files of a folder"):
        load_problems(f"livecodebench:{tmp_path / 'test.jsonl'},version=release_v1")
