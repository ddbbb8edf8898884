"""Recorded learner steps taken again: batch, rewards and token weights from the record, the loss from weights that were
kept.

A step trains on the weights that the steps before it have left. So a replay begins at a checkpoint (or at the weights
that the run began to train with) and takes every step from there on again; each is held against its metrics row. On one
worker and the same kind of machine the losses are the same to the last bit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rltf.buffer.records import Group
from rltf.config import Config
from rltf.config.user_code import is_user_name
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.corpus_stream import Corpus, CorpusStream
from rltf.learner.engine import StepResult, TrainingEngine
from rltf.learner.export import load_weights
from rltf.learner.frozen import Annotate, frozen_models
from rltf.learner.objectives import make_objective, with_supervised
from rltf.learner.objectives.base import Loss, Prepared
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.record import fingerprints
from rltf.learner.world import World
from rltf.policy.policy import PolicySpec, build_policy

ROUNDING = 1e-4
"""Largest difference of two losses, relative to 1 or the loss, where sums are taken in another order than they were."""


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """What the run folder has of one step."""

    row: Mapping[str, Any]
    """Its metrics row."""
    groups: list[Group]
    """As they were drawn; none for a supervised step."""


@dataclass(frozen=True, slots=True)
class Again:
    """One step taken again."""

    prepared: Prepared | None
    """None for a supervised step."""
    result: StepResult | None
    """None without weights."""
    differences: list[str]
    """A sentence for each thing that is not as the row says; none when everything is."""


def first_weights(config: Config, folder: Path) -> bool:
    """Whether the weights that the run in `folder` began to train with can be had to the last bit."""
    if config.learner.dtype != "float32":
        return False  # the warm start's folder has what the model computes with, not the optimizer's float32 copy
    if config.warm_start.reuse:
        return Path(config.warm_start.reuse).expanduser().is_dir()
    return not config.warm_start.steps or (folder / "warm_start" / "config.json").is_file()


def remembers(config: Config) -> bool:
    """Whether what a step makes of its batch depends on the steps before it: on baselines of earlier visits, on a place
    in the corpus.
    """
    learner = config.learner
    mixes = learner.supervised_ratio > 0 and learner.supervised_mixing == "micro_batch"
    own = is_user_name(learner.objective)  # which may remember anything
    return learner.objective == "supervised" or mixes or own or config.objective.compares_with_greedy


class Replay:
    """A learner without actors, executors and Redis."""

    def __init__(
        self,
        config: Config,
        spec: PolicySpec,
        corpus: Corpus | None,
        folder: Path,
        saved: Checkpoint | None,
        with_weights: bool = True,
    ) -> None:
        """Stands where the run in `folder` stood after `saved`, or, with none, where it began to train.

        Without weights `take` rebuilds batches alone. Raises UserError when weights or objective do not fit the
        configuration.
        """
        learner = config.learner
        torch.set_num_threads(learner.threads)
        if config.run.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        policy = build_policy(spec, config.run.seed) if with_weights else build_policy(spec, weights=False)
        self._engine: TrainingEngine | None = None
        self._frozen: list[Annotate] = []
        cuda = learner.gpus_per_worker > 0 and torch.cuda.is_available()
        same_device = cuda == (learner.gpus_per_worker > 0)
        self.exact = (
            learner.workers == 1 and same_device and learner.dtype != "float16"
        )  # whose gradients are scaled by what came before
        """Whether the loss has to be the same to the last bit, rather than up to rounding."""
        self._objective = make_objective(config, policy.is_encoder_decoder)
        if with_weights:
            if config.warm_start.reuse:
                load_weights(policy, Path(config.warm_start.reuse).expanduser())
            elif saved is None and config.warm_start.steps:
                load_weights(policy, folder / "warm_start")
            if saved is not None:
                saved.load_model(policy)
            self._engine = TrainingEngine(policy, learner, World(device="cuda" if cuda else "cpu"))
            self._engine.begin(learner.betas, learner.weight_decay)
            if saved is not None:
                saved.load_optimizer(self._engine.state())
            if self._objective is not None:
                self._frozen = frozen_models(policy, config, folder, self._engine.device)
        self._supervised = Supervised(config.objective.supervised_normalise, policy.spec.max_program_tokens)
        self._stream: CorpusStream | None = None
        if corpus is not None and (self._objective is None or learner.supervised_ratio):
            self._stream = CorpusStream(policy, corpus, learner.supervised_batch_size, f"{config.run.seed}:supervised")
            if self._objective is not None and learner.supervised_mixing == "micro_batch":
                self._objective = with_supervised(self._objective, self._stream, config)
        if saved is not None:
            if self._objective is not None:
                self._objective.load_state_dict(saved.facts["objective"])
            if self._stream is not None:
                self._stream.load_state_dict(saved.facts["corpus"])

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the objective's terms: the rows of each item's weights."""
        return self._objective.terms if self._objective is not None else self._supervised.terms

    def take(self, step: RecordedStep) -> Again:
        """Takes the step after the one that was taken last, and compares.

        Raises FloatingPointError as training does.
        """
        row = step.row
        prepared: Prepared | None = None
        loss: Loss
        if row["objective"] == "supervised":
            assert self._stream is not None
            items, totals = self._stream.next()
            loss = self._supervised.loss
        else:
            assert self._objective is not None
            prepared = self._objective.prepare(step.groups)
            items, totals, loss = prepared.items, prepared.totals, self._objective.loss
        differences = _batch_differences(step, prepared) if prepared is not None else []
        if self._engine is None:
            return Again(prepared, None, differences)
        mine = self._engine.plan(items)
        for annotate in self._frozen if prepared is not None else ():
            mine = annotate(mine)
        result = StepResult.nothing()
        if mine.micro_batches:
            result = self._engine.step(mine.micro_batches, loss, totals, row["learning_rate"])
        for name, ours in (("loss", result.loss), ("gradient norm", result.gradient_norm)):
            theirs = float(row[name.replace(" ", "_")])
            if not (ours == theirs or (not self.exact and abs(ours - theirs) <= ROUNDING * max(1.0, abs(theirs)))):
                differences.append(f"the {name} was {theirs!r} and is {ours!r} now")
        return Again(prepared, result, differences)

    def close(self) -> None:
        """Ends the engine."""
        if self._engine is not None:
            self._engine.close()


def _batch_differences(step: RecordedStep, prepared: Prepared) -> list[str]:
    row, found = step.row, []
    if list(row["sample_ids"]) != [sample.program.id for group in step.groups for sample in group.samples]:
        found.append("the programs are not those that were trained on")
    if list(row["rewards"]) != prepared.rewards:
        found.append("the rewards are not those that were trained with")
    ours, theirs = fingerprints(step.groups, prepared), dict(row["fingerprints"])
    if odd := [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]:
        found.append(
            f"{len(odd)} of {len(theirs)} groups have other tokens or weights than those trained with, the first is "
            f"{odd[0]}"
        )
    return found
