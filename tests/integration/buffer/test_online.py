"""The online buffer: eviction, staleness, snapshots, draws by step, fates, resumed learners."""

from __future__ import annotations

import msgspec
import pytest

from rltf.buffer.flow import Flow
from rltf.buffer.online_buffer import BufferPosition, Resumed, StepFinished
from tests.support.buffer_programs import PASS, buffered, fates, grade_all, group_of, names, places


def test_the_full_buffer_evicts_its_oldest_groups_whole_and_counts_them(make_flow):
    flow = make_flow(capacity=7, when_stale="drop", max_staleness=None)
    buffered(flow, "a", "b", "c", "d", "e")
    assert places(flow) == {"generated": 10, "buffered": 6, "evicted": 4}
    assert flow.ledger.events()["groups_evicted"] == 2
    assert names(flow.online.draw(1, 3, 0)) == ["c", "d", "e"]


def test_what_the_learner_is_using_is_not_evicted(make_flow):
    flow = make_flow(capacity=4, when_stale="drop")
    buffered(flow, "a", "b")
    drawn = flow.online.draw(1, 2, 0)
    buffered(flow, "c")
    assert places(flow) == {"generated": 6, "buffered": 4, "evicted": 2}
    assert flow.online.draw(1, 2, 0) == drawn
    assert flow.online.finish(1, fates(drawn)) == 4
    buffered(flow, "d")
    assert places(flow) == {"generated": 8, "buffered": 2, "evicted": 2, "trained": 4}


def test_stale_groups_are_set_aside_at_the_draw(make_flow):
    flow = make_flow(max_staleness=2, when_stale="drop")
    buffered(flow, "old", version=1)
    buffered(flow, "edge", version=2)
    buffered(flow, "new", version=4)
    assert names(flow.online.draw(1, 2, 4)) == ["edge", "new"]
    assert places(flow) == {"generated": 6, "buffered": 4, "stale": 2}
    assert [(row.group_id, row.fate) for row in flow.telemetry.archived().items] == [("old", "stale")] * 2


def test_the_oldest_token_of_any_member_decides_the_staleness(make_flow):
    flow = make_flow(max_staleness=1, when_stale="drop")
    flow.work.push([*group_of("g", 1, version=5), group_of("g", 2, version=3)[1]])
    grade_all(flow)
    assert flow.online.draw(1, 1, 5) is None
    assert places(flow) == {"generated": 2, "stale": 2}


def test_with_refresh_1_the_oldest_version_comes_first(flow):
    buffered(flow, "b", version=1)
    buffered(flow, "a", version=0)
    buffered(flow, "c", version=1)
    assert names(flow.online.draw(1, 2, 1)) == ["a", "b"]
    assert names(flow.online.draw(2, 1, 1)) == ["c"]


def test_draw_is_the_same_for_every_rank_and_each_sample_is_used_once(flow):
    buffered(flow, "a", "b", "c")
    first = flow.online.draw(1, 2, 0)
    other_rank = Flow(flow.address)
    assert other_rank.online.draw(1, 2, 0) == first == flow.online.draw(1, 2, 0)
    other_rank.close()
    assert flow.online.draw(2, 2, 0) is None
    assert names(flow.online.draw(2, 1, 0)) == ["c"]
    assert flow.online.finish(1, {"a.0": "trained"}) == 1
    assert flow.online.draw(1, 2, 0) == first, "a late rank gets the same while the step is unfinished"
    assert flow.online.finish(1, fates(first)) == 3
    assert flow.online.finish(1, fates(first)) == 0
    with pytest.raises(StepFinished):
        flow.online.draw(1, 2, 0)
    assert places(flow) == {"generated": 6, "buffered": 2, "trained": 4}


def test_a_fate_for_what_was_not_drawn_is_refused_and_changes_nothing(flow):
    buffered(flow, "a", "b")
    flow.online.draw(1, 1, 0)
    for step, fate in ((1, {"a.0": "trained", "b.0": "trained"}), (2, {"a.0": "trained"}), (2, {})):
        with pytest.raises(KeyError):
            flow.online.finish(step, fate)
    assert places(flow) == {"generated": 4, "buffered": 4}


def test_nothing_is_drawn_before_the_buffer_was_filled_once(make_flow):
    flow = make_flow(fill_before_start=6, refresh_steps=50)
    buffered(flow, "a", "b")
    assert flow.online.draw(1, 1, 0) is None
    buffered(flow, "c")
    assert len(flow.online.draw(1, 1, 0)) == 1
    assert len(flow.online.draw(2, 1, 0)) == 1


