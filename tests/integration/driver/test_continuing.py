"""What a run needs to go on is looked at before anything is started, and what is not there is told in one sentence.

Without Ray.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rltf import launch
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.online_buffer import BufferPosition
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, UserError
from rltf.driver import post_mortem, resume_checks
from rltf.driver.workers import resume_step
from rltf.learner.checkpoint import FORMAT, Checkpoint
from rltf.learner.checkpoints import Checkpoints
from rltf.monitor.new_run import planned
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked
from rltf.monitor.state import RunState
from rltf.monitor.watcher import CONFIRMING_CHECKS, Watcher
from rltf.policy.checksums import write_checksums
from tests.support.buffer_programs import buffered, fates, group_of
from tests.support.monitor_rows import config, step_row


class Stopped:
    """A run that has taken three steps, with a checkpoint of the third, on its own Redis."""

    def __init__(self, path: Path) -> None:
        self.settings: Config = config(path, learner={"groups_per_step": 1})
        self.folder = RunFolder.create(self.settings, "run")
        self.server = EmbeddedRedis.start(self.folder.path / "redis")
        flow = self.flow()
        self.folder.new_log_folder()
        flow.marker.take_over(1, f"attempt 1 {resume_checks.driver_location(self.folder)}")
        self.folder.add_event({"time": 1.0, "event": "started", "attempt": 1, "run": self.folder.key})
        buffered(flow, *"abcde")
        for step in (1, 2, 3):
            flow.online.finish(step, fates(flow.online.draw(step, 1, 0)))
            flow.telemetry.append_step(step_row(step))
            position = flow.online.position()
            self.checkpoint(step, position.to_json().decode())
            flow.online.confirm_checkpoint(position)
        watcher = Watcher(flow, self.folder, RunState())
        for _ in range(4):
            watcher._beaten_at = float("-inf")  # ten seconds later
            watcher.finish()
            flow.telemetry.append_step(step_row(3))
        watcher.finish()
        self.folder.write_result({"finished": False, "attempts": 1, "steps": 3})
        flow.close()

    def flow(self) -> Flow:
        return Flow(FlowAddress.from_config(self.settings, self.server.url, self.folder.key, token="t"))

    def checkpoint(self, step: int, buffer: str) -> None:
        folder = self.folder.path / "checkpoints" / f"step_{step:06d}"
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text(json.dumps({"format": FORMAT, "step": step, "buffer": buffer}))
        write_checksums(folder, "COMPLETE")

    def saved(self) -> Checkpoint | None:
        return Checkpoints.of_run(self.folder.path).required()

    def refused(self) -> str:
        """Why it cannot go on; empty when it can. A look changes nothing."""
        flow = Flow(replace(self.flow().address, token=""))
        before = flow.client.dbsize()
        try:
            saved = self.saved()
            resume_checks.check_folder(self.folder, saved)
            resume_checks.check_data(flow, self.folder, saved)
            return ""
        except UserError as error:
            return str(error)
        finally:
            assert flow.client.dbsize() == before
            flow.close()


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Stopped]:
    run = Stopped(tmp_path)
    yield run
    run.server.stop()


def test_redis_is_held_against_the_folder(stopped: Stopped, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped.refused() == ""
    flow, folder = stopped.flow(), stopped.folder
    base = flow.marker._keys.base
    everything = {key: flow.client.dump(key) for key in flow.client.keys()}

    def back() -> None:
        flow.client.flushall()
        for key, value in everything.items():
            flow.client.restore(key, 0, value)

    def after(*command: str) -> str:
        flow.client.execute_command(*command)
        sentence = stopped.refused()
        back()
        assert stopped.refused() == ""
        return sentence

    assert launch.main(["status", str(folder.path)]) == 0 and "Redis: answers" in capsys.readouterr().out
    assert "has lost the data of this run: bring back what it kept" in after("FLUSHALL")
    assert "has lost a part of the run's data (control)" in after("DEL", base + "control")
    assert "has lost a part of the run's data (train:counts)" in after("DEL", base + "train:counts")
    assert "does not balance" in after("DEL", base + "train:buffer")
    assert "holds older data of this run than its folder knows of" in after("HSET", base + "marker", "beats", "2")
    assert after("HSET", base + "marker", "beats", "3") == "", "the last seconds may be lost"
    assert "has gone back in time: it knows of 0 finished steps" in after(
        "HSET", base + "train:state", "finished_step", "0"
    )
    assert "is an older copy of the run's folder" in after("HSET", base + "marker", "attempt", "2")
    assert "the run is still going on: attempt 1 in /other on there drives it" in after(
        "SET", base + "alive", "attempt 1 in /other on there"
    )
    assert after("SET", base + "alive", f"attempt 1 {resume_checks.driver_location(folder)}") == "", (
        "the folder's lock has kept its driver out"
    )
    (folder.path / "warm_start").mkdir()
    (folder.path / "warm_start" / "config.json").touch()
    flow.client.flushall()
    assert launch.main(["status", str(folder.path)]) == 0
    assert "keeps nothing of this run any more: its data are lost" in capsys.readouterr().out
    assert after("FLUSHALL").endswith(
        f"begin a new run from what it leaves, with --warm_start.reuse {folder.path / 'warm_start'}"
    )
    flow.close()


def test_an_older_copy_of_redis_is_refused(stopped: Stopped) -> None:
    """The folder redis/ of some time ago in place of the newest one; then none at all."""
    stopped.server.stop()
    redis = stopped.folder.path / "redis"
    shutil.copytree(redis, redis.with_name("older"))
    stopped.server = EmbeddedRedis.start(redis)
    flow = stopped.flow()
    watcher = Watcher(flow, stopped.folder, RunState())
    for step in (4, 5, 6):
        watcher._beaten_at = float("-inf")
        flow.telemetry.append_step(step_row(step))
        watcher.finish()
    flow.close()
    assert stopped.refused() == ""
    for place in ("older", ""):
        stopped.server.stop()
        shutil.rmtree(redis)
        if place:
            redis.with_name(place).rename(redis)
        stopped.server = EmbeddedRedis.start(redis)
        assert ("holds older data of this run" if place else "has lost the data of this run") in stopped.refused()


def test_checkpoints_that_are_gone(stopped: Stopped) -> None:
    folder = stopped.folder.path
    shutil.rmtree(folder / "checkpoints" / "step_000003")
    assert stopped.refused() == "", "the one before is good enough"
    flow = stopped.flow()
    saved = stopped.saved()
    assert saved is not None and saved.step == 2
    resumed = flow.online.resume(BufferPosition.from_json(saved.facts["buffer"].encode()))
    assert resumed.lost_steps == [3]
    assert [group.id for group in flow.online.draw(3, 1, 0)] == ["d"], "what step 3 used is not used again"
    flow.close()
    shutil.rmtree(folder / "checkpoints")
    assert (
        "has no complete checkpoint, and the run had come to step 3: bring the checkpoints back, or begin a new run"
        in stopped.refused()
    )
    (folder / "metrics.jsonl").unlink()
    assert "has no complete checkpoint, and the run had come to step" in stopped.refused(), "Redis knows"


def test_the_driver_does_not_read_a_dead_learners_checkpoint(stopped: Stopped) -> None:
    """Gigabytes would keep it from everything else; a byte that it does not see stands for them."""
    folder = stopped.folder.path / "checkpoints"
    assert resume_step(stopped.folder.path) == {"step": 3}
    facts = folder / "step_000003" / "checkpoint.json"
    facts.write_bytes(facts.read_bytes().replace(b"step", b"stop"))
    saved = stopped.saved()
    assert resume_step(stopped.folder.path) == {"step": 3} and saved is not None and saved.step == 2
    shutil.rmtree(folder)
    assert resume_step(stopped.folder.path) == {}


def test_a_refused_resume_changes_nothing(stopped: Stopped, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command: what the folder tells is told before Ray is started."""
    folder = stopped.folder.path
    kept = (folder / "result.json").read_text()

    def told() -> str:
        assert launch.main(["--resume", str(folder)]) == 2
        printed = capsys.readouterr()
        assert (folder / "result.json").read_text() == kept and not (folder / "report.md").exists()
        assert "This run can go on" not in printed.out + printed.err and stopped.folder.attempts() == 1
        return printed.err.strip().splitlines()[-1]

    shutil.rmtree(folder / "checkpoints")
    assert "has no complete checkpoint" in told()
    (folder / ".key").unlink()
    (folder / "events.jsonl").rename(folder / "aside")
    assert "which names the run's data: copy it too (cp -a FOLDER, not FOLDER/*)" in told()


