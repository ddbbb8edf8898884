"""A Redis that has lost what a run keeps there, all or a part of it, is noticed before anything is made of what is
left.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from rltf.buffer.connection import DataLost, ServerLost, connect, durability_warnings
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.marker import LASTING
from rltf.buffer.online_buffer import BufferPosition, BufferRolledBack
from rltf.buffer.server import EmbeddedRedis
from rltf.config import BufferConfig, ExecutorConfig, UserError
from rltf.executor.worker import ExecutorWorker
from rltf.telemetry.recorder import Recorder
from tests.support.buffer_programs import PASS, buffered, fates, grade_all, group_of, names


@pytest.fixture
def marked(make_flow: Callable[..., Flow]) -> Flow:
    """A run with something in every place."""
    flow = make_flow(token="first")
    flow.marker.take_over(1, "attempt 1")
    flow.problems.put("p", b"tests", "hash")
    flow.marker.mark_problems_stored()
    flow.control.set_phase("training")
    flow.control.next_visits(3, "actor-0")
    buffered(flow, *"abc")
    flow.work.push(group_of("00000000"))
    flow.work.push(group_of("queued"))
    flow.work.claim("executor-0", 1)
    flow.online.release("actor-0")
    flow.control.next_visits(1, "actor-1")
    drawn = flow.online.draw(1, 1, 0)
    flow.online.finish(1, fates(drawn))
    flow.online.draw(2, 1, 0)
    flow.evaluations.request("step-000000", 0, [["p"], ["q"]])
    chunk = flow.evaluations.next_chunk("actor-0")
    flow.evaluation_work.push(group_of("e", 1, purpose="evaluation", label=chunk.label, problem_id="p"))
    (claim,) = flow.evaluation_work.claim("executor-0", 1)
    flow.evaluation_work.ack("executor-0", claim, PASS)
    look(flow)
    return flow


def look(flow: Flow) -> None:
    """What the driver does time and again."""
    flow.marker.check()
    if problem := flow.ledger.check():
        raise DataLost(problem)


def keys(flow: Flow) -> list[str]:
    return sorted(key.decode() for key in flow.client.keys() if flow.address.run.encode() + b"}" in key)


def test_nothing_moves_in_a_flushed_server(marked: Flow) -> None:
    claims = marked.work.claim("executor-1", 1)
    marked.client.delete(*keys(marked))
    moves: list[Callable[[], Any]] = [
        lambda: marked.work.push(group_of("new")),
        lambda: marked.work.claim("executor-0", 4),
        lambda: marked.work.nack("executor-1", claims[0], "its tests cannot be read"),
        lambda: marked.work.ack("executor-1", claims[0], PASS),
        lambda: marked.online.draw(3, 1, 0),
        lambda: marked.online.admit("actor-0", 1),
        lambda: marked.control.next_visits(1, "actor-0"),
        lambda: marked.evaluations.next_chunk("actor-0"),
        lambda: marked.telemetry.append([{"a": 1}]),
        lambda: marked.ledger.check(),
        lambda: marked.marker.check(),
    ]
    for move in moves:
        with pytest.raises(
            DataLost, match=r"has lost the run's data: nothing of it is there any more \(it was flushed"
        ):
            move()
    with pytest.raises(DataLost, match=r"all was there at \d\d:\d\d:\d\d$"):
        marked.marker.check()
    assert [key for key in keys(marked) if ":staged:" not in key] == [], "but bytes of the push, which expire"


HARMLESS = {
    "claims": "the answer to a claim that is sent twice",
    "known": "pushes that are sent twice",
    "dead": "shown to people",
    "snapshot": "taken anew",
    "reserved": "reckoned anew with the next admission",
    "holders": "a chunk is offered again after its lease",
    "alive": "expires by itself",
    "consumed": "for a power loss at the same time",
    "rows": "counted as lost",
    "steps": "counted as lost",
    "archive": "counted as lost",
    "label": "an evaluation that Redis does not know is asked for again; who waits for it is told",
    "evaluation:work": "it is empty",
    "train:group:a": "counted as lost: it waits for the driver in the archive",
}


def test_the_loss_of_any_key_that_matters_is_noticed(marked: Flow) -> None:
    """As a server that evicts would: one key after the other, and some of them come back, empty, with the next command."""
    found = {}
    for key in keys(marked):
        name = key.partition("}:")[2]
        kept = marked.client.dump(key)
        marked.client.delete(key)
        marked.control.heartbeat("learner")
        marked.telemetry._client.hincrby(marked.telemetry._keys.totals, "rows", 0)
        try:
            look(marked)
            marked.evaluations.results("step-000000")
            found[name] = ""
        except DataLost as error:
            found[name] = str(error)
        marked.client.restore(key, 0, kept, replace=True)
        look(marked)
    assert {"control", "totals", "problems", "suites", "marker", "visits", "returned"} <= found.keys()
    assert {
        "train:work",
        "train:open",
        "train:buffer",
        "train:drawn",
        "train:draws",
        "train:counts",
        "train:state",
    } <= found.keys()
    quiet = {name for name, sentence in found.items() if not sentence}
    assert not [
        name
        for name in quiet
        if name not in HARMLESS and (name + ":").split(":")[1] not in HARMLESS and name.split(":")[0] not in HARMLESS
    ]
    for name in LASTING:
        assert found[name].startswith(
            f"Redis at {marked.marker._scripts.where} has lost a part of the run's data: {name} (it evicts keys"
        )


def test_another_attempt_takes_over_and_the_one_before_is_out(marked: Flow, make_flow: Callable[..., Flow]) -> None:
    second = Flow(replace(marked.address, token="second"))
    second.marker.take_over(2, "attempt 2 in /runs/copy on elsewhere", marked.marker.beats)
    with pytest.raises(DataLost, match="have been taken over by attempt 2 in /runs/copy on elsewhere"):
        marked.work.push(group_of("late"))
    with pytest.raises(DataLost, match="taken over"):
        marked.marker.check()
    assert second.work.push(group_of("new")) and second.ledger.check() is None
    second.marker.check(beat=True)
    mark = second.marker.read()
    assert mark is not None and (mark.attempt, mark.alive) == (2, "attempt 2 in /runs/copy on elsewhere")
    second.marker.release()
    assert second.marker.read().alive == ""
    reader = Flow(replace(marked.address, token=""))
    reader.marker.check()
    assert reader.ledger.check() is None, "`status` may look at any time"
    for flow in (second, reader):
        flow.close()


def test_a_server_of_an_earlier_time_is_told_from_one_that_lost_its_last_seconds(marked: Flow) -> None:
    for _ in range(5):
        marked.marker.check(beat=True)
    assert marked.marker.beats == 5
    marked.client.hset(marked.marker._keys.marker, "beats", 4)
    marked.marker.check()
    marked.client.hset(marked.marker._keys.marker, "beats", 3)
    for beat in (True, False):  # no beat of its own hides it
        with pytest.raises(DataLost, match="has gone back in time: what it holds of the run is older"):
            marked.marker.check(beat)


def test_a_learner_does_not_go_on_with_a_server_that_forgot_its_last_step(flow: Flow) -> None:
    buffered(flow, *"abcd")
    for step in (1, 2):
        flow.online.finish(step, fates(flow.online.draw(step, 1, 0)))
    position = flow.online.position()
    flow.client.hset(flow.online._keys.state, "finished_step", 1)
    with pytest.raises(
        BufferRolledBack, match="step 2 is finished, but Redis has lost its last seconds: it knows of step 1"
    ):
        flow.online.draw(3, 1, 0)
    flow.online.resume(position)
    assert names(flow.online.draw(3, 1, 0)) == ["c"]


def test_a_checkpoint_tells_how_old_a_server_may_be(flow: Flow) -> None:
    buffered(flow, *"abcd")
    positions = []
    for step in (1, 2, 3):
        flow.online.finish(step, fates(flow.online.draw(step, 1, 0)))
        positions.append(flow.online.position())
        flow.online.confirm_checkpoint(positions[-1])
    assert [position.forgotten for position in positions] == [0, 0, 1]
    assert [[used.step for used in position.consumed] for position in positions] == [[1], [1, 2], [2, 3]]
    assert BufferPosition.from_json(positions[2].to_json()) == positions[2]
    flow.client.hset(flow.online._keys.state, "finished_step", 1)
    flow.online.require(positions[2])
    flow.client.hset(flow.online._keys.state, "finished_step", 0)
    with pytest.raises(
        DataLost, match="it knows of 0 finished steps, and the checkpoint of step 3 only of what was used after step 1"
    ):
        flow.online.resume(positions[2])


@pytest.mark.parametrize("lost", ["all", "problems", "suites"])
def test_an_executor_blames_no_program_for_lost_tests(make_flow: Callable[..., Flow], lost: str) -> None:
    flow = make_flow(token="t")
    flow.marker.take_over(1, "attempt 1")
    for number in range(40):
        flow.problems.put(f"p{number}", b"tests", f"hash {number}")
        flow.work.push(group_of(f"g{number}", problem_id=f"p{number}"))
    flow.marker.mark_problems_stored()
    flow.client.delete(*(keys(flow) if lost == "all" else [flow.work._keys.base + lost]))
    recorder = Recorder("executor-0", lambda rows: None, period_s=60)
    worker = ExecutorWorker("executor-0", flow, ExecutorConfig(lanes=1), recorder)
    with pytest.raises(DataLost, match="has lost"):
        worker.run(threading.Event())
    assert flow.work.dead_letters() == [] and flow.ledger.counts()["dead_letter"] == 0


# ---- a server of one's own


class Server:
    """A Redis that nobody looks after, as at `redis.url`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = EmbeddedRedis.start(folder)

    def flow(self, **fields: Any) -> Flow:
        address = FlowAddress(self.server.url, "run", BufferConfig(), 1, 1, 2, timeout_s=0.5, outage_s=30.0, token="t")
        return Flow(replace(address, **fields))

    def restart(self, empty: bool = False) -> None:
        """Killed, and up again at the same address, with or without its data."""
        os.kill(self.server.pid, signal.SIGKILL)
        while self.server.running():
            time.sleep(0.01)
        if empty:
            shutil.rmtree(self.folder / "appendonlydir")
        self.server = EmbeddedRedis.start(self.folder)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "redis")
    yield server
    os.kill(server.server.pid, signal.SIGCONT)
    server.server.stop()


