"""The frozen models that stand beside the policy in training: each adds what it knows to a step's plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from rltf.config import Config
from rltf.learner.batching import Plan
from rltf.learner.critic import load_critic
from rltf.learner.reference import load_reference
from rltf.policy.policy import Policy

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
