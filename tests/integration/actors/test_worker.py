import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rltf.actors.sampling_engine import SamplingEngine
from rltf.actors.visits import Visits
from rltf.buffer.control import Phase
from rltf.buffer.keys import Keys
from rltf.buffer.records import Program
from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.stall_clock import StallTimeout
from rltf.policy.encoding import decode_with_offsets, encode_prompt
from rltf.policy.log_probs import token_log_probs
from rltf.telemetry.recorder import Recorder, Row
from rltf.weights.loader import MAX_FAILURES, WeightLoader
from rltf.weights.manifest import ChecksumError
from tests.support.actor_run import HELD_OUT, TRAIN, Run, Source
from tests.support.batches import collate
from tests.support.buffer_programs import group_of
from tests.support.policies import policy_of


@pytest.fixture
def start(redis_server: EmbeddedRedis, request: pytest.FixtureRequest) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(**parts: dict[str, object]) -> Run:
        runs.append(Run(redis_server.url, f"{request.node.name}-{len(runs)}", **parts))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


def test_every_actor_visits_every_problem_once_per_epoch_in_one_seeded_order() -> None:
    ids = [f"p{index}" for index in range(20)]
    first, second = Visits(ids, seed=1), Visits(ids, seed=1)
    order = [first.problem(visit) for visit in range(60)]
    assert [second.problem(visit) for visit in reversed(range(60))] == order[::-1]
    epochs = [order[start : start + 20] for start in (0, 20, 40)]
    assert all(sorted(epoch) == sorted(ids) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != [
        Visits(ids, seed=2).problem(visit) for visit in range(20)
    ]


def test_programs_are_written_as_sampled_with_their_log_probs_offsets_and_version(start: Callable[..., Run]) -> None:
    run = start()
    run.flow.control.set_phase("training")
    run.until(lambda: "learner" in run.waited_for())  # no version yet
    assert run.flow.work.length() == 0
    run.source.publish(0, seed=1)
    # Two versions of two groups each may be under way: then the actor waits.
    run.until(lambda: run.flow.work.length() == 4 * 4)
    run.until(lambda: "executor" in run.waited_for())
    programs = run.take()
    assert len(programs) == 16 and len({program.id for program in programs}) == 16
    policy = policy_of("llama", 12, seed=1)
    groups: dict[str, list[Program]] = {}
    for program in programs:
        groups.setdefault(program.group_id, []).append(program)
        assert (program.text, program.offsets) == decode_with_offsets(policy, program.token_ids)
        assert program.prompt_ids == encode_prompt(policy, TRAIN[program.problem_id])
        assert [(run.version, run.first_token) for run in program.versions] == [(0, 0)]
        values = token_log_probs(
            policy.model, collate(policy, [list(program.prompt_ids)], [list(program.token_ids)])
        ).values[0]
        assert np.allclose(program.log_probs, values.detach().numpy(), atol=1e-4)
    assert [sum(program.greedy for program in group) for group in groups.values()] == [1, 1, 1, 1]
    visits = Visits(list(TRAIN), run.config.run.seed)
    assert [groups[key][0].problem_id for key in sorted(groups)] == [visits.problem(visit) for visit in range(4)]
    assert run.source.acknowledged == [0]
    assert run.flow.ledger.check() is None


def test_a_newer_version_is_loaded_before_the_next_programs_and_the_phase_is_kept(start: Callable[..., Run]) -> None:
    run = start()
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.until(lambda: run.flow.work.length() == 16)
    run.source.publish(1, seed=2)
    run.take()
    groups = run.flow.online.draw(0, 2, 0)
    assert groups is not None
    run.flow.online.finish(0, {s.program.id: "trained" for g in groups for s in g.members})
    assert run.flow.online.draw(1, 2, 1) is not None
    run.until(lambda: run.flow.work.length() > 0)
    run.flow.control.set_phase("final_evaluation")
    assert {run_.version for program in run.take() for run_ in program.versions} == {1}
    assert run.source.acknowledged == [0, 1]


def test_an_evaluation_comes_first_and_is_sampled_at_temperature_one_without_a_greedy_program(
    start: Callable[..., Run],
) -> None:
    run = start(actors={"problems_per_batch": 1, "samples_per_problem": 4, "greedy": True, "temperature": 0.5})
    run.source.publish(0, seed=1)
    run.flow.evaluations.request("step-000000", 0, [["held-0", "held-1"], ["held-2"]], 2)
    run.flow.evaluations.request("step-000001", 1, [["held-0"]], 2)
    run.until(lambda: run.flow.evaluation_work.length() == 6)
    programs = run.take("evaluation_work")
    assert sorted(program.problem_id for program in programs) == sorted([*HELD_OUT] * 2)
    assert {(p.purpose, p.label, p.temperature, p.top_p, p.greedy) for p in programs} == {
        ("evaluation", "step-000000", 1.0, 1.0, False)
    }
    run.until(lambda: run.flow.evaluations.is_complete("step-000000"))
    assert not run.flow.evaluations.is_complete("step-000001"), "its version was not there yet"
    run.source.publish(1, seed=2)
    run.until(lambda: run.flow.evaluation_work.length() == 2)
    assert {run_.version for program in run.take("evaluation_work") for run_ in program.versions} == {1}
    assert run.flow.work.length() == 0


@pytest.mark.parametrize("temperature", [0.5, 0])
def test_evaluations_have_sampling_settings_of_their_own_and_0_is_greedy(
    temperature: float, start: Callable[..., Run]
) -> None:
    settings = {"temperature": temperature, "top_p": 0.9, "samples": 1}
    run = start(evaluation=settings, actors={"temperature": 0.7, "top_p": 0.8})
    run.source.publish(0, seed=1)
    run.flow.evaluations.request("step-000000", 0, [["held-0", "held-1"]])
    run.until(lambda: run.flow.evaluation_work.length() == 2)
    programs = run.take("evaluation_work")
    assert {(one.temperature, one.top_p, one.greedy) for one in programs} == {
        (temperature or 1.0, 0.9, not temperature)
    }
    run.until(lambda: run.flow.evaluations.is_complete("step-000000"))
    results = run.flow.evaluations.results("step-000000")
    assert sorted(one.program.problem_id for one in results) == ["held-0", "held-1"]


def test_each_held_out_set_is_sampled_as_its_entry_says(start: Callable[..., Run]) -> None:
    greedy = {"name": "greedy", "problems": "starter", "temperature": 0, "samples": 1}
    run = start(evaluation={"temperature": 0.5, "top_p": 0.9, "sets": [greedy]})
    run.source.publish(0, seed=1)
    run.flow.evaluations.request("step-000000", 0, [["held-0", "held-1"]], 2)
    run.flow.evaluations.request("greedy:step-000000", 0, [["held-1"]])
    run.until(lambda: run.flow.evaluation_work.length() == 5)
    programs = run.take("evaluation_work")
    found = {(one.label, one.temperature, one.top_p, one.greedy) for one in programs}
    assert found == {("step-000000", 0.5, 0.9, False), ("greedy:step-000000", 1.0, 0.9, True)}
    run.until(lambda: run.flow.evaluations.is_complete("greedy:step-000000"))


def test_a_series_asked_for_in_parts_is_the_one_asked_for_at_once(start: Callable[..., Run]) -> None:
    run = start()
    run.source.publish(0, seed=1)
    for label, samples, first in (("all", 4, 0), ("begin", 1, 0), ("end", 3, 1)):
        run.flow.evaluations.request(label, 0, [["held-0"]], samples, first, "series")
    run.until(lambda: run.flow.evaluation_work.length() == 8)
    texts: dict[str, list[list[int]]] = {}
    for one in sorted(run.take("evaluation_work"), key=lambda one: one.id):
        texts.setdefault(one.label, []).append(list(one.token_ids))
    assert texts["begin"] + texts["end"] == texts["all"]


def pieces_of_work(run: Run, begin: int) -> list[str]:
    """Phases of writing, each as often as it came anew after a chunk or batch of two problems."""
    return [
        row["name"]
        for row in list(run.rows)[begin:]
        if row["kind"] == "phase" and row["name"] in ("evaluate", "generate")
    ]


CHUNKS = [[name] for name in HELD_OUT]


@pytest.mark.parametrize(("deterministic", "awaited"), [(False, False), (True, False), (False, True)])
def test_batches_for_training_come_between_the_chunks_of_an_evaluation(
    deterministic: bool, awaited: bool, start: Callable[..., Run]
) -> None:
    """Unless the run is deterministic, or the learner waits for the evaluation: then it is written first."""
    room = {"max_staleness": None, "when_stale": "drop"}
    run = start(buffer={} if deterministic else room, run={"deterministic": deterministic})
    run.flow.evaluations.request("step-000000", 0, CHUNKS, 2)
    run.flow.control.set_phase("training")
    run.flow.control.await_evaluation(awaited)
    run.source.publish(0, seed=1)
    run.until(lambda: run.flow.evaluations.progress("step-000000").written and run.flow.work.length() >= 8)
    run.until(lambda: len(pieces_of_work(run, 0)) >= 4)  # rows come a moment later
    first = deterministic or awaited
    expected = ["evaluate", "evaluate", "evaluate", "generate"] if first else ["evaluate", "generate"] * 2
    assert pieces_of_work(run, 0)[:4] == expected


def test_an_evaluation_goes_on_while_the_buffer_has_no_room(start: Callable[..., Run]) -> None:
    run = start()
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.until(lambda: run.flow.work.length() == 16 and "executor" in run.waited_for())
    run.flow.evaluations.request("step-000000", 0, CHUNKS, 2)
    run.until(lambda: run.flow.evaluations.progress("step-000000").written)
    assert run.flow.work.length() == 16 and run.flow.evaluation_work.length() == 6


@pytest.mark.parametrize("kept", [True, False])
def test_an_evaluation_is_of_its_version_though_training_has_gone_on(kept: bool, start: Callable[..., Run]) -> None:
    run = start(buffer={"max_staleness": None, "when_stale": "drop"})
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.until(lambda: run.flow.work.length() > 0)
    run.source.publish(1, seed=2)
    run.until(lambda: run.source.acknowledged[-1] == 1)
    if not kept:
        del run.source.versions[0]
    run.flow.evaluations.request("step-000000", 0, CHUNKS, 2)
    run.flow.evaluations.request("step-000001", 1, CHUNKS, 2)
    for label, version in (("step-000000", 0 if kept else 1), ("step-000001", 1)):
        run.until(lambda of=label: run.flow.evaluations.progress(of).written)
        policy = policy_of("llama", 12, seed=version + 1)
        for one in [one for one in run.take("evaluation_work") if one.label == label]:
            assert [(each.version, each.first_token) for each in one.versions] == [(version, 0)]
            batch = collate(policy, [list(one.prompt_ids)], [list(one.token_ids)])
            values = token_log_probs(policy.model, batch).values[0]
            assert np.allclose(one.log_probs, values.detach().numpy(), atol=1e-4), "and its weights wrote it"
    run.until(lambda: {one.versions[0].version for one in run.take(count=8)} == {1})


def test_what_is_pushed_of_a_chunk_is_not_written_again(start: Callable[..., Run]) -> None:
    run = start()
    run.flow.evaluations.request("step-000000", 0, [["held-0", "held-1"]], 2)
    pushed = group_of("before", 2, problem_id="held-0", purpose="evaluation", label="step-000000")
    assert run.flow.evaluation_work.push(pushed, "actor-0")
    run.source.publish(0, seed=1)
    run.until(lambda: run.flow.evaluations.progress("step-000000").chunks_done == 1)
    programs = run.take("evaluation_work")
    assert sorted(one.problem_id for one in programs) == ["held-0"] * 2 + ["held-1"] * 2

    def written() -> float:
        return sum(row["value"] for row in list(run.rows) if row["kind"] == "count" and row["name"] == "programs")

    run.until(lambda: written() >= 2)  # rows come a moment later
    assert written() == 2


def test_a_full_work_queue_stops_the_actor_and_the_wait_names_the_executor(start: Callable[..., Run]) -> None:
    run = start(buffer={"work_capacity": 10, "max_staleness": None})
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.until(lambda: "executor" in run.waited_for())
    assert run.flow.work.length() == 8
    run.take(count=8)
    run.until(lambda: run.flow.work.length() == 8)


def test_a_chunk_is_held_while_its_programs_wait_for_room(start: Callable[..., Run]) -> None:
    run = start(buffer={"work_capacity": 4, "lease_s": 3.0})
    run.flow.evaluations.request("step-000000", 0, [[*HELD_OUT]], 2)
    run.source.publish(0, seed=1)
    run.until(lambda: run.flow.evaluation_work.length() == 4 and "executor" in run.waited_for())

    def ends() -> list[tuple[bytes, float]]:
        return run.flow.client.zrange(Keys(run.flow.address.run, "evaluation").held, 0, -1, withscores=True)

    ((chunk, before),) = ends()
    run.until(lambda: ends()[0][1] > before)
    assert ends()[0][0] == chunk and run.flow.evaluation_work.length() == 4


def test_a_wait_that_lasts_too_long_ends_the_run_with_the_part_waited_for(start: Callable[..., Run]) -> None:
    run = start(run={"stall_timeout_s": 4.0}, buffer={"work_capacity": 10, "max_staleness": None})
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.thread.join(20)
    assert isinstance(run.error, StallTimeout)
    assert "actor-0 has waited 4 s for the executor; last seen: policy version 0, " in str(
        run.error
    ) and "queued" in str(run.error)


@pytest.mark.parametrize("phase", ["warm_start", "final_evaluation", "done"])
def test_outside_of_training_a_wait_is_bounded_too(start: Callable[..., Run], phase: Phase) -> None:
    run = start(run={"stall_timeout_s": 4.0})
    run.flow.control.set_phase(phase)
    if phase != "warm_start":
        run.source.publish(0, seed=1)
    run.thread.join(20)
    assert isinstance(run.error, StallTimeout)
    assert f"actor-0 has waited 4 s for the {'driver' if phase == 'done' else 'learner'}" in str(run.error)


def test_a_warm_start_may_take_as_long_as_the_learner_shows_life(start: Callable[..., Run]) -> None:
    run = start(run={"stall_timeout_s": 4.0})
    began = time.monotonic()
    while time.monotonic() < began + 6:
        run.flow.control.heartbeat("learner")
        assert run.thread.is_alive() and run.error is None
        time.sleep(0.02)
    run.thread.join(20)
    assert isinstance(run.error, StallTimeout) and "for the learner" in str(run.error)


def test_a_wait_goes_on_while_programs_get_anywhere(start: Callable[..., Run]) -> None:
    run = start(run={"stall_timeout_s": 4.0}, buffer={"work_capacity": 10, "max_staleness": None})
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.until(lambda: "executor" in run.waited_for() and run.flow.work.length() == 8)
    for _ in range(6):  # a program is taken and given back, and the queue stays full
        (claim,) = run.flow.work.claim("executor-0", 1)
        time.sleep(0.4)
        run.flow.work.nack("executor-0", claim, "the test wants it so", tried=False)
        time.sleep(0.4)
        assert run.thread.is_alive() and run.error is None
    run.thread.join(20)
    assert isinstance(run.error, StallTimeout) and "for the executor" in str(run.error)


def test_a_stop_ends_the_loop_from_a_wait(start: Callable[..., Run]) -> None:
    run = start()
    run.until(lambda: "learner" in run.waited_for())
    run.stop.set()
    run.thread.join(20)
    assert not run.thread.is_alive() and run.error is None


def test_a_corrupt_version_is_counted_and_never_loaded_and_a_good_one_after_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rltf.weights.loader.BACKOFF_S", 0.01)
    policy = policy_of("llama", 12, seed=3)
    before = policy.model.lm_head.weight.clone()
    source, rows = Source(), list[Row]()
    recorder = Recorder("actor-0", rows.extend, period_s=0)
    loader = WeightLoader(SamplingEngine(policy).load, source, recorder)
    source.publish(4, seed=1)
    source.versions[-1][1][0][17] ^= 1
    began = time.monotonic()
    while counted(rows) < MAX_FAILURES - 1:
        assert not loader.refresh()
    assert time.monotonic() - began >= 0.01 * (1 + 2 + 4), (
        "one failure follows another after a pause, a longer one each time"
    )
    assert loader.version == -1 and (policy.model.lm_head.weight == before).all() and not source.acknowledged
    source.versions[-1][1][0][17] ^= 1
    while not loader.refresh():
        pass
    assert loader.version == 4 and source.acknowledged == [4]
    source.publish(5, seed=2)
    source.versions[-1][1][0][17] ^= 1
    with pytest.raises(ChecksumError):
        while True:
            loader.refresh()
    assert loader.version == 4
    recorder.close()
    assert counted(rows) == 2 * MAX_FAILURES - 1


def test_a_version_that_is_evaluated_and_stays_corrupt_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltf.weights.loader.BACKOFF_S", 0.001)
    source = Source()
    loader = WeightLoader(SamplingEngine(policy_of("llama", 12, seed=3)).load, source, Recorder("actor-0"))
    source.publish(0, seed=1)
    source.publish(1, seed=2)
    source.versions[0][1][0][17] ^= 1
    while not loader.use(0):
        pass
    assert loader.version == 1 and loader.use(0) and source.acknowledged == [1]
    source.publish(2, seed=3)
    source.versions[-1][1][0][17] ^= 1
    with pytest.raises(ChecksumError, match="version 2"):  # there is no newer one in its place
        while True:
            loader.use(2)


def test_a_version_that_is_evaluated_is_loaded_again_and_a_corrupt_one_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rltf.weights.loader.BACKOFF_S", 0.01)
    source, rows = Source(), list[Row]()
    recorder = Recorder("actor-0", rows.extend, period_s=0)
    loader = WeightLoader(SamplingEngine(policy_of("llama", 12, seed=3)).load, source, recorder)
    for version in range(3):
        source.publish(version, seed=version + 1)
    assert loader.refresh() and loader.version == 2 and loader.use(2) and source.acknowledged == [2]
    source.versions[0][1][0][17] ^= 1
    assert not loader.use(0) and loader.version == 2, "the newest is not taken in place of one that is there"
    source.versions[0][1][0][17] ^= 1
    while not loader.use(0):
        pass
    assert loader.version == 0 and loader.refresh() and loader.version == 2
    del source.versions[0]
    assert loader.use(0) and loader.version == 2 and source.acknowledged == [2, 0, 2]
    assert loader.use(1) and loader.version == 1 and loader.use(0) and loader.version == 2
    assert loader.use(1)
    source.versions.clear()
    assert loader.use(0) and loader.version == 1, "the newest there is"
    assert not loader.use(2) and loader.version == 1, "an older one is no evaluation of it"
    recorder.close()
    assert counted(rows) == 1


def counted(rows: list[Row]) -> float:
    return sum(row["value"] for row in rows if row["kind"] == "count" and row["name"] == "corrupt_versions")


def test_an_actor_restarted_in_the_middle_goes_on_with_the_next_visits(redis_server: EmbeddedRedis) -> None:
    run = Run(redis_server.url, "restarted")
    run.source.publish(0, seed=1)
    run.flow.control.set_phase("training")
    run.until(lambda: run.flow.work.length() == 16)
    run.end()
    again = Run(redis_server.url, "restarted")
    again.source.publish(0, seed=1)
    first = again.take()
    groups = again.flow.online.draw(0, 2, 0)
    assert groups is not None
    again.flow.online.finish(0, {s.program.id: "no_signal" for g in groups for s in g.members})
    assert again.flow.online.draw(1, 2, 1) is not None
    again.source.publish(1, seed=2)
    again.until(lambda: again.flow.work.length() > 0)
    assert not {program.id for program in first} & {program.id for program in again.take()}
    again.end()
