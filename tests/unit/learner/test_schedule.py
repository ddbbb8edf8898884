"""What is due when, as tables: a step's kind and learning rate, versions, evaluations, checkpoints, the end; no Redis, no
model.
"""

from __future__ import annotations

from typing import Any

import pytest

from rltf.config import Config
from rltf.learner.schedule import Position, Resumption, Schedule, evaluations_since_best, is_supervised


def config(**fields: Any) -> Config:
    """Fields of the learner, and those of other parts as `evaluation__every`."""
    tree: dict[str, dict[str, Any]] = {"learner": {"steps": 8}, "evaluation": {"every": 0}, "checkpoint": {"every": 0}}
    for key, value in fields.items():
        part, _, name = key.rpartition("__")
        tree[part or "learner"][name] = value
    return Config.model_validate(tree)


def walk(settings: Config, position: Position) -> list[str]:
    """A word for each step from `position` to the end.

    Before the step p: a version is published, e: evaluated, c: and checkpointed; R or S is its kind; after it
    E: an evaluation waits for the next version, C: a checkpoint.
    """
    schedule, words = Schedule(settings), []
    while not schedule.is_over(position):
        before = schedule.before(position)
        assert before.step == position.step + 1
        word = "p" * before.publish + "e" * bool(before.evaluate) + "c" * before.checkpoint + "SR"[before.reinforce]
        if before.publish:
            position.publish(position.version + 1)
        if before.evaluate:
            position.due = []
        position.take_step(before.reinforce, position.seconds + 1.0)
        if names := schedule.evaluates_after(position):
            position.evaluate(names)
            word += "E"
        words.append(word + "C" * schedule.checkpoints_after(position))
    return words


ALL: dict[str, Any] = {"evaluation__every": 2, "checkpoint__every": 3}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "R pR pR pR pR pR pR pR"),
        ({"publish_every": 3}, "R R R pR R R pR R"),
        ({"publish_every": 0}, "R R R R R R R R"),
        ({"supervised_ratio": 1}, "R S pR S pR S pR S"),
        ({"supervised_ratio": 2}, "R S S pR S S pR S"),
        ({"supervised_ratio": 0.5}, "R pR S pR pR S pR pR"),
        ({"supervised_ratio": 1, "publish_every": 2}, "R S R S pR S R S"),
        ({"supervised_ratio": 1, "supervised_mixing": "micro_batch"}, "R pR pR pR pR pR pR pR"),
        ({"objective": "supervised"}, "S S S S S S S S"),
        # An evaluation is of the next version, with a checkpoint of its own, for which that of the same step is left
        # out; at the end both come anyway.
        (ALL, "R pRE pecRC pRE pecR pRE pecR pRE"),
        (ALL | {"checkpoint__every": 2}, "R pRE pecR pRE pecR pRE pecR pRE"),
        (ALL | {"checkpoint__every": 1}, "RC pRE pecRC pRE pecRC pRE pecRC pRE"),
        (ALL | {"checkpoint__best": False}, "R pRE peRC pRE peR pREC peR pRE"),
        (ALL | {"publish_every": 3}, "R RE R pecRE R RE pecR RE"),
        (ALL | {"publish_every": 0}, "R R RC R R RC R R"),
        (ALL | {"supervised_ratio": 1}, "R SE pecRC SE pecR SE pecR SE"),
        (ALL | {"objective": "supervised"}, "S SE pecSC SE pecS SE pecS SE"),
        (ALL | {"objective": "supervised", "publish_every": 0}, "S SE pecSC SE pecS SE pecS SE"),
    ],
)
def test_what_is_due_at_each_step(fields: dict[str, Any], words: str) -> None:
    assert walk(config(**fields), Position(version=0)) == words.split()


@pytest.mark.parametrize(
    ("fields", "position", "words"),
    [
        (ALL, {"step": 4, "since_published": 1, "due": [""]}, "pecR pRE pecR pRE"),
        (ALL, {"step": 4, "since_published": 0}, "R pRE pecR pRE"),
        (ALL | {"supervised_ratio": 1}, {"step": 5, "since_published": 1}, "SE pecR SE"),
        (ALL, {"step": 8, "since_published": 1}, ""),
        ({"max_seconds": 3.0}, {"seconds": 1.0}, "R pR"),
        ({"max_seconds": 3.0}, {"seconds": 3.0}, ""),
        # Ended by two evaluations; a resumption with a longer patience, or none, goes on.
        (ALL | {"evaluation__patience": 2}, {"step": 6, "stopped": 2}, ""),
        (ALL | {"evaluation__patience": 1}, {"step": 6, "stopped": 2}, ""),
        (ALL | {"evaluation__patience": 3}, {"step": 6, "stopped": 2}, "R pRE"),
        (ALL, {"step": 6, "stopped": 2}, "R pRE"),
    ],
)
def test_what_is_due_after_a_checkpoint(fields: dict[str, Any], position: dict[str, Any], words: str) -> None:
    assert walk(config(**fields), Position(version=1, **position)) == words.split()


