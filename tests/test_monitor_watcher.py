"""The watcher on a real Redis: what workers report arrives in the state and in the run folder."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_rows import config, sample, step_row

from buffer.flow import Flow, FlowAddress
from buffer.records import Feedback
from buffer.server import EmbeddedRedis
from config import Config
from monitor.metrics import Recorder, Row
from monitor.run_folder import RunFolder
from monitor.state import RunState
from monitor.watcher import Watcher


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    redis = EmbeddedRedis.start(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.stop()


def test_what_workers_report_reaches_state_folder_and_sink(server: EmbeddedRedis, tmp_path: Path) -> None:
    settings: Config = config(tmp_path, actors={"samples_per_problem": 2}, learner={"groups_per_step": 2})
    flow = Flow(FlowAddress.of(settings, server.url, "watched"))
    folder, state = RunFolder.create(settings), RunState()
    seen: list[Row] = []
    watcher = Watcher(flow, folder, state, seen.extend)
    watcher.poll()
    assert state.ledger["generated"] == 0

    recorder = Recorder("actor-0", flow.telemetry.append, period_s=60)
    with recorder.phase("generate"):
        recorder.count("programs", 4)
    recorder.close()
    flow.control.set_phase("training")
    for number in range(2):
        pair = [sample(f"p{number}", "pass", id=f"{number}-{i}", group_id=f"g{number}").program for i in range(2)]
        assert flow.work.push(pair, "actor-0")
    claims = flow.work.claim("executor-0", 4)
    flow.work.hand_over_many("executor-0", [(claim, Feedback(outcome="pass", passed=5, run=5)) for claim in claims])
    assert flow.online.draw(1, 2, 0) is not None
    flow.online.finish(1, {claim.program.id: "trained" for claim in claims})
    flow.telemetry.step(step_row(1))

    assert [row["step"] for row in watcher.poll()] == [1]
    assert state.phase == "training" and state.step["step"] == 1 and state.total("actor", "programs") == 4
    assert state.ledger["trained"] == 4 and state.rates(time.time())["generated"] > 0
    assert watcher.finish() == []
    folder.close()
    kept = list(folder.samples())
    assert sorted(row.id for row in kept) == ["0-0", "0-1", "1-0", "1-1"]
    assert {(row.fate, row.step) for row in kept} == {("trained", 1)} and kept[0].sample is not None
    assert [row["step"] for row in folder.steps()] == [1]
    kinds = [row["kind"] for row in folder.telemetry() if row["role"] == "actor-0"]
    assert sorted(kinds) == ["count", "phase"] and [row["kind"] for row in seen] == kinds
    assert watcher.lost == {"rows": 0, "steps": 0, "samples": 0}
    flow.close()
