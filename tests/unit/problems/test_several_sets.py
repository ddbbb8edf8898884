"""Several sets as one: ids, weights, what is held out of them, and programs for supervised training."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from rltf.actors.visits import Visits
from rltf.config import ProblemsConfig, UserError
from rltf.problems import corpus_of, load_problem_split, load_problems
from tests.support.problem_files import GOOD, lines


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """SPECs of six problems with a solution and of two without."""
    first = [{"id": f"a{number}", **GOOD, "solutions": [f"print({number})"]} for number in range(6)]
    second = [{"id": f"b{number}", **GOOD, "question": f"Echo {number}."} for number in range(2)]
    return f"jsonl:{lines(tmp_path, *first, name='a.jsonl')}", f"jsonl:{lines(tmp_path, *second, name='b.jsonl')}"


def test_sets_are_joined_by_commas_and_may_have_options(two: tuple[str, str]) -> None:
    loaded = load_problems(f"{two[0]},ids=a1+a3,{two[1]}")
    assert [problem.id for problem in loaded] == ["a1", "a3", "b0", "b1"]
    assert [part.name for part in loaded.parts] == [f"{two[0]},ids=a1+a3", two[1]] and loaded.shares == []
    with pytest.raises(UserError, match=f"a0 is in {two[0]} and in {two[0]},ids=a0; leave it out of one with ids="):
        load_problems(f"{two[0]},{two[0]},ids=a0")
    with pytest.raises(UserError, match="starter/.* is in starter and in starter"):
        load_problems("starter,starter")


def test_weights_are_whole_numbers_in_the_same_proportion(two: tuple[str, str]) -> None:
    loaded = load_problems(f"{two[0]},weight=0.75,{two[1]},weight=0.25")
    assert [(weight, len(ids)) for weight, ids in loaded.shares] == [(3, 6), (1, 2)]
    assert [weight for weight, _ in loaded.sample(7).shares] == [3, 1]
    for spec, sentence in {
        f"{two[0]},weight=3,{two[1]}": "weight must be given to each of the sets, or to none",
        f"{two[0]},weight=0,{two[1]},weight=1": "weight must be a number from 0.01 to 100",
        f"{two[0]},weight=much,{two[1]},weight=1": "weight must be a number from 0.01 to 100",
        f"{two[0]},weight=0.001,{two[1]},weight=1": "with at most two decimals",
        f"{two[0]},weight=3": "weight says how often a set is visited beside others, and there is no other",
    }.items():
        with pytest.raises(UserError, match=sentence):
            load_problems(spec)


def test_visits_have_the_shares_in_any_stretch_and_are_the_same_from_any_point() -> None:
    sets = {3: [f"a{number}" for number in range(6)], 1: ["b0", "b1"], 2: ["c0", "c1", "c2"]}
    ids = [problem for one in sets.values() for problem in one]
    visits = Visits(ids, 7, list(sets.items()))
    order = [visits.problem(number) for number in range(6000)]
    for start in (0, 1, 4321):
        stretch = Counter(problem[0] for problem in order[start : start + 600])
        assert stretch == {"a": 300, "b": 100, "c": 200}
    assert {problem: count for problem, count in Counter(order).items() if problem[0] != "c"} == dict.fromkeys(
        ids[:8], 500
    )
    assert {count for problem, count in Counter(order).items() if problem[0] == "c"} == {666, 667}
    resumed = Visits(ids, 7, list(sets.items()))
    assert [resumed.problem(number) for number in (4999, 17, 5000)] == [order[number] for number in (4999, 17, 5000)]
    other = Visits(ids, 8, list(sets.items()))
    assert [other.problem(number) for number in range(60)] != order[:60]


def test_what_is_held_out_is_not_visited(two: tuple[str, str]) -> None:
    config = ProblemsConfig(train=f"{two[0]},weight=1,{two[1]},weight=1", held_out="0.25")
    split = load_problem_split(config, 0)
    assert split.held_out is not None
    held_out = {problem.id for problem in split.held_out}
    visited = {problem for _, ids in split.train.shares for problem in ids}
    assert visited == {problem.id for problem in split.train} and not visited & held_out
    assert len(visited) + len(held_out) == 8
    with pytest.raises(UserError, match="every problem is evaluated alike, leave out weight"):
        load_problem_split(ProblemsConfig(train="starter", held_out=f"{two[0]},weight=1,{two[1]},weight=2"), 0)


def test_programs_for_supervised_training_come_from_the_sets_that_have_them(two: tuple[str, str]) -> None:
    rng = random.Random(0)
    corpus = corpus_of(load_problems(f"{two[0]},{two[1]}"))
    assert {corpus.draw(rng)[1] for _ in range(200)} == {f"print({number})" for number in range(6)}
    mixed = corpus_of(load_problems(f"{two[0]},weight=1,starter,weight=3"))
    shares = Counter(mixed.draw(rng)[1] in {f"print({number})" for number in range(6)} for _ in range(1000))
    assert 180 < shares[True] < 320
    with pytest.raises(UserError, match="none of its problems has a solution"):
        corpus_of(load_problems(f"{two[1]},ids=b0,{two[1]},ids=b1"))
