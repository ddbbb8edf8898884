"""The commands convert and data: what they write of every source, and that it loads as the same problems."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rltf.config import UserError
from rltf.driver.commands import convert, data
from rltf.problems import load_problems
from tests.support.paths import SHARED
from tests.support.problem_files import lines
from tests.support.published_records import HUMANEVAL, LIVECODEBENCH, LIVECODEBENCH_FUNCTIONAL, MBPP_PLUS

MBPP = {
    "task_id": 11,
    "text": "Add.",
    "code": "def add(a, b):\r\n\treturn a + b",
    "test_list": ["assert add(1, 2) == 3"],
    "test_setup_code": "import math",
    "challenge_test_list": [],
}
OWN = {
    "id": "a",
    "question": "Halve.",
    "fn_name": "half",
    "inputs": [[1], [{"b": 1, "a": [None, 1e400]}]],
    "outputs": [0.5, float("nan")],
    "tolerance": 1e-3,
    "checker": "tokens",
    "time_limit_s": 2,
    "memory_limit_mb": 64,
    "difficulty": "easy",
    "example_tests": [1],
    "prompt_style": "starter",
}
RECORDS = {
    "mbpp": [MBPP],
    "mbppplus": [MBPP_PLUS],
    "humaneval": [HUMANEVAL],
    "humanevalplus": [MBPP_PLUS | {"task_id": "HumanEval/0"}],
    "livecodebench": [LIVECODEBENCH, LIVECODEBENCH_FUNCTIONAL],
    "jsonl": [OWN],
    "parquet": [OWN],
}


def run(command: Any, *arguments: object) -> str:
    shown = io.StringIO()
    assert command.run(list(map(str, arguments)), Console(file=shown, width=200)) == 0
    return shown.getvalue()


def converted(spec: str, out: Path) -> str:
    """What the command says; asserts that the file loads as the same problems."""
    said = run(convert, spec, "--out", out)
    before, after = load_problems(spec), load_problems(f"jsonl:{out}")
    assert [repr(one) for one in after] == [repr(one) for one in before], "repr: NaN is not equal to itself"
    assert [one.suite.content_hash for one in after] == [one.suite.content_hash for one in before]
    assert not after.skipped and not after.unread
    return said


@pytest.mark.parametrize("source", RECORDS)
def test_what_is_written_loads_as_the_same_problems(tmp_path: Path, source: str) -> None:
    file = lines(tmp_path, *RECORDS[source])
    assert converted(f"{source}:{file}", tmp_path / "out.jsonl").startswith(f"{len(RECORDS[source])} problem")


def test_the_starter_and_the_folders_of_apps_too(tmp_path: Path) -> None:
    converted("starter,split=heldout", tmp_path / "starter.jsonl")
    folder = tmp_path / "apps" / "train" / "0001"
    folder.mkdir(parents=True)
    (folder / "question.txt").write_text("Echo.\n\n-----Examples-----\nInput\n2\n\nOutput\n2\n")
    (folder / "input_output.json").write_text(json.dumps({"inputs": ["1\n", "2\n"], "outputs": ["1\n", "2\n"]}))
    converted(f"apps:{tmp_path / 'apps'}", tmp_path / "apps.jsonl")
    (problem,) = load_problems(f"jsonl:{tmp_path / 'apps.jsonl'}")
    assert problem.examples == (1,) and problem.prompt_style == "apps"


@pytest.mark.real_problems
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="../shared/data is absent")
@pytest.mark.parametrize(
    "name", ["mbpp:mbpp/mbpp.jsonl", "mbpp:mbpp/sanitized-mbpp.json", "jsonl:leetcode/dev.jsonl.gz"]
)
def test_the_files_at_hand_too(tmp_path: Path, name: str) -> None:
    source, _, file = name.partition(":")
    converted(f"{source}:{SHARED / 'data' / file}", tmp_path / "out.jsonl")


def test_what_could_not_be_used_is_told_and_an_input_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lines(tmp_path, MBPP, MBPP | {"task_id": 12, "test_list": []})
    said = run(convert, f"mbpp:{file}", "--out", tmp_path / "out.jsonl")
    assert said == f"1 problem written to {tmp_path / 'out.jsonl'}; 1 could not be used\n"
    assert "line 2, mbpp/12: there are no tests" in capsys.readouterr().err
    for spec in (f"mbpp:{file}", f"mbpp:{tmp_path}/rec*.jsonl"):
        with pytest.raises(UserError, match="is read by this command: write to another file"):
            run(convert, spec, "--out", file)


def test_data_prints_and_writes_what_is_in_a_set(tmp_path: Path) -> None:
    records = [
        MBPP,
        MBPP | {"task_id": 12, "difficulty": "x"},
        MBPP | {"task_id": 13, "text": "Subtract."},
        {"task_id": 14},
    ]
    said = run(
        data, f"mbpp:{lines(tmp_path, *records)}", "--out", tmp_path / "figures.json", "--problems.shown_tests", 0
    )
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["problems"], figures["left_out"], figures["duplicates"]) == (3, 1, 1)
    assert figures["kinds"] == {"assert": 3} and figures["tests"]["sum"] == 3 and figures["with_examples"] == 0
    assert figures["prompt_characters"]["max"] == len("Subtract.\n") and "prompt_tokens" not in figures
    assert "left out: line 4, mbpp/14: it has no text" in said and "fields that are not read: difficulty" in said
