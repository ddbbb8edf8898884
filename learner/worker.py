"""The learner's own loop, without Ray: warm start, then draw, train, publish, evaluate, export."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from buffer.flow import Flow
from config import Config
from learner.batching import plan
from learner.corpus_stream import Corpus, CorpusStream
from learner.engine import StepResult, TrainingEngine
from learner.export import export, load_weights, save_model
from learner.metrics import rl_row, supervised_row
from learner.objectives import make_objective
from learner.objectives.supervised import Supervised
from learner.publish import Publisher, Versions
from learner.schedules import linear
from learner.waiting import Stopped, draw_groups, wait_for_evaluation
from learner.warm_start import warm_start
from learner.world import World
from monitor.metrics import Recorder
from policy.policy import DTYPES, PolicySpec, build_policy

MOST_PASS_PROBLEMS = 64
"""Training problems that are tried after a round of the warm start (`warm_start.until_pass`)."""


@dataclass(frozen=True)
class LearnerTask:
    """What one run's learner is given; the same on every rank."""

    config: Config
    spec: PolicySpec
    corpus: Corpus | None
    """None where nothing is trained on supervised."""
    training_ids: Sequence[str]
    held_out_ids: Sequence[str]
    folder: Path
    """The run's folder."""
    code_version: str = ""


