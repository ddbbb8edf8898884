"""Recorded learner steps taken again: batch, rewards and token weights from the record, the loss from weights that were
kept.

A step trains on the weights that the steps before it have left. So a replay begins at a checkpoint (or at the weights
that the run began to train with) and takes every step from there on again; each is held against its metrics row. On one
worker and the same kind of machine the losses are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rltf.buffer.records import Group
from rltf.config import SUPERVISED, Config, is_user_name
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.engine import StepResult
from rltf.learner.export import first_weights
from rltf.learner.objectives.base import PreparedStep
from rltf.learner.step_rows import fingerprints
from rltf.learner.training_step import RunObjectives, TrainingStep, build_training_step
from rltf.learner.world import World
from rltf.policy.policy import PolicySpec, build_shape
from rltf.problems import Corpus

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
class ReplayedStep:
    """One step taken again."""

    prepared: PreparedStep | None
    """None for a supervised step."""
    result: StepResult | None
    """None without weights."""
    differences: list[str]
    """A sentence for each thing that is not as the row says; none when everything is."""


def depends_on_history(config: Config) -> bool:
    """Whether what a step makes of its batch depends on the steps before it: on baselines of earlier visits, on a place
    in the corpus.
    """
    learner = config.learner
    mixes = learner.supervised_ratio > 0 and learner.supervised_mixing == "micro_batch"
    own = is_user_name(learner.objective)  # which may remember anything
    return learner.objective == SUPERVISED or mixes or own or config.objective.compares_with_greedy


class Replay:
    """A learner without actors, executors and Redis."""

    def __init__(
        self,
        config: Config,
        spec: PolicySpec,
        corpus: Corpus | None,
        folder: Path,
        checkpoint: Checkpoint | None,
        with_weights: bool = True,
    ) -> None:
        """Stands where the run in `folder` stood after `checkpoint`, or, with none, where it began to train.

        Without weights `take` rebuilds batches alone. Raises UserError when weights or objective do not fit the
        configuration.
        """
        learner = config.learner
        on_gpu = learner.gpus_per_worker > 0
        cuda = on_gpu and torch.cuda.is_available()
        # In float16 gradients are scaled by what came before.
        self.exact = learner.workers == 1 and cuda == on_gpu and learner.dtype != "float16"
        """Whether the loss has to be the same to the last bit, rather than up to rounding."""
        self._training: TrainingStep | None = None
        if with_weights:
            world, weights = World(device="cuda" if cuda else "cpu"), first_weights(config, folder)
            self._training = build_training_step(config, spec, corpus, world, weights, checkpoint)
            self._training.begin(checkpoint)
            self._training.load_frozen(folder)
            self._objectives = self._training.objectives
        else:
            self._objectives = RunObjectives(config, build_shape(spec), corpus)
            if checkpoint is not None:
                self._objectives.restore(checkpoint)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the objective's terms: the rows of each item's weights."""
        return self._objectives.terms

    def take(self, step: RecordedStep) -> ReplayedStep:
        """Takes the step after the one that was taken last, and compares.

        Raises FloatingPointError as training does.
        """
        row, reinforced = step.row, step.row["objective"] != SUPERVISED
        objective = self._objectives.of_step(reinforced)
        result: StepResult | None = None
        if self._training is None:
            prepared = objective.prepare(step.groups)
        else:
            taken = self._training.take(objective, step.groups, row["learning_rate"])
            prepared, result = taken.prepared, taken.result
        differences = _batch_differences(step, prepared) if reinforced else []
        numbers = (("loss", result.loss), ("gradient norm", result.gradient_norm)) if result is not None else ()
        for name, ours in numbers:
            theirs = float(row[name.replace(" ", "_")])
            if not (ours == theirs or (not self.exact and abs(ours - theirs) <= ROUNDING * max(1.0, abs(theirs)))):
                differences.append(f"the {name} was {theirs!r} and is {ours!r} now")
        return ReplayedStep(prepared if reinforced else None, result, differences)

    def close(self) -> None:
        """Ends the engine."""
        if self._training is not None:
            self._training.close()


def _batch_differences(step: RecordedStep, prepared: PreparedStep) -> list[str]:
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