def test_the_report_of_a_run_whose_driver_died(stopped: Stopped, capsys: pytest.CaptureFixture[str]) -> None:
    folder, reason = stopped.folder, "its driver was killed"
    flow = stopped.flow()
    flow.control.set_version(3)
    flow.telemetry.append_step(step_row(4) | {"time": time.time()})  # which the driver had not read
    counts = flow.ledger.counts()
    flow.close()
    stopped.server.stop()
    earlier = folder.result()
    with locked(folder.path):
        assert post_mortem.main(str(folder.path), reason) == 1 and folder.result() == earlier, (
            "another driver has it by now"
        )
    assert "is still going on" in capsys.readouterr().err
    assert post_mortem.main(str(folder.path), reason) == 0 and folder.result() == earlier, "the driver had written it"
    folder.write_result(earlier | {"attempts": 0})
    assert post_mortem.main(str(folder.path), reason) == 0
    result = folder.result()
    assert result["warnings"] == [reason] and result["imbalance"] is None and result["ledger_checks"] > 0
    assert (result["steps"], result["versions"], result["attempts"], result["finished"]) == (4, 4, 1, False)
    assert result["ledger"] == counts and reason in (folder.path / "report.md").read_text()
    folder.new_log_folder()
    folder.add_event({"time": time.time(), "event": "resumed", "attempt": 2, "step": 3})
    assert post_mortem.main(str(folder.path), reason) == 0 and folder.result() == result, "this attempt came to no step"
    stopped.server = EmbeddedRedis.start(folder.path / "redis")
    assert stopped.refused() == "", "the run goes on all the same"


