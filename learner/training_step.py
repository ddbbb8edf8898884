"""One learner step, and what it minimises: groups of sampled programs in, an optimizer step on the policy out; without
Redis, without Ray.

The learner's loop (`learner.worker`), the warm start and a replay (`learner.replay`) take their steps here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rltf.buffer.records import Group
from rltf.config import Config, UserError
from rltf.learner.batching import Plan
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.corpus_stream import CorpusStream, Imitation
from rltf.learner.critic import load_critic
from rltf.learner.engine import StepResult, TrainingEngine
from rltf.learner.export import load_weights
from rltf.learner.objectives import make_objective, with_supervised
from rltf.learner.objectives.base import Objective, PreparedStep
from rltf.learner.reference import load_reference
from rltf.learner.world import World
from rltf.policy.policy import Policy, PolicySpec, build_policy
from rltf.problems import Corpus


class RunObjectives:
    """The objective of reinforcement steps and that of supervised ones, as far as the run has them."""

    def __init__(self, config: Config, policy: Policy, corpus: Corpus | None) -> None:
        """`policy` need not have weights. Raises ValueError when a corpus is needed and there is none."""
        learner = config.learner
        self._reinforcement = make_objective(config, policy.is_encoder_decoder)
        self._supervised: Imitation | None = None
        if self._reinforcement is None or learner.supervised_ratio:
            if corpus is None:
                raise ValueError("supervised steps need a corpus")
            stream = CorpusStream(policy, corpus, learner.supervised_batch_size, f"{config.run.seed}:supervised")
            normalise = config.objective.supervised_normalise
            self._supervised = Imitation(stream, normalise, policy.spec.max_program_tokens)
            if self._reinforcement is not None and learner.supervised_mixing == "micro_batch":
                self._reinforcement = with_supervised(self._reinforcement, stream, config)

    def of_step(self, reinforce: bool) -> Objective:
        """The objective of a reinforcement step, or of a supervised one. Raises ValueError when the run has none."""
        found = self._reinforcement if reinforce else self._supervised
        if found is None:
            raise ValueError(f"a run without {'reinforcement' if reinforce else 'supervised'} steps")
        return found

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that weigh sampled programs, else corpus programs."""
        return self.of_step(self._reinforcement is not None).terms

    def state_dict(self) -> dict[str, Any]:
        """What has to survive a restart, as facts of a checkpoint; JSON-able."""
        parts = {"objective": self._reinforcement, "corpus": self._supervised}
        return {name: {} if part is None else part.state_dict() for name, part in parts.items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on as after `checkpoint`. Raises UserError when the objective's state does not fit the configuration."""
        try:
            for name, part in (("objective", self._reinforcement), ("corpus", self._supervised)):
                if part is not None:
                    part.load_state_dict(checkpoint.facts[name])
        except ValueError as error:
            raise UserError(f"checkpoint {checkpoint.folder} does not fit the configuration: {error}") from error


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that was taken."""

    objective: str
    """Name of the objective."""
    prepared: PreparedStep
    plan: Plan
    """This rank's share."""
    result: StepResult
    learning_rate: float
    seconds: dict[str, float]
    """Of this rank, by phase: prepare, frozen, and those of `StepResult`."""


class TrainingStep:
    """The policy with its engine, the objectives of its steps, and the frozen models beside it."""

    def __init__(self, config: Config, policy: Policy, engine: TrainingEngine, corpus: Corpus | None) -> None:
        """Raises ValueError when a corpus is needed and there is none."""
        self.policy = policy
        self.engine = engine
        self.objectives = RunObjectives(config, policy, corpus)
        self._config = config
        self._frozen: list[Annotate] = []

    def begin(self, checkpoint: Checkpoint | None = None) -> None:
        """Stands before the first step after the warm start, or after `checkpoint`: all that the next step depends on
        is as it was then, but for the frozen models.

        Raises UserError when the checkpoint does not fit the configuration.
        """
        self.engine.reset_optimizer(self._config.learner.betas, self._config.learner.weight_decay)
        if checkpoint is not None:
            checkpoint.load_optimizer(self.engine.state())
            self.objectives.restore(checkpoint)
            checkpoint.restore_random()

    def load_frozen(self, run: Path) -> None:
        """Loads the frozen models of the run in `run`, whose warm start rank 0 has written. Collective.

        Raises UserError when a folder does not hold the model that it should.
        """
        self.engine.barrier()
        self._frozen = frozen_models(self.policy, self._config, run, self.engine.device)

    def take(
        self,
        objective: Objective,
        groups: Sequence[Group],
        learning_rate: float,
        previous: Collection[str] = (),
        statistics: bool = True,
    ) -> Taken:
        """Takes one optimizer step; none where no program carries a signal. Collective.

        `groups`: none for a supervised step. `previous`, `statistics`, errors: see TrainingEngine.step.
        """
        began = time.perf_counter()
        prepared = objective.prepare(groups)
        plan = self.engine.plan(prepared.items)
        ready = time.perf_counter()
        seconds = {"prepare": ready - began}
        if self._frozen and groups:
            for annotate in self._frozen:
                plan = annotate(plan)
            seconds["frozen"] = time.perf_counter() - ready
        result = StepResult.empty()
        if plan.micro_batches:
            result = self.engine.step(
                plan.micro_batches, objective.loss, prepared.totals, learning_rate, statistics, previous
            )
        return Taken(objective.name, prepared, plan, result, learning_rate, seconds | result.seconds)

    def close(self) -> None:
        """Ends the engine."""
        self.engine.close()


def build_training_step(
    config: Config,
    spec: PolicySpec,
    corpus: Corpus | None,
    world: World,
    weights: Path | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainingStep:
    """Sets this process up and builds the policy, with the weights of `checkpoint`, else of the folder `weights`, else
    its own; `TrainingStep.begin` and `load_frozen` follow.

    Collective. Raises UserError when the weights do not fit the policy.
    """
    torch.set_num_threads(config.learner.threads)
    torch.manual_seed(config.run.seed)
    if config.run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's matrix products refuse
        torch.use_deterministic_algorithms(True)
    policy = build_policy(spec, config.run.seed)
    if checkpoint is not None:
        checkpoint.load_model(policy)
    elif weights is not None:
        load_weights(policy, weights)
    return TrainingStep(config, policy, TrainingEngine(policy, config.learner, world), corpus)


Annotate = Callable[[Plan], Plan]


def frozen_models(policy: Policy, config: Config, folder: Path, device: torch.device | str) -> list[Annotate]:
    """The reference and the critic, as far as the objective asks for them; `folder` is the run's.

    Raises UserError when a folder does not hold the model that it should.
    """
    found: list[Annotate] = []
    if config.objective.kl:
        found.append(load_reference(policy.spec, config, folder, device).annotate)
    if config.objective.weighed_by_critic:
        critic = load_critic(Path(config.rltf.critic), policy, config.learner.micro_batch_tokens, device)
        inside = config.rltf.fine_grained_type == 1
        found.append(partial(critic.weigh, terms=(True, inside, True)))
    return found