@pytest.mark.parametrize(
    ("values", "since"),
    [([], 0), ([0.5], 0), ([0.5, 0.4], 1), ([0.5, 0.5, 0.5], 2), ([0.5, 0.4, 0.6, 0.1], 1), ([0.1, 0.2], 0)],
)
def test_an_evaluation_as_good_as_the_best_is_no_better(values: list[float], since: int) -> None:
    assert evaluations_since_best(values) == since


@pytest.mark.parametrize("evaluate", [0, 2])
def test_a_position_of_before_patience_and_sets_is_read(evaluate: int) -> None:
    position = Position(step=3, due=[""] if evaluate else [], evaluated=[(0, "step-000000")])
    facts = position.to_facts() | {"evaluate": evaluate}
    del facts["stopped"], facts["due"]
    assert Position.from_facts(facts) == position


def test_each_set_is_due_at_its_own_steps_and_none_is_lost_until_a_version_is_published() -> None:
    sets = [{"name": "often", "problems": "starter", "every": 1}, {"name": "never", "problems": "starter", "every": 0}]
    schedule = Schedule(config(evaluation__every=2, evaluation__sets=sets, publish_every=3, steps=9))
    position, asked = Position(version=0), {}
    while not schedule.is_over(position):
        before = schedule.before(position)
        if before.publish:
            position.publish(position.version + 1)
        if before.evaluate:
            asked[position.step], position.due = before.evaluate, []
        assert Position.from_facts(position.to_facts()) == position
        position.take_step(before.reinforce, 0.0)
        position.evaluate(schedule.evaluates_after(position))
    assert asked == {3: ("often", ""), 6: ("", "often")} and position.due == ["often", ""]
    # Two that wait are one: of the next version there is one evaluation of a set.
    position.evaluate(["often", "often"])
    assert position.due == ["often", ""]


def test_the_learning_rate_follows_the_steps_of_both_kinds() -> None:
    schedule = Schedule(config(learning_rate=1.0, warmup_steps=2, final_learning_rate=0.5, steps=5, supervised_ratio=1))
    rates = [schedule.before(Position(step=step)).learning_rate for step in range(5)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5])


@pytest.mark.parametrize(
    ("fields", "position", "published", "expected"),
    [
        # The weights are those of the newest version: it is published again under its number.
        ({}, {"version": 4, "since_published": 0}, 4, (3, "weights")),
        ({"publish_every": 2}, {"version": 4, "since_published": 1, "changed": True}, 4, (4, "weights")),
        ({"publish_every": 2}, {"version": 4, "since_published": 2, "changed": True}, 4, (4, "no")),
        # Versions after the checkpoint are lost with their weights; their numbers are not given again.
        ({}, {"version": 4, "since_published": 0}, 6, (6, "weights")),
        ({}, {"version": 4, "since_published": 1, "changed": True}, 6, (6, "no")),
        # Redis has lost its last second, and the checkpoint knows better.
        ({}, {"version": 4, "since_published": 0}, 3, (3, "weights")),
        ({}, {"version": 4, "since_published": 1, "changed": True}, 3, (4, "no")),
        ({"publish_every": 0}, {"version": 0, "since_published": 5, "changed": True}, 0, (0, "first policy")),
        ({"publish_every": 0}, {"version": 0, "since_published": 8, "changed": True}, 1, (2, "first policy")),
        ({"objective": "supervised"}, {"version": 2, "changed": True}, 2, (2, "no")),
        ({"objective": "supervised"}, {"version": 2}, 2, (1, "weights")),
        ({"objective": "supervised"}, {"version": 2}, 3, (3, "no")),
    ],
)
def test_the_version_that_a_resumed_learner_goes_on_with(
    fields: dict[str, Any], position: dict[str, Any], published: int, expected: tuple[int, Any]
) -> None:
    assert Schedule(config(**fields)).resumption(Position(**position), published) == Resumption(*expected)


@pytest.mark.parametrize(("ratio", "kinds"), [(0.0, "rrrrrr"), (1.0, "rsrsrs"), (2.0, "rssrss"), (0.5, "rrsrrs")])
def test_supervised_steps_are_spread_evenly(ratio: float, kinds: str) -> None:
    assert "".join("s" if is_supervised(step, ratio) else "r" for step in range(1, 7)) == kinds
