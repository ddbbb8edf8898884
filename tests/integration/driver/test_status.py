"""`status RUN` on a real Redis: of a run that goes on, of one that stopped, of one whose ledger does not balance."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from rltf import launch
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.driver.commands import run_status
from rltf.monitor.absence import Absence
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import in_use, locked
from tests.support.buffer_programs import buffered, group_of
from tests.support.monitor_rows import config, held_out_row, step_row


def test_status_shows_where_every_program_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config(tmp_path)
    folder = RunFolder.create(settings)
    folder.new_log_folder()
    folder.add_step(step_row(3))
    folder.add_held_out(held_out_row(0, 0.25))
    folder.add_event({"time": 1.0, "event": "restarted", "part": "actor-0", "reason": "killed"})
    folder.write_absent({"learner": Absence("waiting for a trainer host: none is up", 1.0, "its node gpu1 has died")})
    server = EmbeddedRedis.start(folder.path / "redis")
    out = tmp_path / "status.json"
    try:
        flow = Flow(FlowAddress.from_config(settings, server.url, folder.key))
        buffered(flow, "a", "b")
        flow.work.push(group_of("c"))
        flow.control.set_phase("training")
        with locked(folder.path):
            assert launch.main(["status", str(folder.path), "--out", str(out)]) == 0
        printed = capsys.readouterr().out
        for words in (
            "is going on",
            "phase: training",
            "Redis: answers",
            "step: 3 of",
            "0.250 at step 0",
            "actor-0 1",
            "ledger: balances",
        ):
            assert words in printed
        assert re.search(
            r"not running: learner: dead for [\d,]+ s \(its node gpu1 has died\), waiting for a tra", printed
        )
        found = json.loads(out.read_text())
        assert (found["ledger"]["train"]["queued"], found["ledger"]["train"]["buffered"]) == (2, 4)
        with locked(folder.path):
            assert launch.main(["scale", str(folder.path), "--executors", "3"]) == 0
            assert launch.main(["scale", str(folder.path), "--actors", "none"]) == 2
        assert (flow.control.wished_count("executor"), flow.control.wished_count("actor")) == (3, None)
        capsys.readouterr()
        # A run that goes on is asked to stop through its Redis, and the folder is free once it has ended.
        assert launch.main(["stop", str(folder.path)]) == 2 and not flow.control.stop_wished()
        assert "is not going on" in capsys.readouterr().err

        def end_when_asked(held: ExitStack) -> None:
            deadline = time.monotonic() + 60
            while not flow.control.stop_wished() and time.monotonic() < deadline:
                time.sleep(0.05)
            held.close()

        with ExitStack() as held:
            held.enter_context(locked(folder.path))
            driver = threading.Thread(target=end_when_asked, args=(held.pop_all(),))
            driver.start()
            assert launch.main(["stop", str(folder.path)]) == 0
            driver.join()
        assert flow.control.stop_wished() and "--resume" in capsys.readouterr().out
        flow.control.resume()
        assert not flow.control.stop_wished() and flow.control.wished_count("executor") is None, (
            "the next attempt was not asked"
        )
        flow.client.hincrby(flow.work._keys.counts, "queued", 1)
        assert launch.main(["status", str(folder.path)]) == 1
        assert "does not balance" in capsys.readouterr().out
        flow.close()
    finally:
        server.stop()
    folder.write_result(
        {"ledger": {"generated": 6, "trained": 6}, "ledger_checks": 4, "imbalance": None, "finished": True}
    )
    assert launch.main(["status", str(folder.path)]) == 0
    printed = capsys.readouterr().out
    assert (
        "finished" in printed
        and "not running" not in printed
        and "has ended with the run" in printed
        and "trained" in printed
    )
    assert launch.main(["status", str(tmp_path / "none")]) == 2
    assert "there is no run folder of this name" in capsys.readouterr().err


def test_status_tells_no_waits_of_an_earlier_attempt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config(tmp_path)
    folder = RunFolder.create(settings)
    folder.new_log_folder()
    server = EmbeddedRedis.start(folder.path / "redis")
    now = time.time()

    def wait(role: str, waits_for: str, since: float) -> dict[str, object]:
        return {
            "kind": "now",
            "role": role,
            "name": "wait",
            "waits_for": waits_for,
            "start": now - since,
            "time": now - since,
        }

    def told() -> str:
        assert launch.main(["status", str(folder.path)]) == 0
        return capsys.readouterr().out

    try:
        flow = Flow(FlowAddress.from_config(settings, server.url, folder.key))
        flow.telemetry.append([wait("learner-0", "executor", 2431)])
        folder.add_event({"time": now - 3000, "event": "started", "attempt": 1})
        assert "who waits" not in told(), "it has stopped"
        with locked(folder.path):
            assert "who waits: learner waits for executor 100%" in told()
            folder.add_event({"time": now - 20, "event": "resumed", "attempt": 2})
            assert "who waits: nobody waits" in told()
            flow.telemetry.append([wait("actor-0", "learner", 15)])
            assert "who waits: actor waits for learner 100%" in told()
        flow.close()
    finally:
        server.stop()


def test_a_run_that_goes_on_after_its_end_is_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder.create(config(tmp_path))
    folder.new_log_folder()
    folder.write_result({"finished": True, "attempts": 1})
    for step in (38, 39, 40, 39):
        folder.add_step(step_row(step))

    def told() -> list[str]:
        assert launch.main(["status", str(folder.path)]) == 0
        return capsys.readouterr().out.splitlines()

    assert told()[0].endswith(": finished")
    with locked(folder.path):
        assert told()[0].endswith(": is going on")
    folder.new_log_folder()  # of another attempt, which was killed
    lines = told()
    assert lines[0].endswith(": stopped: it can go on with --resume")
    assert any(line.startswith("  step: 39 of") for line in lines), "the learner went back"


def test_status_writes_nothing_and_what_it_cannot_do_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(config(tmp_path))
    before = sorted(folder.path.rglob("*"))
    assert launch.main(["status", str(folder.path)]) == 0
    assert sorted(folder.path.rglob("*")) == before and not in_use(folder.path)
    assert "stopped" in capsys.readouterr().out
    assert launch.main(["status", str(folder.path), "--out", str(tmp_path / "no" / "x")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/no/x cannot be written: No such file")
    with locked(folder.path):
        assert in_use(folder.path)

    def denied(place: Path) -> str:
        raise PermissionError(13, "Permission denied", str(place / "redis.conf"))

    monkeypatch.setattr(run_status, "url_in", denied)  # root, as whom tests may run, is denied nothing
    assert launch.main(["status", str(folder.path)]) == 0
    assert "Redis: not asked: " in capsys.readouterr().out