def test_outages(own: Server) -> None:
    flow = own.flow()
    flow.marker.take_over(1, "attempt 1")
    buffered(flow, *"ab")
    # Stopped for longer than an answer is waited for.
    os.kill(own.server.pid, signal.SIGSTOP)
    timer = threading.Timer(2.0, os.kill, (own.server.pid, signal.SIGCONT))
    timer.start()
    assert flow.work.push(group_of("c"))
    timer.join()
    own.restart()
    look(flow)
    grade_all(flow)
    assert len(flow.online.draw(1, 3, 0) or ()) == 3 and flow.ledger.check() is None
    # Longer than redis.outage_s.
    brief = own.flow(outage_s=0.6, timeout_s=0.3)
    os.kill(own.server.pid, signal.SIGSTOP)
    with pytest.raises(ServerLost, match="has not answered for 0.6 s"):
        brief.marker.check()
    os.kill(own.server.pid, signal.SIGCONT)
    look(flow)
    own.restart(empty=True)
    for move in (flow.marker.check, lambda: flow.work.push(group_of("d")), lambda: flow.online.draw(2, 1, 0)):
        with pytest.raises(DataLost, match="nothing of it is there any more"):
            move()
    for each in (flow, brief):
        each.close()


def test_what_a_server_may_do_to_a_run_is_told_before_it_begins(own: Server, tmp_path: Path) -> None:
    server = redis.Redis.from_url(own.server.url)

    def told() -> list[str]:
        client = connect(own.server.url, 5.0)
        try:
            return durability_warnings(client, own.server.url)
        finally:
            client.close()

    assert told() == []
    server.config_set("maxmemory-policy", "allkeys-lru")
    assert len(told()) == 1 and "deletes keys once a maxmemory is set and reached (allkeys-lru)" in told()[0]
    server.config_set("maxmemory-policy", "noeviction")
    server.config_set("appendonly", "no")
    assert len(told()) == 1 and "keeps nothing on disk (appendonly no, no save)" in told()[0]
    server.config_set("save", "3600 1")
    assert "writes to disk now and then alone" in told()[0] and own.server.url not in told()[0]
    server.replicaof("127.0.0.1", "1")
    with pytest.raises(
        UserError, match="it is a replica of 127.0.0.1:1, which alone may be written to; use another server"
    ):
        connect(own.server.url, 5.0)
    server.close()


