"""A learner, an actor or the whole run starts again: no sample is used twice, no visit is skipped, nothing stays
reserved or held.
"""

from __future__ import annotations

import os
import shutil
import signal
import time

import msgspec
import pytest

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.online_buffer import BufferPosition, Consumed, Resumed
from rltf.buffer.server import EmbeddedRedis
from rltf.config import BufferConfig, UserError
from tests.support.buffer_programs import PASS, buffered, fates, grade_all, group_of, names, places


def train(flow: Flow, step: int, groups: int = 1, version: int = 0) -> list[str]:
    """Draws and finishes a step; the ids of its groups."""
    drawn = flow.online.draw(step, groups, version)
    flow.online.finish(step, fates(drawn))
    return names(drawn)


def test_a_position_remembers_what_was_used_since_the_checkpoint_before(flow):
    buffered(flow, *"abcdef")
    assert flow.online.position() == BufferPosition(step=0)
    train(flow, 1)
    first = flow.online.position()
    assert first == BufferPosition(step=1, consumed=[Consumed(1, 2, ["a"])])
    flow.online.confirm_checkpoint(first)
    train(flow, 2, groups=2)
    second = flow.online.position()
    assert second.consumed == [*first.consumed, Consumed(2, 4, ["b", "c"])]
    assert [used for used in flow.online.position().consumed if used.step > 1] == [Consumed(2, 4, ["b", "c"])]
    flow.online.confirm_checkpoint(second)
    flow.online.confirm_checkpoint(first)
    train(flow, 3)
    assert [consumed.step for consumed in flow.online.position().consumed] == [2, 3], (
        "the step of the last checkpoint but one is forgotten"
    )
    assert BufferPosition.from_json(second.to_json()) == second
    with pytest.raises(UserError, match="earlier checkpoint"):
        BufferPosition.from_json(b"{}")


def test_a_position_has_every_step_of_a_run_that_leaves_no_checkpoints(flow):
    """More records than a Lua function can return one by one."""
    buffered(flow, "a")
    train(flow, 9001)
    earlier = {msgspec.msgpack.encode([step, 2, [f"g{step}"]]): step for step in range(1000, 9001)}
    flow.client.zadd(flow.online._keys.base + "train:consumed", earlier)
    position = flow.online.position()
    assert position.step == 9001 and [used.step for used in position.consumed] == list(range(1000, 9002))
    assert (position.consumed[0].groups, position.consumed[-1].groups) == (["g1000"], ["a"])


def test_a_learner_back_at_its_checkpoint_is_given_nothing_twice(flow):
    buffered(flow, *"abcdefg")
    used = train(flow, 1)
    position = flow.online.position()
    flow.online.confirm_checkpoint(position)
    used += train(flow, 2) + train(flow, 3, groups=2)
    flow.online.draw(4, 1, 0)
    assert flow.online.resume(position) == Resumed(returned=1, torn=0, lost_steps=[2, 3], lost_samples=6, recovered=0)
    assert flow.ledger.events()["rolled_back"] == 6
    assert flow.online.resume(position).lost_samples == 0, "counted once"
    for step in (2, 3, 4):
        used += train(flow, step)
    assert sorted(used) == list("abcdefg")
    assert places(flow) == {"generated": 14, "trained": 14}


def test_after_a_power_loss_what_the_checkpoint_used_is_not_used_again(tmp_path):
    """Redis wakes up some moves behind the checkpoint: with a copy of its files from before these moves."""
    server = EmbeddedRedis.start(tmp_path / "redis")
    address = FlowAddress(
        server.url, "power", BufferConfig(), groups_per_step=1, groups_per_version=1, group_size=2, timeout_s=20.0
    )
    flow = Flow(address)
    buffered(flow, *"abc")
    flow.work.push(group_of("open"))
    (claim,) = flow.work.claim("executor-0", 1)
    flow.work.ack("executor-0", claim, PASS)
    time.sleep(0.1)  # the append-only file is written before the answer, so it holds all this
    shutil.copytree(tmp_path / "redis" / "appendonlydir", tmp_path / "earlier")

    grade_all(flow)
    assert flow.work.push(group_of("later"))
    grade_all(flow)
    used = train(flow, 1) + train(flow, 2, groups=4)
    assert used == ["a", "b", "c", "open", "later"]
    position = BufferPosition.from_json(flow.online.position().to_json())
    os.kill(server.pid, signal.SIGKILL)
    while server.running():
        time.sleep(0.01)
    shutil.rmtree(tmp_path / "redis" / "appendonlydir")
    shutil.copytree(tmp_path / "earlier", tmp_path / "redis" / "appendonlydir")
    again = EmbeddedRedis.start(tmp_path / "redis")
    try:
        assert places(flow) == {"generated": 8, "queued": 1, "waiting": 1, "buffered": 6}
        assert flow.online.resume(position).recovered == 4
        assert places(flow)["trained"] == 6
        grade_all(flow)
        assert places(flow) == {"generated": 8, "trained": 8}, "the open group ends as trained when it is complete"
        assert flow.work.push(group_of("later")), "made again by its actor: ignored"
        buffered(flow, "new")
        assert train(flow, 3) == ["new"]
        assert {row.step for row in flow.telemetry.archived().items if row.group_id != "new"} == {1, 2}
    finally:
        flow.close()
        again.stop()


def test_visits_of_a_dead_actor_are_its_own_and_those_of_a_released_one_come_first(flow):
    control = flow.control
    assert control.next_visits(3, "actor-0") == [0, 1, 2] and control.next_visits(2, "actor-1") == [3, 4]
    flow.work.push(group_of(control.visit_id(1)), "actor-0")
    restarted = Flow(flow.address)
    assert restarted.control.next_visits(3, "actor-0") == [0, 2, 5], "what was pushed is not visited again"
    restarted.close()
    flow.online.release("actor-1")
    assert control.next_visits(1, "actor-2") == [3]
    for visit in (0, 2, 5):
        flow.work.push(group_of(control.visit_id(visit)), "actor-0")
    assert control.next_visits(3, "actor-0") == [4, 6, 7]


def test_a_run_that_goes_on_finds_nothing_held_or_reserved(make_flow):
    flow = make_flow(max_staleness=0, groups_per_version=3, lease_s=3600)
    assert flow.online.admit("actor-0", 3).groups == 3
    visits = flow.control.next_visits(3, "actor-0")
    flow.work.push(group_of(flow.control.visit_id(visits[0])), "actor-0")
    assert len(flow.work.claim("executor-0", 2)) == 2
    flow.evaluations.request("step-000000", 0, [["p"]])
    assert flow.evaluations.next_chunk("actor-0") is not None

    assert flow.resume() == 2
    assert places(flow) == {"generated": 2, "queued": 2}
    assert flow.online.admit("another", 9).groups == 2
    assert flow.control.next_visits(3, "another") == [visits[1], visits[2], 3]
    assert [claim.tries for claim in flow.work.claim("executor-9", 9)] == [0, 0], "an ended run is no failed try"
    assert flow.evaluations.next_chunk("another").problem_ids == ["p"]
