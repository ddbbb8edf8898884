"""Pacing: admitted actors neither overproduce nor starve the learner."""

from __future__ import annotations

import random
from collections import deque

import pytest

from tests.support.buffer_programs import PASS, buffered, fates, grade_all, group_of, places


def test_an_actor_is_admitted_up_to_the_bound_and_told_whom_it_waits_for(make_flow):
    flow = make_flow(max_staleness=1, groups_per_step=2, groups_per_version=2)
    first = flow.online.admit("actor-0", 3)
    assert (first.granted, first.groups, first.reason, first.version) == (True, 3, "", -1)
    partly = flow.online.admit("actor-1", 3)
    assert (partly.granted, partly.groups) == (True, 1)
    refused = flow.online.admit("actor-2", 1)
    assert (refused.granted, refused.groups, refused.waits_for) == (False, 0, "actor")
    assert refused.reason == "4 of at most 4 groups are under way; waiting for the actor"
    assert flow.online.admit("actor-0", 3).groups == 3, "asking again sets the reservation"
    for name in "abc":
        flow.work.push(group_of(name), "actor-0")
    assert flow.online.admit("actor-2", 1).waits_for == "executor"
    grade_all(flow)
    assert flow.online.admit("actor-2", 1).waits_for == "learner"
    flow.online.release("actor-1")
    assert flow.online.admit("actor-2", 5).groups == 1


def test_what_a_version_consumed_counts_until_the_next_version_is_out(make_flow):
    flow = make_flow(max_staleness=0, groups_per_step=1, groups_per_version=2)
    assert flow.online.admit("actor-0", 9).groups == 2
    for name in "ab":
        flow.work.push(group_of(name), "actor-0")
    grade_all(flow)
    for step in (1, 2):
        flow.online.finish(step, fates(flow.online.draw(step, 1, 0)))
        assert flow.online.admit("actor-0", 9).groups == 0, "version 0 has had its two groups"
    assert flow.online.draw(3, 1, 1) is None
    admission = flow.online.admit("actor-0", 9)
    assert (admission.groups, admission.version) == (2, 1)
    for name in "cd":
        flow.work.push(group_of(name, version=1), "actor-0")
    grade_all(flow)
    for step in (3, 4):
        flow.online.finish(step, fates(flow.online.draw(step, 1, 1)))
    assert flow.online.admit("actor-0", 9).groups == 0
    assert flow.online.draw(5, 1, 1) is None
    assert flow.online.admit("actor-0", 9).groups == 2, "a learner that goes on without a new version is not waited for"


def test_admission_respects_the_room_in_the_buffer(make_flow):
    flow = make_flow(max_staleness=None, capacity=7)
    assert flow.online.admit("actor-0", 9).groups == 3
    buffered(flow, "a", "b")
    flow.online.draw(1, 2, 0)
    assert flow.online.admit("actor-0", 9).groups == 1


def test_what_evicts_and_drops_admits_always(make_flow):
    flow = make_flow(when_full="evict", when_stale="drop", max_staleness=0, capacity=4)
    assert flow.online.admit("actor-0", 1000).groups == 1000
    assert make_flow(when_full="evict", max_staleness=None, capacity=4).online.admit("actor-0", 1000).groups == 1000


def test_room_and_staleness_are_waited_for_each_by_itself(make_flow):
    for_room = make_flow(when_full="wait", when_stale="drop", max_staleness=0, capacity=8)
    assert for_room.online.admit("actor-0", 9).groups == 4
    fresh = make_flow(when_full="evict", when_stale="wait", max_staleness=1, capacity=4, groups_per_version=3)
    admission = fresh.online.admit("actor-0", 9)
    assert (admission.groups, admission.reason) == (6, "0 of at most 6 groups are under way; waiting for the learner")
    buffered(fresh, *"abc")
    assert places(fresh)["evicted"] == 2


@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize(
    ("staleness", "publish_every", "capacity", "fill", "refresh", "sampled", "uses"),
    [
        (0, 1, 100, 0, 1, 2, 1),
        (0, 3, 100, 0, 1, 2, 1),
        (2, 1, 100, 0, 1, 2, 1),
        (1, 2, 8, 0, 1, 2, 1),
        (2, 1, 100, 50, 1, 3, 1),
        (None, 1, 11, 11, 4, 3, 1),
        (1, 1, 9, 9, 1, 3, 1),
        (0, 1, 100, 0, 1, 2, 2),
        (3, 1, 8, 0, 1, 2, 3),
        (None, 1, 12, 0, 4, 3, 2),
    ],
)
def test_paced_actors_never_deadlock_nor_evict_and_in_order_nothing_is_stale(
    make_flow, staleness, publish_every, capacity, fill, refresh, sampled, uses, faults
):
    per_step, steps = 2, 8
    flow = make_flow(
        max_staleness=staleness,
        when_stale="wait",
        capacity=capacity,
        fill_before_start=fill,
        refresh_steps=refresh,
        max_uses=uses,
        work_capacity=2 * sampled,
        group_size=sampled,
        groups_per_step=per_step,
        groups_per_version=per_step * publish_every,
    )
    rng = random.Random(str((staleness, publish_every, capacity)))
    admitted, made, step, lag = 0, 0, 1, []
    queue: deque = deque()
    idle = 0
    while step <= steps:
        # Any order of moves, none of which waits for another: only if all three are stuck is there a deadlock.
        move = rng.choice(["actor", "executor", "executor", "learner"])
        version = (step - 1) // publish_every
        moved = False
        if move == "actor":
            if not admitted:
                admitted = flow.online.admit("actor-0", rng.randint(1, 4)).groups
            if admitted and flow.work.push(group_of(f"g{made}", sampled, version=version), "actor-0"):
                admitted, made, moved = admitted - 1, made + 1, True
        elif move == "executor":
            queue.extend(flow.work.claim("executor-0", rng.randint(1, 3)))
            if queue and faults and rng.random() < 0.4:
                flow.work.nack("executor-0", queue.popleft(), "out of luck")
                moved = True
            elif queue:
                moved = flow.work.ack("executor-0", queue.popleft(), PASS)
        else:
            groups = flow.online.draw(step, per_step, version)
            if groups:
                lag += [version - sample.program.versions[0].version for group in groups for sample in group.samples]
                flow.online.finish(step, fates(groups))
                step, moved = step + 1, True
        idle = 0 if moved else idle + 1
        assert idle < 60, f"stuck at step {step}: {places(flow)}, {flow.online.admit('actor-0', 1)}"
    counts = places(flow)
    assert counts.get("evicted", 0) == 0
    if uses == 1:  # several uses need too few programs for a dead letter in every case
        assert (counts.get("dead_letter", 0) > 0) == faults
    if not fill and not faults:
        assert counts.get("stale", 0) == 0
        assert staleness is None or max(lag) <= staleness
