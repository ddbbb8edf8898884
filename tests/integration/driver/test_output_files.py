"""What the commands write: whole files or none, one writer at a time, and a sentence for every place that cannot be
written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rltf import launch
from rltf.config import UserError
from rltf.monitor.run_folder import RunFolder
from rltf.problems.files import atomic_output
from tests.support.monitor_rows import config
from tests.support.paths import ROOT

PROGRAM = "print(sum(map(int, input().split())))\n"
PROBLEM = {"id": "sum", "question": "Add.", "inputs": ["1 2\n"], "outputs": ["3\n"], "solutions": [PROGRAM]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One problem, and beside it `programs.jsonl` with a program for it."""
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(PROBLEM) + "\n")
    (tmp_path / "programs.jsonl").write_text(json.dumps({"problem_id": "sum", "code": PROGRAM}) + "\n")
    return file


def command(name: str, data: Path, out: object) -> list[str]:
    """A command that writes `out`."""
    programs = data.with_name("programs.jsonl")
    words = {
        "grade": ["grade", "--problems", f"jsonl:{data}", "--programs", str(programs)],
        "check-data": ["check-data", f"jsonl:{data}"],
        "status": ["status", str(data.with_name("runs") / "example")],
        "doctor": ["doctor"],
    }[name]
    if name == "status" and not (data.parent / "runs").exists():
        RunFolder.create(config(data.parent)).close()
    return [*words, "--out", str(out)]


@pytest.mark.parametrize("name", ["grade", "check-data", "status", "doctor"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    name: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data.parent
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "closed").mkdir()
    places = {
        "loop": "Too many levels of symbolic links",
        "no/such": "No such file or directory",
        "closed": "Is a directory",
    }
    for place, reason in places.items():
        assert launch.main(command(name, data, folder / place)) == 2
        told = capsys.readouterr()
        assert told.err == f"error: {folder / place} cannot be written: {reason}\n" and len(told.out.splitlines()) <= 1


@pytest.mark.parametrize("name", ["grade", "check-data", "status"])
def test_a_full_disk_is_a_sentence(name: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(command(name, data, "/dev/full")) == 2
    told = capsys.readouterr()
    assert "error: /dev/full cannot be written: No space left on device" in told.out + told.err


def test_results_go_where_standard_output_goes(data: Path) -> None:
    """The file that a shell opened for it is neither replaced nor written over."""
    held = data.with_name("held")
    for redirected in (True, False):
        with held.open("w") as file:
            target = file if redirected else subprocess.PIPE
            words = [sys.executable, "launch.py", *command("check-data", data, "/dev/stdout")]
            done = subprocess.run(words, cwd=ROOT, stdout=target, stderr=subprocess.PIPE, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        lines = (held.read_text() if redirected else done.stdout).splitlines()
        assert lines[0].startswith("Reading") and lines[-1].startswith("written to /dev/stdout")
        assert [json.loads(line)["problem_id"] for line in lines if line.startswith("{")] == ["sum"]


def test_two_commands_do_not_write_one_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, link = data.with_name("out.jsonl"), data.with_name("link.jsonl")
    link.symlink_to(out)
    with atomic_output(out) as file:
        file.write("first\n")
        file.flush()
        for name in ("grade", "check-data", "status", "doctor"):
            assert launch.main(command(name, data, link)) == 2
            told = capsys.readouterr()
            assert f"error: {link} is being written by another command: wait for its end" in told.out + told.err
    assert out.read_text() == "first\n" and not list(data.parent.glob("*.partial"))
    assert launch.main(command("grade", data, link)) == 0 and json.loads(out.read_text())["outcome"] == "pass"


def test_one_of_many_writers_at_a_time_and_what_it_wrote_is_whole(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom rltf.config import UserError\nfrom rltf.problems.files import atomic_output\n"
        "text, won = sys.argv[1] * 1000 + '\\n', 0\n"
        "for _ in range(200):\n"
        "    try:\n"
        "        with atomic_output(Path(sys.argv[2])) as file: file.write(text); file.flush(); file.write(text)\n"
        "        won += 1\n"
        "    except UserError: pass\n"
        "    found = Path(sys.argv[2]).read_text().split('\\n') if Path(sys.argv[2]).exists() else ['', '', '']\n"
        "    assert len(found) == 3 and found[0] == found[1] and len(set(found[0])) <= 1, found\n"
        "print(won)\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, letter, tmp_path / "out"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for letter in "abc"
    ]
    won = [int(writer.communicate(timeout=300)[0] or -1) for writer in writers]
    assert all(writer.returncode == 0 for writer in writers) and sum(won) > 0


def test_what_a_command_reads_is_not_written_over(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data.parent
    problem = folder / "APPS" / "train" / "0001"
    problem.mkdir(parents=True)
    (problem / "question.txt").write_text("Add.")
    (problem / "input_output.json").write_text(json.dumps({"inputs": ["1\n"], "outputs": ["1\n"]}))
    (folder / "run.yaml").write_text("run: {seed: 1}\n")
    cases = [
        ["check-data", f"apps:{folder / 'APPS'}", "--out", str(problem / "question.txt")],
        ["doctor", "--config", str(folder / "run.yaml"), "--out", str(folder / "run.yaml")],
        command("status", data, folder / "runs" / "example" / "config.yaml"),
    ]
    for words in cases:
        before = Path(words[-1]).read_bytes()
        assert launch.main(words) == 2
        told = capsys.readouterr()
        assert f"{words[-1]} is read by this command: write to another file" in told.out + told.err
        assert Path(words[-1]).read_bytes() == before


def test_a_file_keeps_its_mode_and_a_read_only_one_its_text(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    out.chmod(0o640)
    with atomic_output(out) as file:
        file.write("new")
    assert (out.read_text(), out.stat().st_mode & 0o777) == ("new", 0o640)
    if os.geteuid():
        out.chmod(0o440)
        with pytest.raises(UserError, match="cannot be written: Permission denied"), atomic_output(out):
            pass
