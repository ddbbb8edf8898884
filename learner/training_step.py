"""One learner step: groups of sampled programs in, an optimizer step on the policy out; without Redis, without Ray.

The learner's loop (`learner.worker`), the warm start and a replay (`learner.replay`) take their steps here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from rltf.buffer.records import Group
from rltf.config import Config
from rltf.learner.batching import Plan
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.critic import load_critic
from rltf.learner.engine import StepResult, TrainingEngine
from rltf.learner.export import load_weights
from rltf.learner.objectives.base import Objective, PreparedStep
from rltf.learner.reference import load_reference
from rltf.learner.run_objectives import RunObjectives
from rltf.learner.world import World
from rltf.policy.policy import Policy, PolicySpec, build_policy
from rltf.problems import Corpus


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
