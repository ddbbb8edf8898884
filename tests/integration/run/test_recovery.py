"""Parts of a whole run are killed: each comes back, nothing is lost or trained on twice.

`benchmarks.kill_matrix` does more of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
from safetensors.torch import load_file

from benchmarks.killed_run import Found, Run, kill, verify
from rltf import launch
from rltf.buffer.server import EmbeddedRedis
from rltf.config import NO_CODE, UserError
from rltf.driver.commands.train import parse
from rltf.driver.stopping import SENTENCE
from rltf.learner.checkpoints import Checkpoints
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked
from tests.support.run_parts import Launched


def steps_go_on_while_the_driver_is_stopped(run: Run) -> None:
    """Seen in the checkpoints, which the learner writes."""

    def newest() -> int:
        whole = (
            path.parent.name.removeprefix("step_") for path in (run.folder / "checkpoints").glob("step_*/COMPLETE")
        )
        return max(
            int(step) for step in whole if step.isdigit()
        )  # COMPLETE is there just before the folder gets its name

    os.kill(run.driver, signal.SIGSTOP)
    try:
        stopped_at, step = time.time(), newest()
        run.until(lambda: newest() > step + 8, "steps without the driver")  # the buffer holds samples for fewer
        continued_at = time.time()
    finally:
        os.kill(run.driver, signal.SIGCONT)
    run.until(lambda: run.steps_since(continued_at), "step with the driver")
    meanwhile = [row for row in run.rows() if stopped_at < row["time"] < continued_at]
    assert len(meanwhile) >= 8 and sum(row["samples"] for row in meanwhile) > 0, "no sample was trained on"


CALM_ENGINE = """
import time
from rltf.actors.sampling_engine import SamplingEngine

class Calm(SamplingEngine):
    def step(self):
        time.sleep(0.3 if self.unfinished() else 0)
        return super().step()
"""
"""Samples a few batches a second: what starts again has the machine to itself."""


@pytest.fixture
def calm(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Settings of a run that leaves most of the machine's time to others."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "calm.py").write_text(CALM_ENGINE)
    yield {"run__code": code, "actors__engine": "calm:Calm", "policy__layers": 1, "policy__max_program_tokens": 24}
    NO_CODE.install()


def stop_slowly(run: Run) -> None:
    """Takes longer than the three seconds that Ray's own handler would give it."""
    (server,) = run.victims("redis")
    os.kill(server, signal.SIGSTOP)
    run.process.send_signal(signal.SIGTERM)
    time.sleep(4.5)
    os.kill(server, signal.SIGCONT)
    assert run.process.wait(180) == 1


def test_every_part_may_die_and_a_slow_stop_leaves_everything(
    tmp_path: Path, calm: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, checkpoint__every=2, executor__count=1, warm_start__steps=4, **calm)
    monkeypatch.setattr(run, "resume", partial(run.resume, "--learner.final_learning_rate", "0.5"))
    try:
        run.until(lambda: len(run.rows()) >= 3, "first steps")
        steps_go_on_while_the_driver_is_stopped(run)
        for part in ("executor", "actor", "redis", "learner", "driver"):
            if (
                part == "actor"
            ):  # at the same moment, so that the new actor has its weights from the store's second life alone
                (store,) = [pid for pid, command in run.processes().items() if command.startswith("ray::WeightStore")]
                os.kill(store, signal.SIGKILL)
            kill(run, part)
        with pytest.raises(UserError, match="is still going on: stop it first"), locked(run.folder):
            pass
        stopped_at = time.time()
        stop_slowly(run)
    finally:
        run.end()
    assert run.survivors == []
    assert SENTENCE in run.printed.splitlines()[-1] and "Traceback" not in run.printed
    assert all((run.folder / name).stat().st_mtime > stopped_at for name in ("result.json", "report.md"))
    found = Found("all", "everysec")
    verify(run, found)
    assert (found.imbalances, found.lost, found.twice) == ([], 0, 0) and found.programs > 0
    folder = RunFolder.open(run.folder)
    restarted = [row for row in folder.events() if row["event"] != "died"]
    died = [row["part"] for row in folder.events() if row["event"] == "died"]
    assert died == ["executor-0", "actor-0", "learner"], (
        "told when it happens; Redis is back before anyone could read it"
    )
    assert [row["event"] for row in restarted] == ["started", *["restarted"] * 4, "resumed"]
    assert [row["part"] for row in restarted if "part" in row] == ["executor-0", "actor-0", "redis", "learner"]
    learner, resumed = restarted[4], restarted[5]
    assert learner["step"] > 0 and resumed["step"] >= learner["step"] and resumed["attempt"] == 2
    steps = [row["step"] for row in folder.steps()]
    assert steps == list(range(1, len(steps) + 1))
    assert Checkpoints.of_run(folder.path).steps()[-1] == steps[-1], "the step that was taken last is kept"
    assert folder.config()["learner"]["final_learning_rate"] == 0.5, "what the second attempt was given"
    assert (folder.result()["finished"], folder.result()["steps"]) == (False, steps[-1])
    assert folder.result()["attempts"] == 2 and folder.result()["restarts"] == {
        "executor-0": 1,
        "actor-0": 1,
        "redis": 1,
        "learner": 1,
    }
    assert (folder.path / "logs" / "attempt_2" / "learner-0.log").is_file() and (folder.path / "report.md").is_file()
    # The record is whole: verdicts, and a step after everything that happened, are found again.
    assert launch.main(["replay", str(folder.path)]) == 0
    step = folder.newest_step()["step"]  # a later one may be of a life that was lost
    assert launch.main(["replay", str(folder.path), "--step", str(step)]) == 0


