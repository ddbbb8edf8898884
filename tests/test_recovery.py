"""Parts of a whole run are killed: each comes back, nothing is lost or trained on twice. `benchmarks.kill_matrix` does more of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import launch
from benchmarks.kill_matrix import Found, Run, kill, verify
from config import UserError
from monitor.run_folder import RunFolder


def test_every_part_may_die(tmp_path: Path) -> None:
    run = Run(tmp_path, checkpoint__every=2, executor__count=1, policy__layers=1, warm_start__steps=4)
    try:
        run.until(lambda: len(run.rows()) >= 3, "first steps", 180)
        for part in ("executor", "actor", "redis", "learner", "driver"):
            kill(run, part)
        with pytest.raises(UserError, match="is still going on: stop it first"), RunFolder.open(run.folder).locked():
            pass
    finally:
        run.end()
    assert run.process.returncode == 1
    assert run.survivors == []
    assert "stopped by the user" in run.terminal.read_text().splitlines()[-1]
    found = Found("all", "everysec")
    verify(run, found)
    assert (found.imbalances, found.lost, found.twice) == ([], 0, 0) and found.programs > 0
    folder = RunFolder.open(run.folder)
    restarted = folder.events()
    assert [row["event"] for row in restarted] == ["started", *["restarted"] * 4, "resumed"]
    assert [row["part"] for row in restarted if "part" in row] == ["executor-0", "actor-0", "redis", "learner"]
    learner, resumed = restarted[4], restarted[5]
    assert learner["step"] > 0 and resumed["step"] >= learner["step"] and resumed["attempt"] == 2
    assert [row["step"] for row in folder.steps()] == list(range(1, len(folder.steps()) + 1))
    assert folder.result()["attempts"] == 2 and folder.result()["restarts"] == {"executor-0": 1, "actor-0": 1, "redis": 1, "learner": 1}
    assert (folder.path / "logs" / "attempt_2" / "learner-0.log").is_file() and (folder.path / "report.md").is_file()


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    for arguments, sentence in (
        (["--resume", str(tmp_path / "none")], "there is no run folder of this name"),
        (["--resume", str(_folder(tmp_path)), "--policy.layers", "2"], "--policy.layers cannot be changed when a run goes on"),
        (["--resume", str(_folder(tmp_path)), "--config", "a.yaml"], "leave --config out"),
        (["--resume", str(_folder(tmp_path, "redis://:secret@host:1/0"))], "passwords are not kept: give --redis.url"),
    ):
        with pytest.raises(UserError, match=sentence):
            launch.parse(arguments)
    wanted = launch.parse(["--resume", str(_folder(tmp_path)), "--learner.steps", "77"])
    assert wanted.config.learner.steps == 77 and wanted.resume == _folder(tmp_path)


def _folder(parent: Path, url: str = "") -> Path:
    path = parent / ("with-url" if url else "run")
    if not path.exists():
        arguments = ["--run.folder", str(parent), "--run.name", path.name, "--redis.url", url]
        RunFolder.create(launch.parse(arguments).config)
    return path
