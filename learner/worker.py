"""The learner's own loop, without Ray: warm start, then draw, train, publish, evaluate, checkpoint, export."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rltf.buffer.control import Phase
from rltf.buffer.flow import Flow
from rltf.buffer.online_buffer import BufferPosition
from rltf.buffer.records import Malformed, Program
from rltf.buffer.stall_clock import StopRequested
from rltf.config import SUPERVISED, UserError, run_files
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.evaluation_requests import EvaluationRequests
from rltf.learner.export import export, first_policy, save_model
from rltf.learner.publish import VersionPublisher
from rltf.learner.schedule import Before, Position, Schedule
from rltf.learner.step_exports import remove_lost, remove_old, step_export
from rltf.learner.step_rows import rl_row, sampled_by, supervised_row
from rltf.learner.task import LearnerTask
from rltf.learner.training_step import build_training_step
from rltf.learner.waiting import Waiter
from rltf.learner.warm_start import warm_start
from rltf.learner.world import World
from rltf.policy.policy import DTYPES, Policy, build_policy
from rltf.telemetry.recorder import Recorder
from rltf.weights.protocol import Publisher

log = logging.getLogger(__name__)

_LIFE_INTERVAL_S = 5.0
"""Least seconds between two heartbeats within a step."""


class LearnerWorker:
    """One rank of the learner.

    All ranks run the same loop around the same `TrainingStep`; rank 0 alone speaks to the rest of the system, but every
    rank draws. What is due when is `Schedule`'s.
    """

    def __init__(self, task: LearnerTask, world: World, flow: Flow, publisher: Publisher, recorder: Recorder) -> None:
        self._task = task
        self._config = task.config
        self._world = world
        self._flow = flow
        self._publisher = publisher
        self._recorder = recorder
        self._position = Position()
        self._schedule = Schedule(task.config)
        kept = task.config.checkpoint
        self._checkpoints = CheckpointWriter(
            task.folder / run_files.CHECKPOINTS, kept.keep, kept.best, world.rank == 0, task.config.evaluation.best_by
        )
        self._saved: Position | None = None
        self._told_at = float("-inf")
        """When others were last told that a step goes on."""
        self.resumed_at: int | None = None
        """Step of the checkpoint that this learner began from; none for one that began at the beginning."""

    def run(self, stop: threading.Event) -> None:
        """Trains to the end, or until `stop` is set or the run is stopped; then it leaves a checkpoint.

        Raises:
            UserError: the run's folder is not here, or the warm start or the checkpoint to begin from does not fit.
            buffer.stall_clock.StallTimeout: nothing came for `run.stall_timeout_s`; the message says from whom.
            FloatingPointError: a loss or gradient was not finite.
        """
        config, task = self._config, self._task
        task.require_folder()
        self._stop = stop
        with self._recorder.phase("build"):
            checkpoint = self._checkpoints.agreed(self._world)
            reused = Path(config.warm_start.reuse) if config.warm_start.reuse else None
            self._training = build_training_step(config, task.spec, task.corpus, self._world, reused, checkpoint)
        self._engine, self._policy = self._training.engine, self._training.policy
        self._flow.online.validate = make_validator(self._policy)
        self._engine.on_micro_batch = self._show_life
        self._versions = VersionPublisher(self._engine, self._policy, self._publisher, DTYPES[config.actors.dtype])
        self._waiter = Waiter(
            self._flow, self._engine, config.run.stall_timeout_s, stop, self._recorder, self._heartbeat
        )
        self._evaluations = EvaluationRequests(
            config, task.held_out, self._flow, self._engine, self._waiter, self._checkpoints
        )
        try:
            if checkpoint is None:
                self._warm_start()
                self._begin()
            else:
                self._resume(checkpoint)
            self._train()
            self._finish()
        except StopRequested:
            # Asked to end, every rank at the same step: what was trained so far stays.
            if self._saved is not None and self._saved != self._position:
                self._checkpoint()
        finally:
            self._recorder.flush()
            self._training.close()

    # ---- before training

    def _warm_start(self) -> None:
        self._set_phase("warm_start")
        # An attempt that ended before its first checkpoint may have published, and had its versions evaluated under
        # their numbers.
        self._versions.newest = self._published_by_anyone()
        settings = self._config.warm_start
        if settings.steps and not settings.reuse:
            if self._task.corpus is None:
                raise ValueError("a warm start needs a corpus")
            with self._recorder.phase("warm_start"):
                report = warm_start(
                    self._training,
                    self._task.corpus,
                    self._config,
                    self._recorder,
                    should_stop=self._should_stop,
                    passes=self._a_program_passes,
                )
            if report.stopped:
                raise StopRequested("during the warm start")
            facts = {"warm_start.json": asdict(report)}
            save_model(self._engine, self._policy, self._task.folder / run_files.WARM_START, facts)

    def _a_program_passes(self) -> bool:
        """Whether one sample for a training problem passes, as the actors and executors of the run see
        it.
        """
        passed = self._evaluations.count_passing(self._publish(), self._task.training_ids)
        if self._world.rank == 0:
            self._recorder.gauge("warm_start_passed", passed)
        return self._engine.broadcast_int(passed) > 0

    def _begin(self) -> None:
        """The first step of training comes next."""
        if self._position.version < 0:
            self._publish()
        self._training.begin()
        self._evaluations.request(self._position, 0, self._evaluations.names)
        self._checkpoint()

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Goes on after the checkpoint: everything that the next step depends on is as it was then.

        What was drawn for later steps and not trained on goes back to the buffer; what was trained on by a learner that
        died before it saved the result is not used again.
        """
        checkpoint.require_inputs(self._task.inputs)
        position = Position.from_facts(checkpoint.facts["position"])
        self._position, self._saved, self.resumed_at = (
            position,
            Position.from_facts(position.to_facts()),
            checkpoint.step,
        )
        self._training.begin(checkpoint)
        if self._world.rank == 0:
            self._flow.online.resume(BufferPosition.from_json(checkpoint.facts["buffer"].encode()))
            if lost := remove_lost(self._task.folder, position.step):
                log.warning("exports of steps that were lost are removed: %s", ", ".join(map(str, lost)))
        resumption = self._schedule.resumption(position, self._published_by_anyone())
        self._versions.newest = resumption.version
        self._publish_evaluated(resumption.follows)
        if resumption.publish == "weights":
            self._publish()
        elif resumption.publish == "first policy":
            position.version = resumption.version
            first = first_policy(self._task.spec, self._config, self._task.folder)
            self._versions.publish_again(first, position.version)
            if self._world.rank == 0:
                self._flow.control.set_version(position.version)
        self._evaluations.restore(position, last=self._is_over())

    def _publish_evaluated(self, follows: int) -> None:
        """The actors get the versions again that evaluations are still to be written with, as far as checkpoints have
        their weights; `follows`: the version that they get next.
        """
        if self._world.rank != 0:
            return
        unwritten = self._evaluations.unwritten(self._position)
        self._publisher.keep({version for _, _, version in unwritten})
        for step, version in dict.fromkeys((step, version) for step, _, version in unwritten if version != follows):
            try:
                saved = self._checkpoints.at(step)
            except UserError as damage:
                log.warning("an evaluation of step %d goes on with other weights: %s", step, damage)
                continue
            if saved is not None:
                policy = build_policy(self._task.spec, self._config.run.seed, self._config.learner.dtype)
                saved.load_model(policy)
                self._versions.publish_again(policy, version)

    def _published_by_anyone(self) -> int:
        """The newest version that this learner or one before it in this run has published, by Redis. Collective."""
        return self._engine.broadcast_int(self._flow.control.version() if self._world.rank == 0 else 0)

    # ---- training

    def _train(self) -> None:
        position = self._position
        self._set_phase("imitation" if self._config.learner.objective == SUPERVISED else "training")
        self._training.load_frozen(self._task.folder)
        earlier, training_began = position.seconds, time.monotonic()
        while not self._ends():
            due = self._schedule.before(position)
            if self._should_stop():
                raise StopRequested(f"before step {due.step}")
            seconds: dict[str, float] = {}
            if due.evaluate:
                self._evaluations.await_written(position)  # a stop meanwhile leaves what is due as it was
            if due.publish:
                began = time.perf_counter()
                self._publish()
                seconds["publish"] = time.perf_counter() - began
            if due.evaluate:
                position.due = []
                self._evaluations.request(position, position.step, due.evaluate)
            if due.checkpoint:
                self._checkpoint()
            row = self._reinforce(due, seconds) if due.reinforce else self._imitate(due, seconds)
            position.take_step(due.reinforce, earlier + time.monotonic() - training_began)
            if self._world.rank == 0:
                self._flow.telemetry.append_step(row | {"training_s": round(position.seconds, 3)})
            position.evaluate(self._schedule.evaluates_after(position))
            if self._schedule.exports_after(position):
                self._export(step_export(self._task.folder, position.step), {"during_training": True})
                if self._world.rank == 0:
                    remove_old(self._task.folder, position.step, self._config.checkpoint.export_keep)
            if self._schedule.checkpoints_after(position):
                self._checkpoint()

    def _reinforce(self, due: Before, seconds: dict[str, float]) -> dict[str, Any]:
        """The step's metrics row; empty on ranks other than 0, which keep none."""
        version = self._position.version
        began = time.perf_counter()
        groups = self._waiter.groups(due.step, self._config.learner.groups_per_step, version)
        drawn, read = time.perf_counter() - began, self._flow.online.read_s
        with self._recorder.phase("train"):
            taken = self._training.take(
                self._training.objectives.of_step(True), groups, due.learning_rate, sampled_by(groups, version - 1)
            )
        seconds |= {"wait": max(0.0, drawn - read), "read": read, **taken.seconds}
        self._engine.barrier()  # no rank may still have to draw what is finished now
        fates = taken.prepared.fates
        self._position.trained += sum(fate == "trained" for fate in fates.values())
        if self._world.rank != 0:
            return {}
        self._flow.online.finish(due.step, fates)
        self._recorder.count("samples", taken.prepared.totals.sequences)
        self._recorder.gauge("version", version)
        return rl_row(due.step, version, groups, taken, seconds)

    def _imitate(self, due: Before, seconds: dict[str, float]) -> dict[str, Any]:
        """As `_reinforce`."""
        with self._recorder.phase("train_supervised"):
            taken = self._training.take(self._training.objectives.of_step(False), (), due.learning_rate)
        if self._world.rank != 0:
            return {}
        self._recorder.count("supervised_programs", len(taken.prepared.items))
        return supervised_row(due.step, self._position.version, taken, seconds | taken.seconds)

    def _is_over(self) -> bool:
        """Whether no step comes any more, by rank 0's clock. Collective."""
        return bool(self._engine.broadcast_int(int(self._schedule.is_over(self._position))))

    def _ends(self) -> bool:
        """As `_is_over`, looking at the evaluations too."""
        if self._evaluations.is_out_of_patience(self._position):
            self._position.stopped = self._config.evaluation.patience
        return self._is_over()

    # ---- after training

    def _finish(self) -> None:
        if self._schedule.has_stopped_early(self._position) and self._world.rank == 0:
            self._recorder.gauge("stopped_early", self._position.stopped)
        if self._position.changed:
            self._publish()
        self._evaluations.request_last(self._position)
        self._position.due = []
        self._checkpoint()
        self._set_phase("final_evaluation")
        held_out = self._evaluations.before_and_after(self._position)
        self._export(self._task.folder / run_files.EXPORT, {"held_out": held_out})
        self._set_phase("done")

    # ---- shared

    def _export(self, folder: Path, more: Mapping[str, Any]) -> None:
        """The model as it is, and its card with `more` facts. Collective."""
        facts = {
            "steps": self._position.step,
            "samples": self._position.trained,
            "code_version": self._task.code_version,
            "run": self._task.folder.name,
            "prompt": self._task.prompt,
        }
        with self._recorder.phase("export"):
            export(self._engine, self._policy, folder, self._config, facts | dict(more))

    def _checkpoint(self) -> None:
        """Everything that the next step depends on. Collective."""
        self._evaluations.record_scores(self._position)
        buffer = self._flow.online.position() if self._world.rank == 0 else BufferPosition(step=0)
        facts = {
            "position": self._position.to_facts(),
            "buffer": buffer.to_json().decode(),
            **self._training.objectives.state_dict(),
            "inputs": self._task.inputs,
            "workers": self._world.size,
            "code_version": self._task.code_version,
            "time": time.time(),
        }
        needed = self._evaluations.unscored_steps(self._position)
        with self._recorder.phase("checkpoint"):
            self._checkpoints.save(self._position.step, self._engine.state(), facts, needed=needed)
        if self._world.rank == 0:
            self._flow.online.confirm_checkpoint(buffer)
        self._saved = Position.from_facts(self._position.to_facts())
        self._recorder.gauge("checkpoint", self._position.step)

    def _publish(self) -> int:
        with self._recorder.phase("publish"):
            if self._world.rank == 0:
                self._publisher.keep({version for _, _, version in self._evaluations.unwritten(self._position)})
            version = self._versions.publish()
        if self._world.rank == 0:
            self._flow.control.set_version(version)
        self._position.publish(version)
        self._recorder.gauge("version", version)
        return version

    def _set_phase(self, phase: Phase) -> None:
        if self._world.rank == 0:
            self._flow.control.set_phase(phase)

    def _should_stop(self) -> bool:
        """Rank 0's view, on every rank: all stop at the same step. Collective."""
        stop = self._world.rank == 0 and self._stop.is_set()
        if self._world.rank == 0:
            self._heartbeat()
        return bool(self._engine.broadcast_int(int(stop)))

    def _show_life(self) -> None:
        """A micro-batch is computed: those who wait for a long step hear of it every few seconds."""
        if self._world.rank != 0:
            return
        self._recorder.count("micro_batches")
        now = time.monotonic()
        if now - self._told_at >= min(_LIFE_INTERVAL_S, self._config.run.stall_timeout_s / 4):
            self._told_at = now
            self._flow.control.heartbeat("learner")

    def _heartbeat(self) -> None:
        """What rank 0 does all the time: shows that it lives, and sees that actors can get the newest version."""
        self._flow.control.heartbeat("learner")
        if self._publisher.restore():
            self._recorder.count("versions_restored")


def make_validator(policy: Policy) -> Callable[[Program], None]:
    """A check for `OnlineBuffer.validate`: it raises Malformed, with the reason, for a program that it cannot have
    written.

    On a GPU an id without an embedding ends the whole process, so it has to be found before the step.
    """
    embeddings = policy.model.get_input_embeddings().num_embeddings
    limits = {"prompt": policy.spec.max_prompt_tokens, "program": policy.spec.max_program_tokens}

    def check(program: Program) -> None:
        for name, ids in (("prompt", program.prompt_ids), ("program", program.token_ids)):
            if len(ids) > limits[name]:
                raise Malformed(f"{len(ids)} tokens in the {name}, of which the policy takes {limits[name]}")
            if ids and (largest := int(np.frombuffer(ids, np.int32).max())) >= embeddings:
                raise Malformed(f"token {largest} in the {name}, but the policy has {embeddings} embeddings")
        if program.offsets and int(np.frombuffer(program.offsets, np.int32).max()) > len(program.text):
            raise Malformed(f"a token begins behind the {len(program.text)} characters of the text")

    return check
