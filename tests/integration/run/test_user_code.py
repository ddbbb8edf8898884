"""A run with a reward, a prompt style and a checker of the user's: what ran is kept, and is what goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rltf import launch
from rltf.config.user_code import NO_CODE, UserCode
from rltf.monitor.run_folder import RunFolder
from tests.support.run_parts import Launched

MINE = """
from rltf.problems import Prompt

def tokens(sample, group):
    return len(sample.program.token_ids) / 100 + len(group.samples)

def shout(problem):
    return Prompt("", problem.question.upper(), "\\n")

def any_output(expected, actual):
    return True
"""


def test_a_run_with_files_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = tmp_path / "mycode"
    code.mkdir()
    (code / "mine.py").write_text(MINE)
    data = tmp_path / "data.jsonl"
    solution = "def add(a, b):\n    return a + b\n"
    problem = {"question": "add.", "fn_name": "add", "inputs": [[1, 2]], "outputs": [0], "solutions": [solution]}
    data.write_text("".join(json.dumps(problem | {"id": str(number)}) + "\n" for number in range(8)))
    spec = f"jsonl:{data},checker=mine:any_output"
    named = {
        "problems__train": spec,
        "problems__held_out": "none",
        "problems__prompt_style": "mine:shout",
        "learner__objective": "grpo",
        "grpo__reward": "mine:tokens",
    }
    settings = {"learner__steps": 2, "learner__supervised_ratio": 0, "actors__greedy": False, "warm_start__steps": 40}
    run = Launched(tmp_path, run__code=code, **named, **settings)
    assert run.wait() == 0, run.terminal
    assert run.gone(), run.survivors()
    shutil.rmtree(code)  # from here on there is only what the run keeps
    folder = RunFolder.open(run.folder)
    assert (run.folder / "code" / "mine.py").read_text() == MINE
    assert [row["code"] for row in folder.events()] == [UserCode.read(run.folder / "code").hash]
    samples = {kept.id: kept.sample for kept in folder.samples() if kept.sample is not None}
    for row in folder.steps():
        trained = [samples[name] for name in row["sample_ids"]]
        assert row["rewards"] == [len(sample.program.token_ids) / 100 + 3 for sample in trained]
    verdicts = {sample.feedback.outcome for sample in samples.values()}
    assert verdicts & {"pass", "runtime_error", "compile_error"} and "failure" not in verdicts
    try:
        assert launch.main(["replay", str(run.folder)]) == 0
        assert launch.main(["replay", str(run.folder), "--step", "2"]) == 0
        capsys.readouterr()
        assert launch.main(["--resume", str(run.folder), "--run.code", str(tmp_path)]) == 2
        assert "--run.code cannot be changed when a run goes on" in capsys.readouterr().err
        (run.folder / "code" / "mine.py").write_text(MINE.replace("100", "50"))
        assert launch.main(["--resume", str(run.folder)]) == 2
        assert "other code of yours (run.code), so their files have changed since" in " ".join(
            capsys.readouterr().err.split()
        )
    finally:
        NO_CODE.install()
