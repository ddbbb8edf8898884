"""The commands `grade` and `check-data`: their files, exit codes and sentences; and what a checked set is worth to
training.
"""

from __future__ import annotations

import functools
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rltf import launch
from rltf.config import UserError
from rltf.driver.commands.train import parse
from rltf.problems import load_problems
from rltf.problems.files import atomic_output
from rltf.problems.quarantine import read_checked
from tests.support.paths import ROOT

ADD = "print(sum(map(int, input().split())))\n"
BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint(7)\n"
CHECK = "def check(candidate):\n    assert {}\n"

RECORDS: list[dict[str, Any]] = [
    {"id": "sum", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"], "solutions": [ADD, "print(3)\n"]},
    {"id": "fine", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"], "solutions": [ADD]},
    {"id": "wrong", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "8\n"], "solutions": [ADD]},
    {"id": "constant", "inputs": ["1", "2"], "outputs": ["odd one", "odd one"], "solutions": ["print('odd one')\n"]},
    {"id": "vacuous", "tests": ["pass", "True"], "solutions": ["x = 1\n"]},
    {
        "id": "weak",
        "tests": CHECK.format("isinstance(candidate(1), int)"),
        "entry_point": "f",
        "solutions": ["f = abs\n"],
    },
    {
        "id": "flaky",
        "fn_name": "f",
        "inputs": [[1]],
        "outputs": [0],
        "solutions": ["def f(x): return hash('a') % 2**60 - %d\n"],
    },
    {"id": "slow", "inputs": ["1"], "outputs": ["7"], "time_limit_s": 0.2, "solutions": [BURN.format(0.5)]},
    {"id": "tight", "inputs": ["1"], "outputs": ["7"], "time_limit_s": 0.5, "solutions": [BURN.format(0.35)]},
    {"id": "medium", "inputs": ["1"], "outputs": ["7"], "time_limit_s": 3.0, "solutions": [BURN.format(0.05)]},
    {
        "id": "check",
        "tests": CHECK.format("candidate(1) == 2"),
        "entry_point": "f",
        "solutions": ["def f(x): return x + 1\n"],
    },
    {"id": "broken", "tests": ["assert f(1) == "], "solutions": ["def f(x): return x\n"]},
    {"id": "none", "tests": ["assert f(1) == 9"]},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set with one problem of every kind."""
    hashed = hash_of_a()
    file = tmp_path / "own.jsonl"
    records = [{"question": "q", **record} for record in RECORDS]
    for record in records:
        if record["id"] == "flaky":
            record["solutions"] = [record["solutions"][0].replace("%d", str(hashed))]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@functools.cache
def hash_of_a() -> int:
    """hash('a') of the seed that programs are judged with, so that the flaky reference passes there and nowhere else."""
    command = [sys.executable, "-c", "print(hash('a') % 2**60)"]
    return int(
        subprocess.run(
            command, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True, timeout=60
        ).stdout
    )


def run(*arguments: object) -> int:
    return launch.main([str(argument) for argument in arguments])


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_check_data_finds_what_is_wrong(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "checked.jsonl"
    assert run("check-data", f"jsonl:{data}", "--out", out) == 1, "one could not be loaded"
    found = {row["problem_id"]: row for row in rows(out)}
    assert list(found) == [*(record["id"] for record in RECORDS if record["id"] != "broken"), "broken"]
    assert {tuple(row) for row in rows(out)} == {
        ("problem_id", "problem_hash", "status", "reasons", "cpu_limit_s", "executor_version", "packages", "key"),
    }
    reasons = {name: " | ".join(row["reasons"]) for name, row in found.items()}
    statuses = {name: row["status"] for name, row in found.items()}
    assert statuses == {
        **dict.fromkeys(["fine", "medium", "check"], "ok"),
        **dict.fromkeys(["sum", "tight", "none"], "warned"),
        **dict.fromkeys(["wrong", "constant", "vacuous", "weak", "flaky", "slow"], "quarantined"),
        "broken": "skipped",
    }, reasons
    for name, words in {
        "sum": "1 of 2 references fail: #2 failure in test 2",
        "wrong": "no reference passes (1 tried): #1 failure in test 2",
        "constant": "a program that always prints 'odd one' passes",
        "vacuous": "a function that does nothing and",
        "weak": "a function that always returns 0",
        "flaky": "flaky: 1 of 1 references not the same twice: #1 pass, then failure in test 1",
        "slow": "too slow: no reference ends within 0.2 s of CPU time per test, 0.5",
        "tight": "limit too tight: the slowest reference needs 0.35 of 0.5 s",
        "broken": "number 1 of its tests does not compile",
        "none": "it has no reference solution",
    }.items():
        assert words in reasons[name], reasons[name]
    limits = {name: row["cpu_limit_s"] for name, row in found.items()}
    assert limits["fine"] == 0.1 and limits["tight"] == 0.5 and 0.5 <= limits["medium"] <= 1.0
    assert [limits[name] for name in ("wrong", "slow", "broken", "none")] == [None] * 4
    assert "quarantined" in capsys.readouterr().out

    kept = load_problems(f"jsonl:{data}", checked=str(out))
    assert [problem.id for problem in kept] == ["sum", "fine", "tight", "medium", "check", "none"]
    assert kept.by_id["fine"].suite.time_limit_s == 0.1 and kept.by_id["none"].suite.time_limit_s is None
    assert {skipped.id for skipped in kept.skipped} == {
        "wrong",
        "constant",
        "vacuous",
        "weak",
        "flaky",
        "slow",
        "broken",
    }


PROGRAMS = [
    json.dumps({"problem_id": "fine", "code": ADD}),
    "not json",
    json.dumps({"problem_id": "fine", "code": "print(3)\n"}),
    json.dumps({"problem_id": "nobody", "code": ""}),
    json.dumps({"problem_id": "wrong", "code": "\n1 / 0\n"}),
    json.dumps({"problem_id": "check", "code": "def f(x) return"}),
    json.dumps({"problem_id": "fine"}),
    json.dumps(["fine", ADD]),
    json.dumps({"problem_id": "fine", "code": ADD, "more": 1}),
]


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

    programs.write_text(PROGRAMS[0] + "\n")
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


def test_training_honours_what_was_checked(data: Path, tmp_path: Path) -> None:
    from rltf.driver.inputs import Inputs

    checked = tmp_path / "checked.jsonl"
    suites = {problem.id: problem.suite for problem in load_problems(f"jsonl:{data}")}
    entries = {
        name: {"problem_id": name, "problem_hash": suite.content_hash, "reasons": []} for name, suite in suites.items()
    }
    rows = [
        entry | {"status": "ok" if name in ("fine", "sum") else "quarantined", "cpu_limit_s": 0.25}
        for name, entry in entries.items()
    ]
    checked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--problems.train", f"jsonl:{data}", "--problems.held_out", "", "--problems.checked", str(checked)]
    problems = Inputs.from_config(
        parse([*arguments, "--warm_start.steps", "0", "--policy.vocab_size", "300"]).config
    ).problems
    assert [(problem.id, problem.suite.time_limit_s) for problem in problems] == [("sum", 0.25), ("fine", 0.25)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{}", "line 1: the field problem_id is missing"),
        ("x", "line 1: broken JSON"),
        ('{"problem_id": "fine", "problem_hash": "x", "status": "good", "reasons": []}', "unknown status 'good'"),
        (
            '{"problem_id": "fine", "problem_hash": "x", "status": "ok", "reasons": [], "cpu_limit_s": -1}',
            "cpu_limit_s must be",
        ),
        (
            '{"problem_id": "fine", "problem_hash": "x", "status": "ok", "reasons": []}',
            "fine has other tests or limits now",
        ),
        ('{"problem_id": "other", "problem_hash": "x", "status": "ok", "reasons": []}', "names none of the problems"),
    ],
)
def test_a_checked_file_that_does_not_fit_is_refused(data: Path, tmp_path: Path, lines: str, message: str) -> None:
    checked = tmp_path / "checked.jsonl"
    checked.write_text(lines + "\n")
    with pytest.raises(UserError, match=message):
        load_problems(f"jsonl:{data}", checked=str(checked))
    checked.write_text("\n")
    assert read_checked(checked) == {}


def test_a_command_that_does_not_end_well_leaves_the_file_of_the_one_before(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "out.jsonl"
    programs.write_text(PROGRAMS[0] + "\n")
    before = {file: file.read_text() for file in (data, programs)}
    out.write_text("kept\n")
    grade = ["grade", "--problems", f"jsonl:{data}", "--programs"]
    check = ["check-data", f"jsonl:{data}"]
    for command in ([*grade, programs, "--out", programs], [*grade, programs, "--out", data], [*check, "--out", data]):
        assert run(*command) == 2
        assert "is read by this command: write to another file" in capsys.readouterr().err
    assert {file: file.read_text() for file in before} == before
    assert run(*grade, tmp_path / "absent", "--out", out) == 2

    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("rltf.executor.check_data.check_data", interrupted)
    assert run(*check, "--out", out) == 1
    assert out.read_text() == "kept\n" and not list(tmp_path.glob("*.partial"))


def test_what_is_no_plain_file_is_written_into(tmp_path: Path) -> None:
    with atomic_output(Path("/dev/null")) as file:
        file.write("gone")
    assert Path("/dev/null").is_char_device()
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    with atomic_output(link) as file:
        file.write("text")
    assert link.is_symlink() and target.read_text() == "text"
    with pytest.raises(KeyError), atomic_output(link) as file:
        file.write("more")
        raise KeyError
    assert target.read_text() == "text" and (tmp_path / "target.partial").read_text() == "more"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grade"], "the following arguments are required: --problems, --programs, --out"),
        (
            ["grade", "--problems", "starter", "--programs", "absent.jsonl", "--out", "{tmp}/o"],
            "absent.jsonl does not exist",
        ),
        (["grade", "--problems", "starter", "--programs", "{data}", "--out", "{tmp}/no/o"], "cannot be written"),
        (["grade", "--problems", "startr", "--programs", "{data}", "--out", "{tmp}/o"], "did you mean 'starter'"),
        ([*"grade --problems starter --programs x --out y --executor.lane 2".split()], "did you mean executor.lanes"),
        (["check-data"], "the following arguments are required: SPEC"),
        (["check-data", "jsonl:absent.jsonl"], "absent.jsonl does not exist"),
        (["check-data", "jsonl:{data}", "--out", "{tmp}/no/o"], "cannot be written"),
        (["check-dat", "starter"], "did you mean check-data"),
    ],
)
def test_wrong_command_lines(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*[argument.format(data=data, tmp=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr().err
    assert message in " ".join(printed.split()) and len(printed.splitlines()) == 1


def test_a_machine_without_a_sandbox_fails_with_a_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs.jsonl"
    programs.write_text(PROGRAMS[0] + "\n")
    command = [
        "grade",
        "--problems",
        f"jsonl:{data}",
        "--programs",
        programs,
        "--out",
        tmp_path / "o",
        "--executor.python",
        "/bin/false",
    ]
    assert run(*command) == 1
    assert capsys.readouterr().err.startswith("grade failed: the zygote did not start")


def test_the_commands_need_neither_ray_nor_redis_nor_torch(data: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs.jsonl"
    programs.write_text(PROGRAMS[0] + "\n")
    code = (
        "import sys\nfor name in ('torch', 'ray', 'redis', 'transformers', 'datasets', 'deepspeed'): sys.modules[name] = None\n"
        "import launch\n"
        f"assert launch.main('grade --problems jsonl:{data} --programs {programs} --out {tmp_path}/o'.split()) == 0\n"
        f"assert launch.main('check-data jsonl:{data} --out {tmp_path}/c'.split()) == 0\n"
    )
    data.write_text(data.read_text().splitlines()[1] + "\n")  # one problem is enough
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(tmp_path / "o")[0]["outcome"] == "pass" and rows(tmp_path / "c")[0]["status"] == "ok"


def test_what_is_printed_is_plain_when_not_a_terminal(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs.jsonl"
    programs.write_text((PROGRAMS[0] + "\n") * 3)
    assert run("grade", "--problems", f"jsonl:{data}", "--programs", programs, "--out", tmp_path / "o") == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "3 programs judged" in printed and "2 of them duplicates" in printed
    assert not Console().is_terminal
