"""The watcher on a real Redis: what workers report arrives in the state and in the run folder."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.records import Feedback
from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.work_queue import Claim
from rltf.config import Config, UserError
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked
from rltf.monitor.state import RunState
from rltf.monitor.watcher import Watcher
from rltf.telemetry.recorder import Recorder
from tests.support.monitor_rows import config, sample, step_row


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    redis = EmbeddedRedis.start(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.stop()


def test_what_workers_report_reaches_state_and_folder(server: EmbeddedRedis, tmp_path: Path) -> None:
    settings: Config = config(tmp_path, actors={"samples_per_problem": 2}, learner={"groups_per_step": 2})
    flow = Flow(FlowAddress.from_config(settings, server.url, "watched"))
    folder, state = RunFolder.create(settings), RunState()
    watcher = Watcher(flow, folder, state)
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
    flow.work.ack_many("executor-0", [(claim, Feedback(outcome="pass", passed=5, run=5)) for claim in claims])
    assert flow.online.draw(1, 2, 0) is not None
    flow.online.finish(1, {claim.program.id: "trained" for claim in claims})
    flow.telemetry.append_step(step_row(1))

    assert [row["step"] for row in watcher.poll()] == [1]
    assert state.phase == "training" and state.step["step"] == 1 and state.total("actor", "programs") == 4
    assert state.ledger["trained"] == 4 and state.rates(time.time())["generated"] > 0
    assert watcher.finish() == []
    assert watcher.check_ledger() is None and watcher.ledger_checks == 2 and state.imbalance is None
    flow.client.hincrby(flow.work._keys.counts, "queued", 1)
    watcher.check_ledger()
    assert state.imbalance is not None and state.numbers(time.time())["ledger_balances"] == 0
    flow.client.hincrby(flow.work._keys.counts, "queued", -1)
    watcher.check_ledger()
    assert state.imbalance is not None, "once is enough"
    assert [row["event"] for row in folder.events()] == ["imbalance"]
    folder.close()
    kept = list(folder.samples())
    assert sorted(row.id for row in kept) == ["0-0", "0-1", "1-0", "1-1"]
    assert {(row.fate, row.step) for row in kept} == {("trained", 1)} and kept[0].sample is not None
    assert [row["step"] for row in folder.steps()] == [1]
    kinds = [row["kind"] for row in folder.telemetry() if row["role"] == "actor-0"]
    assert sorted(kinds) == ["count", "phase"]
    assert watcher.lost == {"rows": 0, "steps": 0, "samples": 0}
    flow.close()


def test_tokens_bring_a_run_on_until_programs_wait_for_a_verdict(server: EmbeddedRedis, tmp_path: Path) -> None:
    settings: Config = config(tmp_path)
    flow, folder, state = (
        Flow(FlowAddress.from_config(settings, server.url, "tokens")),
        RunFolder.create(settings),
        RunState(),
    )
    watcher = Watcher(flow, folder, state)

    def moves() -> bool:
        before = state.progress()
        flow.control.heartbeat("actor")
        watcher.poll()
        return state.progress() != before

    def written(name: str) -> Claim:
        flow.work.push([sample("p", "pass", id=name, group_id=name).program], "actor-0")
        (claim,) = flow.work.claim("executor-0", 1)
        return claim

    assert moves() and moves()
    claim = written("first")
    assert not moves()
    flow.work.ack_many("executor-0", [(claim, Feedback(outcome="failure", run=1))])
    assert moves() and moves()
    for name in ("second", "third"):
        claims = [written(name)]
        while claims:
            assert not moves()
            flow.work.nack("executor-0", claims[0], "no sandbox")
            claims = flow.work.claim("executor-0", 1)
        assert not moves()
    assert state.ledger["dead_letter"] == 2
    flow.work.ack_many("executor-0", [(written("fourth"), Feedback(outcome="pass", run=1))])
    assert moves()
    folder.close()
    flow.close()


def test_what_has_uses_left_or_no_verdict_when_a_run_ends_is_recorded_until_its_fate_is_known(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    settings: Config = config(tmp_path, learner={"groups_per_step": 1}, buffer={"max_uses": 2})
    flow = Flow(FlowAddress.from_config(settings, server.url, "left"))
    for name in ("used", "fresh", "queued"):
        assert flow.work.push([sample("p", "pass", id=name, group_id=name).program], "actor-0")
    for claim in flow.work.claim("executor-0", 2):
        flow.work.ack("executor-0", claim, Feedback(outcome="pass", passed=5, run=5))
    assert flow.online.draw(1, 1, 0) is not None
    flow.online.finish(1, {"used": "no_signal"})
    folder = RunFolder.create(settings)
    for _ in range(2):  # a run may be stopped, and go on, more than once
        Watcher(flow, folder, RunState()).finish()
        found = {row.id: (row.fate, row.step, row.reason, row.sample is not None) for row in folder.samples()}
        assert found == {
            "used": ("under_way", 1, "no_signal", True), "fresh": ("under_way", None, "", True), "queued": ("under_way", None, "", False),
        }  # fmt: skip
    for step in (2, 3):
        (group,) = flow.online.draw(step, 1, 0) or ()
        flow.online.finish(step, {group.samples[0].program.id: "trained"})
    Watcher(flow, folder, RunState()).finish()
    assert {row.id: (row.fate, row.step) for row in folder.samples()} == {
        "used": ("trained", 3), "fresh": ("under_way", 2), "queued": ("under_way", None),
    }  # fmt: skip
    folder.close()
    flow.close()


def test_another_driver_goes_on_where_the_first_one_was(server: EmbeddedRedis, tmp_path: Path) -> None:
    settings: Config = config(tmp_path, learner={"groups_per_step": 1})
    flow = Flow(FlowAddress.from_config(settings, server.url, "resumed"))
    recorder = Recorder("executor-0", flow.telemetry.append, period_s=60)

    def one(step: int) -> None:
        program = sample(f"p{step}", "pass", id=f"s{step}", group_id=f"g{step}").program
        flow.work.push([program], "actor-0")
        (claim,) = flow.work.claim("executor-0", 1)
        flow.work.ack("executor-0", claim, Feedback(outcome="pass", passed=5, run=5))
        assert flow.online.draw(step, 1, 0) is not None
        flow.online.finish(step, {claim.program.id: "trained"})
        flow.telemetry.append_step(step_row(step))
        recorder.count("programs", 1)
        recorder.flush()

    folder = RunFolder.create(settings)
    assert folder.new_log_folder().name == "attempt_1" and folder.progress() == {}
    state = RunState()
    state.training_since = time.time() - 100
    first = Watcher(flow, folder, state)
    flow.control.set_phase("training")
    one(1)
    first.finish()
    folder.close()
    one(2)
    first.poll()  # killed now: what it read last is not written down, or not on disk
    again = RunFolder.resume(
        folder.path, settings.model_copy(update={"learner": settings.learner.model_copy(update={"steps": 77})})
    )
    assert again.new_log_folder().name == "attempt_2" and again.attempts() == 2
    assert again.phases.seconds["training"] > 0
    state = RunState()
    second = Watcher(flow, again, state)
    assert 100 <= state.rl_seconds(time.time()) < 200
    one(3)
    second.finish()
    again.close()
    assert [row["step"] for row in again.steps()] == [1, 2, 3] and second.graded == 3
    assert [row.id for row in again.samples()] == ["s1", "s2", "s3"]
    # The server comes back without what the driver had read last: what follows has the same numbers once more.
    behind = {name: end - 1 for name, end in flow.telemetry.positions().items()}
    flow.client.hset(
        flow.telemetry._keys.totals, mapping=dict(zip(("rows", "steps", "archived"), behind.values(), strict=True))
    )
    assert Watcher(flow, again, RunState())._position == behind
    assert sum(row["value"] for row in again.telemetry() if row["kind"] == "count") == 3
    with locked(again.path), pytest.raises(UserError, match="is still going on"), locked(again.path):
        pass
    flow.close()


def test_waits_of_an_earlier_attempt_are_over_and_its_programs_count(server: EmbeddedRedis, tmp_path: Path) -> None:
    settings: Config = config(tmp_path)
    flow = Flow(FlowAddress.from_config(settings, server.url, "waited"))
    folder, state = RunFolder.create(settings), RunState(clock=time.monotonic)
    ago = time.time() - 2431
    flow.telemetry.append(
        [
            {"kind": "phase", "role": "actor-0", "name": "generate", "waits_for": None, "start": ago - 9, "end": ago},
            {"kind": "count", "role": "executor-0", "name": "programs", "value": 64, "time": ago},
            {
                "kind": "now",
                "role": "learner-0",
                "name": "wait",
                "waits_for": "executor",
                "start": ago,
                "time": ago + 1,
            },
        ]
    )
    watcher = Watcher(flow, folder, state)
    watcher.read_earlier()
    now = time.time()
    assert state.longest_wait(now) is None and state.waits_in_words(now) == "nobody waits"
    assert state.rl_seconds(now) == 0, "nobody trained while the run stood still"
    assert watcher.graded == 64
    flow.telemetry.append(
        [{"kind": "now", "role": "learner-0", "name": "wait", "waits_for": "actor", "start": now, "time": now}]
    )
    watcher.poll()
    longest = state.longest_wait(now + 30)
    assert longest is not None and longest[0].waits_for == "actor" and longest[1] <= 30
