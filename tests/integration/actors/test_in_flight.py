"""The actor's loop around an engine that writes token by token: versions that change on the way, and requests that are
given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.stall_clock import StallTimeout
from tests.support.actor_run import Run
from tests.support.engines import ScriptedEngine
from tests.support.policies import policy_of

ONE = {"actors": {"problems_per_batch": 2, "samples_per_problem": 2, "greedy": False}}


@pytest.fixture
def start(redis_server: EmbeddedRedis, request: pytest.FixtureRequest) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(name: str = "", lengths: Callable[[int], int] = lambda number: 6, **parts: Any) -> Run:
        engine = ScriptedEngine(policy_of("llama", 12), lengths)
        name = name or f"{request.node.name}-{len(runs)}"
        runs.append(Run(redis_server.url, name, engine, **(ONE | parts)))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


def _engine(run: Run) -> ScriptedEngine:
    assert isinstance(run.engine, ScriptedEngine)
    return run.engine


def _write(run: Run, ticks: int) -> None:
    engine = _engine(run)
    wanted = engine.ticks + ticks
    engine.allow(ticks)
    run.until(lambda: engine.ticks == wanted)


def test_a_version_that_comes_on_the_way_writes_the_rest_of_each_program(start: Callable[..., Run]) -> None:
    run = start()
    engine = _engine(run)
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    for version, ticks in ((0, 2), (1, 1), (2, 3)):
        run.source.publish(version, seed=version)
        run.until(lambda expected=version: engine.version == expected)
        _write(run, ticks)
    run.until(lambda: run.flow.work.length() == 4)
    programs = run.take()
    for program in programs:
        assert [(each.version, each.first_token) for each in program.versions] == [(0, 0), (1, 2), (2, 3)]
        assert list(program.token_ids) == [engine.TOKEN + version for version in (0, 0, 1, 2, 2, 2)]
    assert len({program.id for program in programs}) == 4 and run.source.acknowledged == [0, 1, 2]
    assert run.worker.version == 2 and run.flow.ledger.check() is None


def test_a_group_is_pushed_as_soon_as_it_is_whole(start: Callable[..., Run]) -> None:
    run = start(lengths=lambda number: 2 + 4 * (number % 2))
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    _write(run, 2)
    run.until(lambda: run.flow.work.length() == 2)
    assert _engine(run).unfinished() == 1
    assert {len(program.token_ids) for program in run.take()} == {2}
    _write(run, 4)
    run.until(lambda: run.flow.work.length() == 2)
    assert {len(program.token_ids) for program in run.take()} == {6}


def test_an_evaluation_is_of_one_version_whatever_comes_on_the_way(start: Callable[..., Run]) -> None:
    run = start()
    engine = _engine(run)
    run.source.publish(0, seed=1)
    run.flow.evaluations.request("step-000000", 0, [["held-0", "held-1"]], 2)
    _write(run, 3)
    run.source.publish(1, seed=2)
    _write(run, 3)
    run.until(lambda: run.flow.evaluation_work.length() == 4)
    programs = run.take("evaluation_work")
    assert {tuple((each.version, each.first_token) for each in program.versions) for program in programs} == {((0, 0),)}
    run.until(lambda: engine.version == 1)


def test_a_stop_gives_up_what_is_under_way_and_the_next_actor_writes_it(start: Callable[..., Run]) -> None:
    run = start(name="given-up")
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    _write(run, 1)
    run.stop.set()
    run.thread.join(20)
    engine = _engine(run)
    assert not run.thread.is_alive() and run.error is None
    assert sorted(engine.aborted) == ["00000000", "00000001"] and engine.closed and run.flow.work.length() == 0
    again = start(name="given-up")
    again.source.publish(0, seed=1)
    _write(again, 6)
    again.until(lambda: again.flow.work.length() == 4)
    assert {program.group_id for program in again.take()} == {"00000000", "00000001"}
    assert again.flow.ledger.check() is None


def test_an_engine_that_ends_nothing_ends_the_run(start: Callable[..., Run]) -> None:
    run = start(run={"stall_timeout_s": 4.0})
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.thread.join(40)
    assert isinstance(run.error, StallTimeout) and "engine of actor-0 has computed nothing for 4 s" in str(run.error)


def test_an_engine_that_samples_is_waited_for_and_shows_life(start: Callable[..., Run]) -> None:
    run = start(lengths=lambda number: 1000, run={"stall_timeout_s": 12.0})
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    for token in range(1, 6):
        time.sleep(3.2)  # five of these are beyond the bound, each is longer than the time between two heartbeats
        _write(run, 1)
        run.until(lambda expected=token: run.flow.control.heartbeats("actor") >= (expected,))
    assert run.thread.is_alive() and run.flow.work.length() == 0
    run.thread.join(60)
    assert isinstance(run.error, StallTimeout) and "has computed nothing for 12 s" in str(run.error)