def test_a_fill_that_whole_groups_cannot_reach_does_not_wait_for_ever(make_flow):
    flow = make_flow(capacity=8, fill_before_start=8, group_size=3, when_stale="drop")
    for number in range(3):
        flow.work.push(group_of(f"g{number}", 3))
        grade_all(flow)
    assert flow.online.length() == 6
    assert flow.online.draw(1, 1, 0) is not None


def visits(flow: Flow, names: range, sampled: int) -> None:
    for number in names:
        flow.work.push(group_of(f"g{number}", sampled, greedy=True))
    grade_all(flow)


@pytest.mark.parametrize(
    ("capacity", "fill", "sampled"), [(64, 64, 4), (66, 64, 4), (64, 61, 4), (20, 20, 20), (7, 7, 3)]
)
def test_capacity_and_fill_count_what_is_trained_on(make_flow, capacity, fill, sampled):
    groups = capacity // sampled
    shape = {"group_size": sampled + 1, "greedy_per_group": 1, "groups_per_step": 1}
    flow = make_flow(
        capacity=capacity, fill_before_start=fill, when_full="evict", when_stale="drop", max_staleness=None, **shape
    )
    visits(flow, range(groups - 1), sampled)
    assert flow.online.draw(1, 1, 0) is None, "greedy programs fill nothing"
    visits(flow, range(groups - 1, groups), sampled)
    full = {"generated": groups * (sampled + 1), "buffered": groups * (sampled + 1)}
    assert places(flow) == full, "nor do they put a sample out"
    assert flow.online.draw(1, 1, 0) is not None
    visits(flow, range(groups, groups + 3), sampled)
    assert flow.ledger.counts()["buffered"] == full["buffered"] and flow.ledger.events()["groups_evicted"] == 3
    assert flow.ledger.check() is None


def test_actors_are_admitted_for_as_many_samples_to_train_on_as_the_buffer_holds(make_flow):
    shape = {"group_size": 5, "greedy_per_group": 1}
    assert (
        make_flow(capacity=64, when_full="wait", max_staleness=None, **shape).online.admit("actor-0", 100).groups == 16
    )


def test_a_snapshot_of_a_full_buffer_lasts_until_the_next_is_due(make_flow):
    shape = {"group_size": 5, "greedy_per_group": 1}
    flow = make_flow(capacity=64, fill_before_start=64, when_full="evict", refresh_steps=8, max_staleness=None, **shape)
    visits(flow, range(16), 4)
    drawn = []
    for step in range(1, 10):
        groups = flow.online.draw(step, 2, 0)
        drawn.append({group.id for group in groups})
        flow.online.finish(step, fates(groups))
        visits(flow, range(14 + 2 * step, 16 + 2 * step), 4)
    assert set().union(*drawn[:8]) == {f"g{number}" for number in range(16)} and not drawn[8] & set().union(*drawn[:8])
    counts = places(flow)
    assert counts["trained"] == 9 * 8 and counts["baseline"] == 9 * 2 and "evicted" not in counts


def draw_all(flow: Flow, steps: int) -> list[list[str]]:
    drawn = []
    for step in range(1, steps + 1):
        groups = flow.online.draw(step, 2, 0)
        drawn.append(names(groups))
        flow.online.finish(step, fates(groups))
    return drawn


def test_a_snapshot_is_a_seeded_permutation_of_what_was_buffered(make_flow):
    orders = []
    for seed in (1, 1, 2):
        flow = make_flow(refresh_steps=4, seed=seed)
        buffered(flow, *"abcdefgh")
        first = names(flow.online.draw(1, 2, 0))
        buffered(flow, *"ijkl")
        rest = draw_all(flow, 4)
        assert rest[0] == first
        orders.append([name for step in rest for name in step])
        assert sorted(orders[-1]) == list("abcdefgh"), "what came after the snapshot waits for the next"
        assert sorted(name for step in (5, 6) for name in names(flow.online.draw(step, 2, 0))) == list("ijkl")
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list("abcdefgh")


def test_a_snapshot_that_runs_out_is_taken_anew(make_flow):
    flow = make_flow(refresh_steps=50, capacity=8, when_stale="drop")
    buffered(flow, *"abcd")
    assert len(draw_all(flow, 1)) == 1
    buffered(flow, *"efgh")
    assert flow.ledger.counts()["evicted"] == 4
    groups = flow.online.draw(2, 3, 0)
    assert len(groups) == 3 and set(names(groups)) <= set("efgh")
    flow.online.finish(2, fates(groups))
    assert flow.online.draw(3, 2, 0) is None
    assert places(flow) == {"generated": 16, "trained": 10, "evicted": 4, "buffered": 2}


