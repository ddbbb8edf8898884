"""The weights that a run begins to train with, once its warm start is done: version 0."""

from __future__ import annotations

from pathlib import Path

from rltf.config import Config
from rltf.learner.export import load_weights
from rltf.policy.policy import Policy, PolicySpec, build_policy

WARM_START = "warm_start"
"""Folder of the warm-started model in the run's folder."""


def first_weights(config: Config, run: Path) -> Path | None:
    """Folder of the warm-started model of the run in `run`; None where it trains on from the policy's own weights."""
    if config.warm_start.reuse:
        return Path(config.warm_start.reuse)
    return run / WARM_START if config.warm_start.steps else None


def keeps_first_weights(config: Config, run: Path) -> bool:
    """Whether the weights that the run in `run` began to train with can be had to the last bit."""
    if config.learner.dtype != "float32":
        return False  # the folder has what the model computes with, not the optimizer's float32 copy
    folder = first_weights(config, run)
    return folder is None or folder.is_dir()


def first_policy(spec: PolicySpec, config: Config, run: Path) -> Policy:
    """The policy with which the run in `run` began to train. Raises UserError when the warm start does not fit it."""
    policy = build_policy(spec, config.run.seed, config.learner.dtype)
    if (folder := first_weights(config, run)) is not None:
        load_weights(policy, folder)
    return policy