@pytest.mark.skipif(not os.environ.get("RLTF_LONG_TESTS"), reason="a minute or two: RLTF_LONG_TESTS=1 runs it")
def test_parts_may_die_where_two_ranks_share_the_model(tmp_path: Path) -> None:
    settings = {"learner__workers": 2, "learner__zero_stage": 3, "actors__count": 2}
    run = Run(tmp_path, checkpoint__every=2, executor__count=1, policy__layers=1, warm_start__steps=4, **settings)
    try:
        run.until(lambda: len(run.rows()) >= 3, "first steps")
        for part in ("actor", "learner", "actor", "store"):
            time.sleep(4)
            kill(run, part)
    finally:
        run.end()
    found = Found("all", "everysec")
    verify(run, found)
    assert (found.imbalances, found.lost, found.twice) == ([], 0, 0) and found.programs > 0
    counts: Counter[str] = Counter()
    for row in RunFolder.open(run.folder).telemetry():
        if row["kind"] == "count" and row["role"].startswith("actor"):
            counts[row["name"]] += int(row["value"])
    assert counts["programs"] > 0 == counts["corrupt_versions"], counts


@pytest.mark.skipif(not os.environ.get("RLTF_LONG_TESTS"), reason="a minute or two: RLTF_LONG_TESTS=1 runs it")
def test_forty_steps_and_forty_more_are_eighty(tmp_path: Path) -> None:
    settings = {
        "run__deterministic": True,
        "learner__steps": 80,
        "learner__supervised_ratio": 1,
        "evaluation__every": 20,
    }
    folders = [tmp_path / "whole", tmp_path / "stopped"]
    for folder in folders:
        folder.mkdir()
        run = Run(folder, **settings)
        try:
            if folder.name == "stopped":
                run.until(lambda: len(run.rows()) >= 40, "40 steps")  # noqa: B023
                run.process.send_signal(signal.SIGINT)
                assert run.process.wait(120) == 1
                assert len(run.rows()) < 80
                run.resume()
            assert run.process.wait(240) == 0, run.terminal.read_text()
        finally:
            run.end()
    whole, stopped = (RunFolder.open(folder / "run") for folder in folders)
    assert stopped.attempts() == 2 and [row["step"] for row in stopped.steps()] == list(range(1, 81))
    for name in ("loss", "sample_ids", "version", "learning_rate", "baselines", "gradient_norm"):
        assert [row.get(name) for row in stopped.steps()] == [row.get(name) for row in whole.steps()], name
    ours, theirs = (load_file(folder.path / "export" / "model.safetensors") for folder in (stopped, whole))
    assert ours.keys() == theirs.keys() and all(bool((ours[name] == theirs[name]).all()) for name in ours)
    assert stopped.result()["ledger"] == whole.result()["ledger"]


@pytest.mark.skipif(
    not os.environ.get("RLTF_LONG_TESTS"),
    reason="a minute; its parts are in test_buffer_losses.py and test_driver_continuing.py",
)
def test_a_flushed_redis_ends_the_run_and_its_resume(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    url = redis_server.url
    run = Launched(tmp_path, redis__url=url, learner__steps=100_000, run__stall_timeout_s=600)
    metrics = run.folder / "metrics.jsonl"
    run.until(lambda: metrics.exists() and metrics.read_text().count("\n") > 2)
    client = redis.Redis.from_url(url)
    client.flushall()
    steps = metrics.read_text().count("\n")
    assert run.wait(120) == 1, run.terminal
    assert "has lost the run's data: nothing of it is there any more" in run.terminal.splitlines()[-1]
    assert (
        "This run can go on" not in run.terminal
        and f"--warm_start.reuse {run.folder / 'warm_start'}" in run.terminal.splitlines()[-1]
    )
    folder = RunFolder.open(run.folder)
    result = folder.result()
    assert result["dead_letters"] == [] and len(folder.steps()) <= steps + 1, "nothing more was trained on"
    assert result["imbalance"] is None and any(
        "not known whether the ledger balances" in warning for warning in result["warnings"]
    )
    left = set(client.keys())  # a sign of life, bytes on their way
    again = Launched(tmp_path, "--resume", str(run.folder), redis__url=url)
    assert again.wait() == 2, again.terminal
    assert (
        "has lost the data of this run" in again.terminal.splitlines()[-1]
        and "This run can go on" not in again.terminal
    )
    assert folder.result() == result and set(client.keys()) <= left
    assert run.gone() and again.gone()
    client.close()


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    for arguments, sentence in (
        (["--resume", str(tmp_path / "none")], "there is no run folder of this name"),
        (
            ["--resume", str(_folder(tmp_path)), "--policy.layers", "2"],
            "--policy.layers cannot be changed when a run goes on",
        ),
        (["--resume", str(_folder(tmp_path)), "--problems.checked", "b.jsonl"], "--problems.checked cannot be changed"),
        (["--resume", str(_folder(tmp_path)), "--config", "a.yaml"], "leave --config out"),
        (["--resume", str(_folder(tmp_path, "redis://:secret@host:1/0"))], "passwords are not kept: give --redis.url"),
    ):
        with pytest.raises(UserError, match=sentence):
            parse(arguments)
    wanted = parse(["--resume", str(_folder(tmp_path)), "--learner.steps", "77"])
    assert wanted.config.learner.steps == 77 and wanted.resume == _folder(tmp_path)


def _folder(parent: Path, url: str = "") -> Path:
    path = parent / ("with-url" if url else "run")
    if not path.exists():
        arguments = ["--run.folder", str(parent), "--run.name", path.name, "--redis.url", url]
        RunFolder.create(parse(arguments).config)
    return path