# ---- the server's clock is set


def test_a_clock_that_was_set_back_keeps_nothing_from_others(flow: Flow) -> None:
    """Times are written down as they would be if the server's clock had been an hour ahead."""
    hour = 3_600_000
    flow.evaluations.request("step-000000", 0, [["p"]])
    held = flow.evaluations.next_chunk("actor-0")
    flow.client.zincrby(flow.work._keys.base + "evaluation:held", hour, held.id)
    assert flow.evaluations.next_chunk("actor-1") == held, "its holder may be dead"
    flow.work.push(group_of("a"))
    flow.work.claim("executor-0", 2)
    flow.client.xclaim(flow.work._keys.work, "executors", "executor-0", 0, [b"0-1"], idle=0)
    entries = [
        claim["message_id"] for claim in flow.client.xpending_range(flow.work._keys.work, "executors", "-", "+", 10)
    ]
    flow.client.xclaim(
        flow.work._keys.work, "executors", "executor-0", 0, entries, idle=int(1000 * flow.address.buffer.lease_s) + 1
    )
    flow.client.hset(flow.online._keys.state, "scanned", int(time.time() * 1000) + hour)
    assert len(flow.work.claim("executor-1", 2)) == 2, "forsaken claims are looked for"


def test_bytes_that_have_expired_on_their_way_are_sent_again(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the server's clock is set ahead between the two commands of a push."""
    once = type(flow.work._scripts).run_many

    def late(self: Any, calls: Any) -> Any:
        return once(self, [replace(call, staged={}) for call in calls])

    with monkeypatch.context() as patch:
        patch.setattr(type(flow.work._scripts), "run_many", late)
        assert flow.work.push_many([group_of("a"), group_of("b")]) == [False, False]
    assert flow.work.push_many([group_of("a"), group_of("b")]) == [True, True]
    assert flow.ledger.check() is None and flow.ledger.counts()["queued"] == 4
