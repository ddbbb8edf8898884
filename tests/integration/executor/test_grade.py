"""The command `grade`: its files, exit codes and sentences."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rltf.problems import load_problems
from tests.support.checked_problems import ADD, BURN, PROGRAM, every_kind, rows, run

PROGRAMS = [
    PROGRAM,
    "not json",
    json.dumps({"problem_id": "fine", "code": "print(3)\n"}),
    json.dumps({"problem_id": "nobody", "code": ""}),
    json.dumps({"problem_id": "wrong", "code": "\n1 / 0\n"}),
    json.dumps({"problem_id": "check", "code": "def f(x) return"}),
    json.dumps({"problem_id": "fine"}),
    json.dumps(["fine", ADD]),
    json.dumps({"problem_id": "fine", "code": ADD, "more": 1}),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return every_kind(tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_grade(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], zipped: bool) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "verdicts.jsonl"
    text = "".join(line + "\n" for line in PROGRAMS).encode()
    programs.write_bytes(gzip.compress(text) if zipped else text)
    assert run("grade", "--problems", f"jsonl:{data}", "--programs", programs, "--out", out, "--executor.lanes", 2) == 1
    got = rows(out)
    keys = [
        "problem_id",
        "outcome",
        "error_type",
        "line",
        "message",
        "passed",
        "total",
        "tests",
        "cpu_s",
        "wall_s",
        "memory_mb",
    ]
    assert [row["outcome"] is None for row in got] == [False, True, False, True, False, False, True, True, False]
    assert [(row["problem_id"], row["reason"]) for row in got if row["outcome"] is None] == [
        (None, "broken JSON: Expecting value: line 1 column 1 (char 0)"),
        ("nobody", f"no usable problem 'nobody' in jsonl:{data}"),
        ("fine", 'it needs "problem_id" and "code"'),
        (None, "not a JSON object"),
    ]
    got = [row for row in got if row["outcome"] is not None]
    assert all(list(row) == keys for row in got[:-1]) and got[-1]["more"] == 1
    assert [[row[key] for key in keys[:4] + keys[5:7]] for row in got] == [
        ["fine", "pass", None, None, 2, 2],
        ["fine", "failure", None, None, 1, 2],
        ["wrong", "runtime_error", "ZeroDivisionError", 2, 0, 2],
        ["check", "compile_error", "SyntaxError", 1, 0, 1],
        ["fine", "pass", None, None, 2, 2],
    ]
    assert [test["outcome"] for test in got[1]["tests"]] == ["pass", "failure"] and set(got[0]["tests"][0]) == {
        "outcome",
        "cpu_s",
    }
    printed = capsys.readouterr().err
    for sentence in (
        "line 2: broken JSON",
        "line 4: no usable problem 'nobody'",
        'line 7: it needs "problem_id" and "code"',
        "line 8: not a JSON object",
    ):
        assert sentence in printed
    assert printed.rstrip().splitlines()[-1].startswith("line 8")

    programs.write_text(PROGRAM + "\n")
    assert run("grade", "--problems", f"jsonl:{data}", "--programs", programs, "--out", out) == 0
    assert [row["outcome"] for row in rows(out)] == ["pass"]


def test_grade_honours_what_was_checked(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked, programs, out = tmp_path / "checked.jsonl", tmp_path / "programs.jsonl", tmp_path / "verdicts.jsonl"
    suites = {problem.id: problem.suite for problem in load_problems(f"jsonl:{data}")}
    entries = [("fine", "ok", 0.1), ("wrong", "quarantined", None)]
    lines = [
        {
            "problem_id": name,
            "problem_hash": suites[name].content_hash,
            "status": status,
            "reasons": ["r"],
            "cpu_limit_s": limit,
        }
        for name, status, limit in entries
    ]
    checked.write_text("".join(json.dumps(line) + "\n" for line in lines))
    slow = {"problem_id": "fine", "code": BURN.format(0.4)}
    programs.write_text(json.dumps(slow) + "\n" + PROGRAMS[4] + "\n")
    command = ("grade", "--problems", f"jsonl:{data}", "--programs", programs, "--out", out)
    assert run(*command) == 0
    assert [row["error_type"] for row in rows(out)] == [None, "ZeroDivisionError"]
    assert run(*command, "--problems.checked", checked) == 0
    assert [row.get("error_type") for row in rows(out)] == ["TimeLimit", None]
    assert rows(out)[1] == {"problem_id": "wrong", "outcome": None, "reason": "quarantined: r"}
    assert "left out: 1 program of 1 quarantined problem" in capsys.readouterr().err
    assert run(*command, "--problems.checked", checked, "--strict") == 1


def test_samples_of_a_harness_and_their_pass_at_k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {
        "task_id": "HumanEval/0",
        "prompt": "from typing import List\n\n\ndef twice(xs: List[int]) -> List[int]:\n    '''Double.'''\n",
        "entry_point": "twice",
        "canonical_solution": "    return [2 * x for x in xs]\n",
        "test": "def check(candidate):\n    assert candidate([1]) == [2]\n\n\ncheck(twice)\n",
    }
    problems, programs, out, summary = (tmp_path / name for name in ("p", "s", "o", "summary.json"))
    problems.write_text(json.dumps(record) + "\n")
    samples: list[dict[str, Any]] = [
        {"task_id": "HumanEval/0", "completion": record["canonical_solution"], "seed": 1},
        {"task_id": "HumanEval/0", "completion": "    return xs\n"},
        {"task_id": "HumanEval/0", "solution": "def twice(xs: List[int]):\n    return xs + xs\n"},
        {"task_id": "humaneval/1", "solution": ""},
    ]
    programs.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    command = ("grade", "--problems", f"humaneval:{problems}", "--programs", programs, "--out", out)
    assert run(*command, "--summary", summary) == 1
    assert [(row["task_id"], row["outcome"]) for row in rows(out)] == [
        ("HumanEval/0", "pass"),
        ("HumanEval/0", "failure"),
        ("HumanEval/0", "failure"),
        ("humaneval/1", None),
    ]
    assert rows(out)[0]["seed"] == 1
    third = pytest.approx(1 / 3)
    figures = json.loads(summary.read_text())
    assert figures["pass_at_k"] == [{"k": 1, "value": third, "low": third, "high": third, "problems": 1}]
    assert (figures["outcomes"], figures["without_verdict"]) == ({"pass": 1, "failure": 2}, 1)
    assert "pass@1 0.333, 95% interval 0.333 to 0.333, over 1 problem" in capsys.readouterr().out


def test_records_without_a_question_are_graded(tmp_path: Path) -> None:
    problems, programs, out = (tmp_path / name for name in ("problems", "programs", "out"))
    problems.write_text('{"id": "a", "inputs": ["1"], "outputs": ["1"]}\n')
    programs.write_text(json.dumps({"problem_id": "a", "code": "print(input())"}) + "\n")
    assert run("grade", "--problems", f"jsonl:{problems}", "--programs", programs, "--out", out) == 0
    assert rows(out)[0]["outcome"] == "pass"


def test_no_program_is_no_success(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "verdicts.jsonl"
    for nothing in ("", "\n\n", "[]"):
        programs.write_text(nothing)
        assert run("grade", "--problems", f"jsonl:{data}", "--programs", programs, "--out", out) == 1
        assert capsys.readouterr().err.endswith(f"{programs}: no program was judged, the file holds none\n")


def test_what_is_printed_is_plain_when_not_a_terminal(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs.jsonl"
    programs.write_text((PROGRAM + "\n") * 3)
    assert run("grade", "--problems", f"jsonl:{data}", "--programs", programs, "--out", tmp_path / "o") == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "3 programs judged" in printed and "2 of them duplicates" in printed
    assert not Console().is_terminal
