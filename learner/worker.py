"""The learner's own loop, without Ray: warm start, then draw, train, publish, evaluate, checkpoint, export."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import torch

from rltf.buffer.flow import Flow
from rltf.buffer.position import BufferPosition
from rltf.config import UserError
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import FOLDER as CHECKPOINTS
from rltf.learner.corpus_stream import CorpusStream
from rltf.learner.engine import StepResult, TrainingEngine
from rltf.learner.evaluations import Evaluations
from rltf.learner.export import export, load_weights, save_model
from rltf.learner.fit import fits
from rltf.learner.frozen import Annotate, frozen_models
from rltf.learner.metrics import rl_row, sampled_by, supervised_row
from rltf.learner.objectives import make_objective, with_supervised
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.position import Position
from rltf.learner.publish import Versions
from rltf.learner.reference import first_policy
from rltf.learner.schedules import is_supervised, linear
from rltf.learner.task import LearnerTask
from rltf.learner.waiting import Stopped, Waiter
from rltf.learner.warm_start import warm_start
from rltf.learner.world import World
from rltf.policy.policy import DTYPES, build_policy
from rltf.telemetry.recorder import Recorder
from rltf.weights.protocol import Publisher


class LearnerWorker:
    """One rank of the learner.

    All ranks run the same loop; rank 0 alone speaks to the rest of the system, but every rank draws.

    `learner.steps` counts optimizer steps after the warm start. With `supervised_ratio` r, r/(1 + r) of them are
    supervised, spread evenly and beginning with a reinforcement step. A version is published before a reinforcement
    step is drawn, once `publish_every` reinforcement steps have been taken since the last; evaluations are asked for at
    the first version published on or after their step. Offline (`publish_every` 0) version 0 samples every training
    program, and the next version is the last.
    """

    def __init__(self, task: LearnerTask, world: World, flow: Flow, publisher: Publisher, recorder: Recorder) -> None:
        self._task = task
        self._config = task.config
        self._world = world
        self._flow = flow
        self._publisher = publisher
        self._recorder = recorder
        self._position = Position()
        settings = task.config.checkpoint
        self._checkpoints = CheckpointWriter(
            task.folder / CHECKPOINTS, settings.keep, settings.best, writes=world.rank == 0
        )
        self._saved: Position | None = None
        self._frozen: list[Annotate] = []
        self.resumed_at: int | None = None
        """Step of the checkpoint that this learner began from; none for one that began at the beginning."""

    def run(self, stop: threading.Event) -> None:
        """Trains to the end, or until `stop` is set or the run is stopped; then it leaves a checkpoint.

        Raises:
            UserError: the run's folder is not here, or the warm start or the checkpoint to begin from does not fit.
            learner.waiting.Stalled: nothing came for `run.stall_timeout_s`; the message names the part waited for.
            FloatingPointError: a loss or gradient was not finite.
        """
        config, task = self._config, self._task
        task.require_folder()
        torch.set_num_threads(config.learner.threads)
        torch.manual_seed(config.run.seed)
        if config.run.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's matrix products refuse
            torch.use_deterministic_algorithms(True)
        self._stop = stop
        with self._recorder.phase("build"):
            self._policy = build_policy(task.spec, config.run.seed)
            if config.warm_start.reuse:
                load_weights(self._policy, Path(config.warm_start.reuse))
            saved = self._checkpoints.agreed(self._world)
            if saved is not None:
                saved.load_model(self._policy)
            self._engine = TrainingEngine(self._policy, config.learner, self._world)
        self._flow.online.check = fits(self._policy)
        self._versions = Versions(self._engine, self._policy, self._publisher, DTYPES[config.actors.dtype])
        self._waiter = Waiter(
            self._flow, self._engine, config.run.stall_timeout_s, stop, self._recorder, self._go_on_living
        )
        self._evaluations = Evaluations(
            config, task.held_out_ids, self._flow, self._engine, self._waiter, self._checkpoints, task.held_out
        )
        self._prepare()
        try:
            if saved is None:
                self._warm_start()
                self._begin()
            else:
                self._resume(saved)
            self._train()
            self._finish()
        except Stopped:
            # Asked to end, every rank at the same step: what was trained so far stays.
            if self._saved is not None and self._saved != self._position:
                self._checkpoint()
        finally:
            self._recorder.flush()
            self._engine.close()

    # ---- before training

    def _prepare(self) -> None:
        config = self._config.learner
        self._objective = make_objective(self._config, self._policy.is_encoder_decoder)
        self._offline = self._objective is not None and not config.publish_every
        self._supervised = Supervised(self._config.objective.supervised_normalise, self._policy.spec.max_program_tokens)
        self._schedule = linear(config.learning_rate, config.steps, config.warmup_steps, config.final_learning_rate)
        self._stream: CorpusStream | None = None
        if self._objective is None or config.supervised_ratio:
            if self._task.corpus is None:
                raise ValueError("supervised steps need a corpus")
            seed = f"{self._config.run.seed}:supervised"
            self._stream = CorpusStream(self._policy, self._task.corpus, config.supervised_batch_size, seed)
        self._mixes = (
            self._objective is not None and self._stream is not None and config.supervised_mixing == "micro_batch"
        )
        if self._objective is not None and self._stream is not None and self._mixes:
            self._objective = with_supervised(self._objective, self._stream, self._config)

    def _warm_start(self) -> None:
        config = self._config
        if self._world.rank == 0:
            self._flow.control.set_phase("warm_start")
        # An attempt that ended before its first checkpoint may have published, and had its versions evaluated under
        # their numbers.
        self._versions.newest = self._engine.agree(self._flow.control.version() if self._world.rank == 0 else 0)
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
            save_model(
                self._engine, self._policy, self._task.folder / "warm_start", {"warm_start.json": report.as_row()}
            )

    def _a_program_passes(self) -> bool:
        """Whether one sample at temperature 1 on a training problem passes, as the actors and executors of the run see
        it.
        """
        passed = self._evaluations.passing(self._publish(), self._task.training_ids)
        if self._world.rank == 0:
            self._recorder.gauge("warm_start_passed", passed)
        return self._engine.agree(passed) > 0

    def _begin(self) -> None:
        """The first step of training comes next."""
        config = self._config.learner
        if self._position.version < 0:
            self._publish()
        self._engine.begin(config.betas, config.weight_decay)
        self._evaluations.ask(self._position, 0)
        self._checkpoint()

    def _resume(self, saved: Checkpoint) -> None:
        """Goes on after the checkpoint: everything that the next step depends on is as it was then.

        What was drawn for later steps and not trained on goes back to the buffer; what was trained on by a learner that
        died before it saved the result is not used again. The actors get a version as soon as they have to have one.
        """
        saved.require_inputs(self._task.inputs)
        config, position = self._config.learner, Position.of(saved.facts["position"])
        self._position, self._saved, self.resumed_at = position, Position.of(position.as_facts()), saved.step
        self._engine.begin(config.betas, config.weight_decay)
        saved.load_optimizer(self._engine.state())
        if self._objective is not None:
            try:
                self._objective.load_state_dict(saved.facts["objective"])
            except ValueError as error:
                raise UserError(f"checkpoint {saved.folder} does not fit the configuration: {error}") from error
        if self._stream is not None:
            self._stream.load_state_dict(saved.facts["corpus"])
        saved.restore_random()
        lost = 0
        if self._world.rank == 0:
            self._flow.online.resume(BufferPosition.from_json(saved.facts["buffer"].encode()))
            lost = max(0, self._flow.control.version() - position.version)
        # A version number stands for one state of the weights for ever: numbers of versions that were lost are not used
        # again.
        lost = self._engine.agree(lost)
        same = not position.changed and not lost
        self._versions.newest = position.version + lost - int(same)
        if self._offline:
            # What trained since is published at the end alone; the actors go on with the first policy.
            position.version += lost + int(lost > 0)
            self._versions.newest = position.version
            self._versions.publish_again(first_policy(self._task.spec, self._config, self._task.folder))
            if self._world.rank == 0:
                self._flow.control.set_version(position.version)
        elif same or (self._objective is not None and position.since_published < config.publish_every):
            self._publish()
        self._evaluations.restore(position, last=position.step >= config.steps or self._time_is_up())

    # ---- training

    def _train(self) -> None:
        config, position = self._config.learner, self._position
        if self._world.rank == 0:
            self._flow.control.set_phase("imitation" if self._objective is None else "training")
        if self._objective is not None:
            self._engine.barrier()  # rank 0 has written the warm start
            self._frozen = frozen_models(self._policy, self._config, self._task.folder, self._engine.device)
        earlier, began = position.seconds, time.monotonic()
        while position.step < config.steps and not self._time_is_up():
            if self._should_stop():
                raise Stopped(f"before step {position.step + 1}")
            step = position.step + 1
            reinforce = self._reinforces(step)
            seconds: dict[str, float] = {}
            if self._publishes_before(step):
                seconds["publish"] = self._timed_publish()
                if position.evaluate:
                    position.evaluate = 0
                    self._evaluations.ask(position, position.step)
                    if self._config.checkpoint.best:
                        self._checkpoint()  # of exactly the weights that are evaluated
            if reinforce:
                row = self._reinforce(step, seconds)
                position.since_published += 1
            else:
                row = self._imitate(step, seconds)
            position.step, position.changed, position.seconds = step, True, earlier + time.monotonic() - began
            if self._world.rank == 0:
                self._flow.telemetry.step(row | {"training_s": round(position.seconds, 3)})
            if self._config.evaluation.every and step % self._config.evaluation.every == 0 and not self._offline:
                position.evaluate = step
            if self._is_checkpointed(step):
                self._checkpoint()

    def _reinforces(self, step: int) -> bool:
        return self._objective is not None and (
            self._mixes or not is_supervised(step, self._config.learner.supervised_ratio)
        )

    def _publishes_before(self, step: int) -> bool:
        """Whether a version is due before this step, which comes next."""
        if self._objective is None:
            return bool(
                self._position.evaluate
            )  # no programs are sampled for training: it publishes for its evaluations alone
        due = self._position.since_published >= self._config.learner.publish_every
        return due and self._reinforces(step) and not self._offline

    def _reinforce(self, step: int, seconds: dict[str, float]) -> dict[str, Any]:
        """The step's metrics row; empty on ranks other than 0, which keep none."""
        objective, config, version = self._objective, self._config.learner, self._position.version
        assert objective is not None
        learning_rate = self._schedule(step - 1)
        began = time.perf_counter()
        groups = self._waiter.groups(step, config.groups_per_step, version)
        drawn = time.perf_counter()
        with self._recorder.phase("train"):
            prepared = objective.prepare(groups)
            mine = self._engine.plan(prepared.items)
            ready = time.perf_counter()
            result = StepResult.nothing()
            for annotate in self._frozen:
                mine = annotate(mine)
                seconds["frozen"] = time.perf_counter() - ready
            if mine.micro_batches:
                previous = sampled_by(groups, version - 1)
                result = self._engine.step(
                    mine.micro_batches, objective.loss, prepared.totals, learning_rate, previous=previous
                )
        read = self._flow.online.read_s
        seconds |= {"wait": max(0.0, drawn - began - read), "read": read, "prepare": ready - drawn, **result.seconds}
        self._engine.barrier()  # no rank may still have to draw what is finished now
        self._position.trained += sum(fate == "trained" for fate in prepared.fates.values())
        if self._world.rank != 0:
            return {}
        self._flow.online.finish(step, prepared.fates)
        self._recorder.count("samples", prepared.totals.sequences)
        self._recorder.gauge("version", version)
        return rl_row(step, version, objective.name, groups, prepared, result, mine, learning_rate, seconds)

    def _imitate(self, step: int, seconds: dict[str, float]) -> dict[str, Any]:
        """As `_reinforce`."""
        learning_rate = self._schedule(step - 1)
        assert self._stream is not None
        with self._recorder.phase("train_supervised"):
            began = time.perf_counter()
            items, totals = self._stream.next()
            mine = self._engine.plan(items)
            ready = time.perf_counter()
            result = self._engine.step(mine.micro_batches, self._supervised.loss, totals, learning_rate)
        seconds |= {"prepare": ready - began, **result.seconds}
        if self._world.rank != 0:
            return {}
        self._recorder.count("supervised_programs", len(items))
        return supervised_row(step, self._position.version, items, result, mine, learning_rate, seconds)

    def _time_is_up(self) -> bool:
        """Whether the training has taken `learner.max_seconds`, by rank 0's clock. Collective."""
        limit = self._config.learner.max_seconds
        return limit is not None and bool(self._engine.agree(int(self._position.seconds >= limit)))

    # ---- after training

    def _finish(self) -> None:
        config, step = self._config, self._position.step
        if self._position.changed:
            self._publish()
        if step not in [evaluated for evaluated, _ in self._position.evaluated]:
            self._evaluations.ask(self._position, step, last=True)
        self._position.evaluate = 0
        self._checkpoint()
        if self._world.rank == 0:
            self._flow.control.set_phase("final_evaluation")
        facts = {
            "steps": step,
            "samples": self._position.trained,
            "held_out": self._evaluations.before_and_after(self._position),
            "code_version": self._task.code_version,
            "run": self._task.folder.name,
            "prompt": self._task.prompt,
        }
        with self._recorder.phase("export"):
            export(self._engine, self._policy, self._task.folder / "export", config, facts)
        if self._world.rank == 0:
            self._flow.control.set_phase("done")

    # ---- checkpoints

    def _is_checkpointed(self, step: int) -> bool:
        settings = self._config.checkpoint
        if step == self._config.learner.steps or (
            settings.best and self._position.evaluate and self._publishes_before(step + 1)
        ):
            return False  # comes once the version that is evaluated is published, which is next
        return bool(settings.every and step % settings.every == 0)

    def _checkpoint(self) -> None:
        """Everything that the next step depends on. Collective."""
        self._evaluations.note_scores(self._position)
        buffer = self._flow.online.position() if self._world.rank == 0 else BufferPosition(step=0)
        facts = {
            "position": self._position.as_facts(),
            "buffer": buffer.to_json().decode(),
            "objective": self._objective.state_dict() if self._objective is not None else {},
            "corpus": self._stream.state_dict() if self._stream is not None else {},
            "inputs": self._task.inputs,
            "workers": self._world.size,
            "code_version": self._task.code_version,
            "time": time.time(),
        }
        needed = self._evaluations.without_score(self._position)
        with self._recorder.phase("checkpoint"):
            self._checkpoints.save(self._position.step, self._engine.state(), facts, needed=needed)
        if self._world.rank == 0:
            self._flow.online.checkpointed(buffer)
        self._saved = Position.of(self._position.as_facts())
        self._recorder.gauge("checkpoint", self._position.step)

    # ---- shared

    def _publish(self) -> int:
        with self._recorder.phase("publish"):
            version = self._versions.publish()
        if self._world.rank == 0:
            self._flow.control.set_version(version)
        self._position.version, self._position.changed, self._position.since_published = version, False, 0
        self._recorder.gauge("version", version)
        return version

    def _timed_publish(self) -> float:
        began = time.perf_counter()
        self._publish()
        return time.perf_counter() - began

    def _should_stop(self) -> bool:
        """Rank 0's view, on every rank: all stop at the same step. Collective."""
        stop = self._world.rank == 0 and self._stop.is_set()
        if self._world.rank == 0:
            self._go_on_living()
        return bool(self._engine.agree(int(stop)))

    def _go_on_living(self) -> None:
        """What rank 0 does all the time: shows that it lives, and sees that actors can get the newest version."""
        self._flow.control.show_life("learner")
        if self._publisher.restore():
            self._recorder.count("versions_restored")
