"""What can be minimised: one module per objective, one small interface (`learner.objectives.base`)."""

from config import Config
from learner.objectives.base import Objective
from learner.objectives.grpo import Grpo
from learner.objectives.rltf import Rltf

__all__ = ["Objective", "make_objective"]


def make_objective(config: Config) -> Objective | None:
    """The reinforcement objective that `learner.objective` names; none for `supervised`, which trains on the corpus alone."""
    if config.learner.objective == "rltf":
        return Rltf(config.rltf)
    if config.learner.objective == "grpo":
        return Grpo(config.grpo)
    return None