class LearnerWorker:
    """One rank of the learner. All ranks run the same loop; rank 0 alone speaks to the rest of the system, but every rank draws.

    `learner.steps` counts optimizer steps after the warm start. With `supervised_ratio` r, r/(1 + r) of them are supervised, spread
    evenly and beginning with a reinforcement step. A version is published before a reinforcement step is drawn, once `publish_every`
    reinforcement steps have been taken since the last; evaluations are asked for at the first version published on or after their step.
    """

    def __init__(self, task: LearnerTask, world: World, flow: Flow, publisher: Publisher, recorder: Recorder) -> None:
        self._task = task
        self._config = task.config
        self._world = world
        self._flow = flow
        self._publisher = publisher
        self._recorder = recorder
        self._trained = 0
        self._evaluated: list[tuple[int, str]] = []

    def run(self, stop: threading.Event) -> None:
        """Trains to the end, or until `stop` is set or the run is stopped.

        Raises:
            UserError: the warm start to begin from does not fit.
            learner.waiting.Stalled: nothing came for `run.stall_timeout_s`; the message names the part waited for.
            FloatingPointError: a loss or gradient was not finite.
        """
        config, task = self._config, self._task
        torch.set_num_threads(config.learner.threads)
        torch.manual_seed(config.run.seed)
        self._stop = stop
        self._policy = build_policy(task.spec, config.run.seed)
        if config.warm_start.reuse:
            load_weights(self._policy, Path(config.warm_start.reuse).expanduser())
        self._engine = TrainingEngine(self._policy, config.learner, self._world)
        self._versions = Versions(self._engine, self._policy, self._publisher, DTYPES[config.actors.dtype])
        try:
            self._warm_start()
            self._train()
            self._finish()
        except Stopped:
            pass  # asked to end: what was trained so far is with the actors and in the run folder
        finally:
            self._recorder.flush()
            self._engine.close()

    # ---- before training

    def _warm_start(self) -> None:
        config = self._config
        if self._world.rank == 0:
            self._flow.control.set_phase("warm_start")
        if config.warm_start.steps and not config.warm_start.reuse:
            if self._task.corpus is None:
                raise ValueError("a warm start needs a corpus")
            with self._recorder.phase("warm_start"):
                report = warm_start(
                    self._engine,
                    self._policy,
                    self._task.corpus,
                    config.warm_start,
                    config.learner,
                    self._recorder,
                    seed=config.run.seed,
                    should_stop=self._should_stop,
                    passes=self._a_program_passes,
                )
            if report.stopped:
                raise Stopped("during the warm start")
            folder = self._task.folder / "warm_start"
            save_model(self._engine, self._policy, folder)
            if self._world.rank == 0:
                (folder / "warm_start.json").write_text(json.dumps(report.as_row(), indent=1) + "\n")
        if self._versions.newest < 0:
            self._publish()

    def _a_program_passes(self) -> bool:
        """Whether one sample at temperature 1 on a training problem passes, as the actors and executors of the run see it."""
        version = self._publish()
        label = f"warm-start-{version:03d}"
        ids = list(self._task.training_ids[:MOST_PASS_PROBLEMS])
        self._request(label, version, ids)
        passed = 0
        if self._world.rank == 0:
            samples = wait_for_evaluation(self._flow, label, self._config.run.stall_timeout_s, self._stop, self._recorder)
            passed = sum(sample.feedback.outcome == "pass" for sample in samples)
            self._flow.evaluations.close(label)
            self._recorder.gauge("warm_start_passed", passed)
        return self._engine.agree(passed) > 0

    # ---- training

    def _train(self) -> None:
        config = self._config.learner
        self._evaluate(0)
        if self._world.rank == 0 and config.objective != "supervised":
            self._flow.control.set_phase("training")
        self._engine.begin(config.betas, config.weight_decay)
        schedule = linear(config.learning_rate, config.steps, config.warmup_steps, config.final_learning_rate)
        objective = make_objective(self._config)
        normalise = self._config.rltf.normalise if config.objective == "rltf" else "token_mean"
        supervised = Supervised(normalise)
        stream: CorpusStream | None = None
        if objective is None or config.supervised_ratio:
            if self._task.corpus is None:
                raise ValueError("supervised steps need a corpus")
            stream = CorpusStream(self._policy, self._task.corpus, config.supervised_batch_size, f"{self._config.run.seed}:supervised")
        since_published = 0
        due = 0
        for step in range(1, config.steps + 1):
            if self._should_stop():
                raise Stopped(f"before step {step}")
            reinforce = objective is not None and not is_supervised(step, config.supervised_ratio)
            seconds: dict[str, float] = {}
            if self._config.evaluation.every and step > 1 and (step - 1) % self._config.evaluation.every == 0:
                due = step - 1
            # The control has no reinforcement steps: it publishes for its evaluations alone.
            if (reinforce and since_published >= config.publish_every) or (objective is None and due):
                seconds["publish"] = self._timed_publish()
                since_published = 0
                if due:
                    self._evaluate(step - 1)
                    due = 0
            if objective is not None and reinforce:
                self._reinforce(step, objective, schedule(step - 1), seconds)
                since_published += 1
            else:
                assert stream is not None
                self._imitate(step, stream, supervised, schedule(step - 1), seconds)

    def _reinforce(self, step: int, objective: Any, learning_rate: float, seconds: dict[str, float]) -> None:
        config, version = self._config.learner, self._versions.newest
        began = time.perf_counter()
        groups = draw_groups(
            self._flow, self._engine, step, config.groups_per_step, version, self._config.run.stall_timeout_s, self._stop, self._recorder
        )
        drawn = time.perf_counter()
        with self._recorder.phase("train"):
            prepared = objective.prepare(groups)
            mine = plan(prepared.items, config.micro_batch_size, self._world.rank, self._world.size, self._policy.is_encoder_decoder)
            ready = time.perf_counter()
            result = StepResult.nothing()
            if mine.micro_batches:
                result = self._engine.step(mine.micro_batches, objective.loss, prepared.totals, learning_rate)
        seconds |= {"wait": drawn - began, "prepare": ready - drawn, **result.seconds}
        self._engine.barrier()  # no rank may still have to draw what is finished now
        self._trained += sum(fate == "trained" for fate in prepared.fates.values())
        if self._world.rank == 0:
            self._flow.online.finish(step, prepared.fates)
            self._flow.telemetry.step(rl_row(step, version, objective.name, groups, prepared, result, mine, learning_rate, seconds))
            self._recorder.count("samples", prepared.totals.sequences)
            self._recorder.gauge("version", version)

    def _imitate(self, step: int, stream: CorpusStream, supervised: Supervised, learning_rate: float, seconds: dict[str, float]) -> None:
        config = self._config.learner
        with self._recorder.phase("train_supervised"):
            began = time.perf_counter()
            items, totals = stream.next()
            mine = plan(items, config.micro_batch_size, self._world.rank, self._world.size, self._policy.is_encoder_decoder)
            ready = time.perf_counter()
            result = self._engine.step(mine.micro_batches, supervised.loss, totals, learning_rate)
        seconds |= {"prepare": ready - began, **result.seconds}
        if self._world.rank == 0:
            self._flow.telemetry.step(supervised_row(step, self._versions.newest, items, result, mine, learning_rate, seconds))
            self._recorder.count("supervised_programs", len(items))

    # ---- after training

    def _finish(self) -> None:
        config = self._config
        self._publish()
        self._evaluate(config.learner.steps)
        held_out: dict[str, Any] = {}
        if self._world.rank == 0:
            self._flow.control.set_phase("final_evaluation")
            held_out = self._scores()
        facts = {
            "steps": config.learner.steps,
            "samples": self._trained,
            "held_out": held_out,
            "code_version": self._task.code_version,
        }
        with self._recorder.phase("export"):
            export(self._engine, self._policy, self._task.folder / "export", config, facts)
        if self._world.rank == 0:
            self._flow.control.set_phase("done")

    def _scores(self) -> dict[str, Any]:
        """Held-out pass@1 of the first and the last evaluation, once both are complete."""
        scores: dict[str, Any] = {}
        for when, (step, label) in zip(("before", "after"), (self._evaluated[:1] + self._evaluated[-1:]), strict=False):
            samples = wait_for_evaluation(self._flow, label, self._config.run.stall_timeout_s, self._stop, self._recorder)
            expected = self._flow.evaluations.expected(label)
            scores[when] = {"step": step, "pass@1": sum(sample.feedback.outcome == "pass" for sample in samples) / max(1, expected)}
        if scores:
            scores["tasks"] = min(self._config.evaluation.tasks, len(self._task.held_out_ids))
        return scores

    # ---- shared

    def _publish(self) -> int:
        with self._recorder.phase("publish"):
            version = self._versions.publish()
        self._recorder.gauge("version", version)
        return version

    def _timed_publish(self) -> float:
        began = time.perf_counter()
        self._publish()
        return time.perf_counter() - began

    def _evaluate(self, step: int) -> None:
        """Asks for a held-out evaluation of the newest version, which has taken `step` steps."""
        ids = list(self._task.held_out_ids[: self._config.evaluation.tasks])
        if ids:
            label = f"step-{step:06d}"
            self._request(label, self._versions.newest, ids)
            self._evaluated.append((step, label))

    def _request(self, label: str, version: int, ids: list[str]) -> None:
        if self._world.rank == 0:
            size = self._config.actors.problems_per_batch
            chunks = [ids[start : start + size] for start in range(0, len(ids), size)]
            self._flow.evaluations.request(label, version, chunks, self._config.evaluation.samples)

    def _should_stop(self) -> bool:
        """Rank 0's view, on every rank: all stop at the same step. Collective."""
        stop = self._world.rank == 0 and (self._stop.is_set() or self._flow.control.stopping() is not None)
        return bool(self._engine.agree(int(stop)))


def is_supervised(step: int, ratio: float) -> bool:
    """Whether the 1-based `step` is a supervised one: ratio/(1 + ratio) of all steps, evenly spread, a reinforcement step first."""
    exact = Fraction(ratio).limit_denominator(1000)
    share = exact / (1 + exact)
    return int(step * share) > int((step - 1) * share)
