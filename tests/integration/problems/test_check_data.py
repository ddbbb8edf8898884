"""`check-data` on records that cannot be used and fields that nobody reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rltf import launch
from rltf.problems import load_problems
from rltf.problems.quarantine import read_checked
from tests.support.problem_files import GOOD, write

ECHO = {"question": "Echo.", "inputs": ["1\n", "2\n"], "outputs": ["1\n", "2\n"]}


def run(*arguments: object) -> int:
    """`check-data`, with as few lanes as it can do with."""
    return launch.main(["check-data", *map(str, arguments), "--executor.lanes", "1"])


def test_check_data_tells_what_could_not_be_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solved = {"id": "a", **ECHO, "solutions": ["print(input())"]}
    broken = [{"id": f"b{number}", **ECHO, "question": ""} for number in range(12)]
    spec, out = (
        write(tmp_path, solved, b"{broken", *broken, {"id": "c", **ECHO, "solution": "x"}, solved),
        tmp_path / "out.jsonl",
    )
    assert run(spec, "--out", out) == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["problem_id"], row["status"]) for row in rows[:3]] == [
        ("a", "ok"),
        ("c", "warned"),
        ("line 2", "skipped"),
    ]
    assert rows[1]["reasons"][0] == "the field solution is not read: did you mean solutions?"
    assert rows[2]["reasons"][0].startswith("broken JSON") and rows[3]["reasons"] == ["line 3: its question is empty"]
    assert rows[-1]["reasons"] == ["line 16: the id occurs twice, the one of line 1 is used"] and len(rows) == 16
    told = capsys.readouterr()
    printed = told.out + told.err
    for words in (
        "could not be loaded", "line 2: broken JSON", "line 3, b0: its question is empty", "line 14, b11: its question is empty",
        "the field solution of 1 record (line 15) is not read: did you mean solutions?",
    ):  # fmt: skip
        assert words in printed
    assert sorted(read_checked(out)) == ["a", "c"]
    kept = load_problems(spec, checked=str(out))
    assert [problem.id for problem in kept] == ["a", "c"], "the skipped record of an id says nothing of the usable one"


def test_check_data_of_nothing_usable_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, out = write(tmp_path, {"id": "a", **GOOD, "question": ""}), tmp_path / "out.jsonl"
    assert run(spec, "--out", out) == 1
    assert json.loads(out.read_text())["reasons"] == ["line 1: its question is empty"]
    assert "line 1, a: its question is empty" in capsys.readouterr().out
    assert run(write(tmp_path), "--out", out) == 2


def test_a_check_that_was_broken_off_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"id": name, **ECHO, "solutions": ["print(input())"]} for name in "abc"]
    out, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    assert run(write(tmp_path, *records), "--out", out) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    marked = [json.dumps(row | {"reasons": ["found before"]}) for row in rows]
    partial.write_text("\n".join([*marked[:2], marked[2][:40]]))
    capsys.readouterr()
    changed = records[0] | {"solutions": ["print(input())  # other"]}
    assert run(write(tmp_path, changed, *records[1:]), "--out", out) == 0
    assert "1 problem checked by an earlier run" in capsys.readouterr().out and not partial.exists()
    again = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["problem_id"] for row in again] == ["a", "b", "c"]
    assert [row["reasons"] == ["found before"] for row in again] == [False, True, False]


def test_packages_that_are_missing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = ["import os.path, no_such_package.sub\n", "print(input())"]
    spec = write(tmp_path, {"id": "a", **ECHO, "solutions": programs})
    assert run(spec, "--out", tmp_path / "out.jsonl") == 0
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["packages"] == ["no_such_package"]
    assert "1 problem needs the package no_such_package" in capsys.readouterr().err


def test_strict_is_strict(tmp_path: Path) -> None:
    good = {
        "id": "a",
        **GOOD,
        "inputs": ["1\n", "2\n"],
        "outputs": ["1\n", "2\n"],
        "solutions": ["print(input())"],
        "url": "x",
    }
    out = ("--out", tmp_path / "out.jsonl")
    spec = write(tmp_path, good)
    assert (run(spec, *out), run(spec, *out, "--strict")) == (0, 0)
    spec = write(tmp_path, good | {"timeout": 3})
    assert (run(spec, *out), run(spec, *out, "--strict")) == (0, 1)
    spec = write(tmp_path, good, good | {"id": "b", "solutions": ["print(3)"]})
    assert (run(spec, *out), run(spec, *out, "--strict")) == (0, 1)
    assert run(write(tmp_path, good | {"solutions": ["print(3)"]}), *out) == 1, "no problem is fit"


def test_a_misnamed_file_is_in_the_problems_own_line_too(tmp_path: Path) -> None:
    folder = tmp_path / "apps" / "train" / "0001"
    folder.mkdir(parents=True)
    (folder / "question.txt").write_text("Echo.")
    (folder / "input_output.json").write_text(json.dumps({"inputs": ["1"], "outputs": ["1"]}))
    (folder / "solution.json").write_text('["print(input())"]')
    assert run(f"apps:{tmp_path / 'apps'}", "--out", tmp_path / "out.jsonl") == 1
    assert "solution.json is not read" in (tmp_path / "out.jsonl").read_text()