def test_a_resumed_learner_uses_no_sample_twice(flow):
    buffered(flow, *"abcdef")
    trained = flow.online.draw(1, 1, 0)
    flow.online.finish(1, fates(trained))
    flow.online.draw(2, 1, 1)
    finished = flow.online.draw(3, 1, 2)
    flow.online.finish(3, fates(finished))
    unfinished = flow.online.draw(4, 1, 2)
    torn = flow.online.draw(5, 1, 2)
    flow.online.finish(5, {"e.0": "trained"})
    assert names(torn) == ["e"]
    assert flow.online.resume(BufferPosition(step=2)) == Resumed(
        returned=1, torn=1, lost_steps=[3], lost_samples=2, recovered=0
    )
    assert places(flow) == {"generated": 12, "trained": 2 + 2 + 2 + 1, "evicted": 1, "buffered": 4}
    assert flow.online.resume(BufferPosition(step=2)) == Resumed(0, 0, [], 0, 0)
    assert flow.online.admit("actor-0", 1).version == -1
    again = flow.online.draw(3, 2, 0)
    assert sorted(names(again)) == sorted([*names(unfinished), "f"])
    with pytest.raises(StepFinished):
        flow.online.draw(2, 1, 0)
    flow.online.finish(3, fates(again))
    assert places(flow) == {"generated": 12, "trained": 11, "evicted": 1}
    by_step = [(row.id, row.step) for row in flow.telemetry.archived().items if row.fate == "trained"]
    assert len({name for name, _ in by_step}) == len(by_step) == 11


def test_a_sample_is_used_max_uses_times_and_its_fate_is_its_best_use(make_flow):
    flow = make_flow(max_uses=3, capacity=6)
    buffered(flow, "a", "b")
    assert names(flow.online.draw(1, 1, 0)) == ["a"]
    flow.online.finish(1, {"a.0": "no_signal", "a.1": "no_signal"})
    assert places(flow) == {"generated": 4, "buffered": 4}, "what can be drawn again has no fate yet"
    assert names(flow.online.draw(2, 2, 0)) == ["b", "a"], "what was used waits behind what was not"
    flow.online.finish(2, {"a.0": "trained", "a.1": "no_signal", "b.0": "trained", "b.1": "trained"})
    flow.online.finish(2, {"a.0": "trained"})
    buffered(flow, "c")
    flow.online.finish(3, fates(flow.online.draw(3, 2, 0), "no_signal"))
    assert places(flow) == {"generated": 6, "buffered": 4, "trained": 1, "no_signal": 1}
    assert names(flow.online.draw(4, 2, 0)) == ["c", "b"]
    assert flow.online.resume(BufferPosition(step=4)).returned == 0, "the checkpoint holds what its step trained on"
    assert places(flow) == {"generated": 6, "buffered": 2, "trained": 3, "no_signal": 1}
    buffered(flow, "d", "e", "f")
    assert places(flow) == {"generated": 12, "buffered": 6, "trained": 5, "no_signal": 1}, "evicted, but it was used"
    assert flow.ledger.events()["groups_evicted"] == 1
    archived = flow.telemetry.archived().items
    assert [(row.id, row.fate) for row in archived] == [
        ("a.0", "trained"), ("a.1", "no_signal"), ("b.0", "trained"), ("b.1", "trained"), ("c.0", "trained"), ("c.1", "trained"),
    ]  # fmt: skip


def test_stale_after_a_use_is_used(make_flow):
    flow = make_flow(max_uses=2, max_staleness=0, when_stale="drop")
    buffered(flow, "a", "b")
    flow.online.finish(1, fates(flow.online.draw(1, 1, 0), "no_signal"))
    assert flow.online.draw(2, 1, 1) is None
    assert places(flow) == {"generated": 4, "no_signal": 2, "stale": 2}


def test_a_step_may_have_more_groups_than_lua_has_arguments(make_flow):
    flow = make_flow(capacity=20_000)
    names_ = [f"g{number}" for number in range(8001)]
    flow.client.hset(flow.online._keys.base + "train:draws", 1, msgspec.msgpack.encode(names_))
    status, *drawn = flow.online._scripts.run("draw", 1, 8001, 0)
    assert status == b"drawn" and [name.decode() for name in drawn] == names_


def test_a_group_may_have_more_programs_than_lua_has_arguments(make_flow):
    size = 8100
    flow = make_flow(capacity=size, work_capacity=size, group_size=size, groups_per_step=1, max_uses=2)
    assert flow.work.push(group_of("a", size))
    claims = flow.work.claim("executor-0", size)
    flow.work.ack_many("executor-0", [(claim, PASS) for claim in claims])
    for step in (1, 2):
        assert flow.online.finish(step, fates(flow.online.draw(step, 1, 0))) == size
    assert places(flow) == {"generated": size, "trained": size}
