"""The command `check-data` and what a checked set is worth to training; and what both commands of the judge have in
common.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rltf.config import UserError
from rltf.driver.commands.train import parse
from rltf.problems import load_problems
from rltf.problems.files import atomic_output
from rltf.problems.quarantine import read_checked
from tests.support.checked_problems import PROGRAM, RECORDS, every_kind, rows, run
from tests.support.paths import ROOT


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return every_kind(tmp_path)


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
    programs.write_text(PROGRAM + "\n")
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
    programs.write_text(PROGRAM + "\n")
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
    programs.write_text(PROGRAM + "\n")
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
