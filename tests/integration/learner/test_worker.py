"""The learner's loop with real actors, executors and Redis, all in threads of this process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rltf.buffer.stall_clock import StallTimeout, StopRequested
from rltf.config import Config, UserError
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.corpus_stream import POOL_BATCHES, CorpusStream
from rltf.learner.engine import TrainingEngine
from rltf.learner.export import load_weights, save_model, write_card
from rltf.learner.schedule import Position
from rltf.learner.step_rows import age_distribution
from rltf.learner.training_step import TrainingStep
from rltf.learner.warm_start import warm_start
from rltf.learner.worker import LearnerWorker
from rltf.learner.world import World
from rltf.policy.policy import build_policy, make_spec
from rltf.problems.corpus import SolutionCorpus
from rltf.telemetry.recorder import Recorder
from rltf.weights.unpacking import load_into
from tests.support.buffer_programs import program
from tests.support.declared import undeclared
from tests.support.learner_run import PROBLEMS, SHAPE, Run, problem


def test_ages_are_counted_one_by_one_up_to_seven_and_then_in_classes_that_double() -> None:
    assert age_distribution([17, 0, 7, 0, 8, 15, 16, 300]) == {"0": 2, "7": 1, "8-15": 2, "16-31": 2, "256-511": 1}
    assert age_distribution([]) == {}


def test_a_whole_run_of_the_papers_objective(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(warm_start={"until_pass": True}, learner={"objective": "rltf", "supervised_ratio": 1})
    # An earlier attempt was ended between the rounds of its warm start.
    run.flow.evaluations.request("warm-start-000", 0, [["print-0"]])
    run.flow.evaluations.close("warm-start-000")
    run.flow.control.set_version(0)
    with run.others():
        run.learner.run(threading.Event())
    rows = run.rows()
    assert [row["step"] for row in rows] == list(range(1, 7))
    assert [row["objective"] for row in rows] == ["rltf", "supervised"] * 3 and not undeclared("step", rows)
    drawn = [row for row in rows if row["objective"] == "rltf"]
    for row in drawn:
        assert row["samples"] == 8 and sum(row["outcomes"].values()) == 8 and row["fates"]["baseline"] == 2
        assert set(row["loss_terms"]) <= {"coarse", "fine", "adaptive"} and sum(
            row["loss_terms"].values()
        ) == pytest.approx(row["loss"], abs=1e-5)
        assert sum(row["ages"].values()) == 8 and max(map(int, row["ages"])) == row["staleness_max"]
        assert 0 <= row["staleness_max"] <= 2 and len(row["baselines"]) == 2 and len(row["sample_ids"]) == 8
        assert row["seconds"]["wait"] >= 0 and 0 < row["seconds"]["read"] < 10 and row["learning_rate"] > 0
        json.dumps(row)
    # One version per reinforcement step, and the last one; what the rounds of the warm start published came before.
    versions = [manifest.version for manifest, _ in run.published.versions]
    assert versions == list(range(1, 1 + len(versions)))
    assert [row["version"] - rows[0]["version"] for row in drawn] == [0, 1, 2] and versions[-1] == rows[0][
        "version"
    ] + 3
    passes = run.flow.evaluations.progress("warm-start-001")
    assert passes.expected == 8
    # The learner has noted every score and needs the programs no more: they are kept for the driver alone.
    assert len(run.flow.evaluations.results("step-000004")) == 4
    for label in ("step-000000", "step-000002", "step-000004", "step-000006"):
        run.flow.evaluations.close(label, "driver")
        assert run.flow.evaluations.results(label) == []
    for label, step in (("step-000000", 0), ("step-000002", 1), ("step-000004", 2), ("step-000006", 3)):
        progress = run.flow.evaluations.progress(label)
        assert progress.version == rows[0]["version"] + step and progress.expected == 4
    assert (
        run.flow.evaluations.is_complete("step-000006")
        and run.flow.control.phase() == "done"
        and run.flow.ledger.check() is None
    )
    evaluations, evaluated = run.learner._evaluations, [(0, "step-000000"), (7, "step-000007")]
    same = Position(step=7, version=9, evaluated=list(evaluated))
    evaluations.restore(same, last=False)
    assert same.evaluated == evaluated and run.flow.evaluations.progress("step-000007").version == 9
    moved_on = Position(step=9, version=9, changed=True, evaluated=[evaluated[0], (8, "step-000008")])
    evaluations.restore(moved_on, last=False)
    assert (
        moved_on.evaluated == evaluated[:1]
        and moved_on.due == [""]
        and not run.flow.evaluations.is_requested("step-000008")
    )
    # An evaluation that is not written when the learner dies gets its weights again, under their number.
    label, sampled = "again:step-000004", rows[0]["version"] + 2
    run.flow.evaluations.request(label, 77, [[PROBLEMS[4].id]])
    run.learner._position = Position(step=9, version=99, changed=True, evaluated=[(4, label), (7, "step-000007")])
    run.learner._publish_evaluated(follows=9)
    again, (evaluated_then,) = (
        run.published.versions[-1][0],
        [m for m, _ in run.published.versions if m.version == sampled],
    )
    assert (again.version, again.checksums) == (77, evaluated_then.checksums)
    # Actors hear that nothing but an evaluation is waited for.
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(run.learner._waiter.written, [label])
        while not run.flow.control.evaluation_awaited():
            assert not wait.done()
        run.learner._stop.set()
        assert isinstance(wait.exception(30), StopRequested) and not run.flow.control.evaluation_awaited()
    count = len(run.published.versions)
    run.learner._publish_evaluated(follows=77)
    assert len(run.published.versions) == count, "it comes anyway"
    run.published.versions.pop()
    nothing_lost = Position(version=9, evaluated=list(evaluated))
    evaluations.restore(nothing_lost, last=False)
    assert nothing_lost == Position(version=9, evaluated=evaluated)
    fates = run.flow.ledger.counts()
    assert fates["baseline"] == 6 and fates["trained"] + fates["no_signal"] == 24

    exported = type(run.learner._policy.model).from_pretrained(tmp_path / "export")
    shape = build_policy(run.spec, weights=False)
    load_into(shape.model, *run.published.versions[-1])
    for name, value in shape.model.state_dict().items():
        assert bool((value == exported.state_dict()[name]).all()), name
    card = (tmp_path / "export" / "README.md").read_text()
    assert "| before | 0 |" in card and "| after | 6 |" in card and '"objective": "rltf"' in card


def test_a_version_comes_back_in_the_numbers_that_the_learner_trains_in(make_run: Callable[..., Run]) -> None:
    learner = {"objective": "supervised", "steps": 2, "supervised_batch_size": 4, "dtype": "bfloat16"}
    run = make_run(learner=learner, warm_start={"steps": 0}, evaluation={"every": 1, "tasks": 1})
    with run.others():
        run.learner.run(threading.Event())
    version = run.flow.evaluations.progress("step-000001").version
    run.flow.evaluations.request("again:step-000001", 77, [[PROBLEMS[4].id]])
    run.learner._position = Position(step=2, version=99, changed=True, evaluated=[(1, "again:step-000001")])
    run.learner._publish_evaluated(follows=99)
    then = next(manifest for manifest, _ in run.published.versions if manifest.version == version)
    again = run.published.versions[-1][0]
    assert (again.version, again.checksums) == (77, then.checksums)


def test_grpo_then_control_from_the_same_warm_start(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(learner={"steps": 3}, actors={"greedy": False}, evaluation={"every": 0})
    with run.others():
        run.learner.run(threading.Event())
    assert [row["objective"] for row in run.rows()] == ["grpo"] * 3
    report = json.loads((tmp_path / "warm_start" / "warm_start.json").read_text())
    assert report["steps"] == 60 and report["loss"] < 2.5 and 0 <= report["padding_share"] < 0.3
    reuse = {"reuse": str(tmp_path / "warm_start")}
    control = make_run(tmp_path / "control", learner={"objective": "supervised", "steps": 4}, warm_start=reuse)
    with control.others():
        control.learner.run(threading.Event())
    assert [row["objective"] for row in control.rows()] == ["supervised"] * 4
    assert control.flow.ledger.counts()["generated"] == 0  # no training program is written for the control
    for name in ("step-000000", "step-000002", "step-000004"):
        assert control.flow.evaluations.is_complete(name)
    first, begun = control.published.versions[0], run.published.versions[0]
    assert first[0] == begun[0]  # the same weights, checksum by checksum


def test_a_program_that_the_policy_cannot_have_written_is_set_aside(make_run: Callable[..., Run]) -> None:
    run = make_run(
        warm_start={"steps": 0}, actors={"greedy": False}, learner={"steps": 2}, evaluation={"every": 0, "tasks": 2}
    )
    size = json.loads(run.spec.model_config)["vocab_size"]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"token_ids": [3, size]}, f"token {size} in the program, but the policy has {size} embeddings"),
        ({"prompt_ids": [size + 1, 0]}, f"token {size + 1} in the prompt, but the policy has {size} embeddings"),
        ({"prompt_ids": [1] * 65}, "65 tokens in the prompt, of which the policy takes 64"),
        (
            {"token_ids": [1] * 25, "log_probs": [0.0] * 25, "offsets": [0] * 25},
            "25 tokens in the program, of which the policy takes 24",
        ),
        ({"offsets": [0, 9]}, "a token begins behind the 8 characters of the text"),
    ]
    good = [
        program("odd", number, problem_id="print-0", text="print(0)", prompt_ids=[size - 1])
        for number in range(len(bad), 8)
    ]
    odd = [
        program("odd", number, problem_id="print-0", text="print(0)", **fields)
        for number, (fields, _) in enumerate(bad)
    ]
    for name, members in (("odd-a", odd[:4]), ("odd-b", odd[4:] + good)):
        assert run.flow.work.push([replace(member, group_id=name) for member in members])
    with run.others():
        run.learner.run(threading.Event())
    assert [row["step"] for row in run.rows()] == [1, 2] and set(run.rows()[0]["sample_ids"]) == {
        one.id for one in good
    }
    counts = run.flow.ledger.counts()
    assert counts["malformed"] == len(bad) and run.flow.ledger.check() is None
    kept = {row.id: row for row in run.flow.telemetry.archived().items}
    assert [kept[one.id].reason for one in odd] == [reason for _, reason in bad]
    assert {kept[one.id].fate for one in odd} == {"malformed"}


def test_offline_the_first_policy_samples_everything_and_the_seconds_end_it(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    learner = {"objective": "rltf", "supervised_ratio": 1, "publish_every": 0, "steps": 1_000_000, "max_seconds": 1.0}
    evaluation = {"every": 2, "samples": 1, "final_samples": 3, "k": [3]}
    run = make_run(learner=learner, evaluation=evaluation, warm_start={"steps": 5})
    with run.others():
        run.learner.run(threading.Event())
    rows = run.rows()
    last = rows[-1]["step"]
    assert last == len(rows) and rows[-1]["training_s"] >= 1.0 and all(row["training_s"] < 1.0 for row in rows[:-1])
    assert {row["version"] for row in rows} == {0} and {
        row["staleness_max"] for row in rows if row["objective"] == "rltf"
    } == {0}
    assert [manifest.version for manifest, _ in run.published.versions] == [0, 1]
    asked = {label: run.flow.evaluations.progress(label) for _, label in run.learner._position.evaluated}
    assert [(label, found.version, found.expected) for label, found in asked.items()] == [
        ("step-000000", 0, 2), (f"step-{last:06d}", 1, 6)
    ]  # fmt: skip
    assert run.flow.control.phase() == "done" and run.flow.ledger.check() is None
    assert f"| after | {last} |" in (tmp_path / "export" / "README.md").read_text()


def test_the_model_card_has_every_pass_at_k(tmp_path: Path) -> None:
    held_out = {
        "tasks": 9,
        "before": {"step": 0, "pass@1": 0.25},
        "after": {"step": 7, "pass@1": 0.5, "pass@1_se": 0.125, "pass@10": 0.75},
    }
    write_card(tmp_path, Config(), {"steps": 7, "samples": 80, "held_out": held_out, "code_version": "abc"})
    card = (tmp_path / "README.md").read_text()
    assert "| | step | pass@1 | pass@10 |" in card and "| before | 0 | 0.2500 | – |" in card
    assert (
        "| after | 7 | 0.5000 ± 0.1250 | 0.7500 |" in card
        and "programs trained on: 80" in card
        and "code version: abc" in card
    )
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    write_card(tmp_path, Config(), {"held_out": held_out | {"about": "9 of 50 from own"}})
    assert "all tests of 9 held-out problems (9 of 50 from own); pass@k by" in (tmp_path / "README.md").read_text()


def test_a_stall_names_the_part_waited_for(make_run: Callable[..., Run]) -> None:
    run = make_run(run={"stall_timeout_s": 2.0}, warm_start={"steps": 0})
    with pytest.raises(StallTimeout, match="waited 2 s for the actor: step 1 needs 2 groups.*no program yet"):
        run.learner.run(threading.Event())


def test_the_learner_waits_on_while_actors_sample(make_run: Callable[..., Run]) -> None:
    run = make_run(run={"stall_timeout_s": 3.0}, warm_start={"steps": 0})
    told: list[float] = []

    def sample() -> None:
        while run.flow.control.phase() != "training":
            time.sleep(0.05)
        for _ in range(50):
            run.flow.control.heartbeat("actor")
            time.sleep(0.1)
        told.append(time.monotonic())

    actor = threading.Thread(target=sample)
    actor.start()
    with pytest.raises(StallTimeout, match="for the actor: step 1 needs 2 groups"):
        run.learner.run(threading.Event())
    assert told and time.monotonic() - told[0] > 1
    actor.join()


def test_a_long_step_shows_life(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    learner = {"objective": "supervised", "steps": 1, "supervised_batch_size": 8, "micro_batch_tokens": 8}
    run = make_run(run={"stall_timeout_s": 4.0}, warm_start={"steps": 0}, learner=learner, evaluation={"every": 0})
    computed: list[float] = []

    def slowly(learner: LearnerWorker) -> None:
        time.sleep(1)
        show_life(learner)
        computed.append(time.monotonic())

    show_life = LearnerWorker._show_life
    monkeypatch.setattr(LearnerWorker, "_show_life", slowly)
    with run.others():  # the actor waits for the learner, and then has an evaluation to write
        run.learner.run(threading.Event())
    assert computed[-1] - computed[0] > 5 and run.flow.control.phase() == "done"
    rows = run.flow.telemetry.rows(count=10_000).items
    counted = [row["value"] for row in rows if (row["kind"], row["name"]) == ("count", "micro_batches")]
    assert sum(counted) == len(computed) and len(counted) > 2, "told of on the way"


def test_nothing_stalls_while_an_evaluation_gets_on(make_run: Callable[..., Run]) -> None:
    run = make_run(run={"stall_timeout_s": 3.0}, warm_start={"steps": 0})
    ids = [str(number) for number in range(40)]
    run.flow.evaluations.request("another", 0, [ids])
    over: list[float] = []

    def write() -> None:
        for number in ids:
            one = program(f"another/{number}", 0, problem_id=number, purpose="evaluation", label="another")
            run.flow.evaluation_work.push([one])
            time.sleep(0.1)
        over.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(StallTimeout, match="step 1 needs 2 groups"):
        run.learner.run(threading.Event())
    assert over and time.monotonic() - over[0] > 1
    writer.join()


def test_no_checkpoint_waits_long_for_an_evaluation(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(
        warm_start={"steps": 5},
        actors={"greedy": False},
        learner={"publish_every": 5, "steps": 12},
        checkpoint={"every": 2, "best": True},
    )
    saved: list[int] = []
    save = CheckpointWriter.save
    monkeypatch.setattr(
        CheckpointWriter,
        "save",
        lambda self, step, *rest, **more: (saved.append(step), save(self, step, *rest, **more)),
    )
    with run.others():
        run.learner.run(threading.Event())
    # Versions are due before the steps 6 and 11: then the checkpoint is of the weights that are evaluated.
    assert saved == [0, 2, 4, 5, 6, 8, 10, 12]


def test_stops_when_asked(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(warm_start={"steps": 100000})
    stop = threading.Event()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    run.learner.run(stop)
    assert run.rows() == [] and not (tmp_path / "warm_start").exists() and run.published.versions == []
    waiting = make_run(warm_start={"steps": 0})
    waiting.learner.run(stop)
    assert not (tmp_path / "export").exists()


def test_reuse_refuses_another_model(tmp_path: Path) -> None:
    config = Config.model_validate({"policy": SHAPE})
    policy = build_policy(make_spec(config.policy, ["print(1)\n"]))
    engine = TrainingEngine(policy, config.learner, World())
    save_model(engine, policy, tmp_path / "model")
    engine.close()
    load_weights(build_policy(policy.spec, seed=5), tmp_path / "model")
    with pytest.raises(UserError, match="no model in this folder"):
        load_weights(policy, tmp_path)
    wider = Config.model_validate({"policy": SHAPE | {"d_model": 128}})
    with pytest.raises(UserError, match="does not fit"):
        load_weights(build_policy(make_spec(wider.policy, ["print(1)\n"])), tmp_path / "model")


def test_corpus_stream_is_a_uniform_sample_in_batches_of_like_length() -> None:
    config = Config.model_validate({"policy": SHAPE})
    policy = build_policy(make_spec(config.policy, ["print(1)\n"]))
    corpus = SolutionCorpus((*PROBLEMS, problem(123456), problem(987654321)))
    streams = [CorpusStream(policy, corpus, 8, "seed") for _ in range(2)]
    pool = [streams[0].next() for _ in range(POOL_BATCHES)]
    assert [items[0].token_ids for items, _ in pool] == [streams[1].next()[0][0].token_ids for _ in range(POOL_BATCHES)]
    assert sum(len(item.token_ids) for items, _ in pool for item in items) == pytest.approx(
        POOL_BATCHES * pool[0][1].tokens, rel=0.1
    )
    lengths = sorted((min(item.tokens for item in items), max(item.tokens for item in items)) for items, _ in pool)
    assert all(first[1] <= second[0] for first, second in zip(lengths, lengths[1:], strict=False))


def test_warm_start_that_never_passes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.model_validate({"policy": SHAPE, "warm_start": {"steps": 2, "batch_size": 2, "until_pass": True}})
    policy = build_policy(make_spec(config.policy, ["print(1)\n"]))
    engine = TrainingEngine(policy, config.learner, World())
    with pytest.raises(RuntimeError, match="After 20 rounds of 2 warm-start steps no program has passed"):
        warm_start(
            TrainingStep(config, policy, engine, None), SolutionCorpus(PROBLEMS), config, Recorder("learner-0"),
            should_stop=lambda: False, passes=lambda: False,
        )  # fmt: skip
    engine.close()