def test_a_folder_that_is_no_text(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(UserError, match=r"run.folder '.*\\udcff/runs' is not UTF-8"):
        planned(config(odd))
    assert resume_checks.driver_location(RunFolder(odd)).isprintable()


def test_a_key_that_was_left_behind_is_found_in_the_events(stopped: Stopped) -> None:
    key = stopped.folder.key
    for empty in (False, True):
        (stopped.folder.path / ".key").unlink()
        if empty:
            (stopped.folder.path / ".key").touch()
        resume_checks.check_folder(stopped.folder, stopped.saved())
        assert (stopped.folder.path / ".key").read_text().strip() == key
    assert stopped.refused() == ""


def test_an_imbalance_is_confirmed_soon(stopped: Stopped) -> None:
    flow = stopped.flow()
    watcher = Watcher(flow, stopped.folder, RunState())
    watcher.poll()
    assert watcher.imbalances == 0
    flow.client.hincrby(flow.work._keys.counts, "queued", 1)
    watcher._checked_at = float("-inf")
    for number in range(1, CONFIRMING_CHECKS + 1):
        watcher.poll()
        assert watcher.imbalances == number, "it is not waited for the next ten seconds"
    flow.client.hincrby(flow.work._keys.counts, "queued", -1)
    watcher.poll()
    assert watcher.imbalances == 0
    flow.close()


def test_two_runs_of_one_name_share_a_server(make_flow: Callable[..., Flow], tmp_path: Path) -> None:
    runs = [RunFolder.create(config(tmp_path), "run") for _ in range(2)]
    first, second = (Flow(replace(make_flow().address, run=run.key, token=run.key)) for run in runs)
    for flow in (first, second):
        flow.marker.take_over(1, "attempt 1")
        flow.work.push(group_of("a"))
    first.delete_run()
    second.marker.check()
    assert second.ledger.counts()["queued"] == 2 and second.ledger.check() is None
    for flow in (first, second):
        flow.close()
