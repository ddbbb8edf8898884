"""What can be minimised: one module per objective, one small interface (`learner.objectives.base`)."""

from rltf.config import Config, chosen, is_user_name
from rltf.learner.objectives.base import Objective, ObjectiveKind
from rltf.learner.objectives.grpo import Grpo
from rltf.learner.objectives.mixed import Mixed, Stream
from rltf.learner.objectives.ppo_clip import PpoClip
from rltf.learner.objectives.reinforce import Reinforce
from rltf.learner.objectives.rloo import Rloo
from rltf.learner.objectives.rltf import Rltf
from rltf.learner.objectives.user import UserObjective

__all__ = ["OBJECTIVES", "Objective", "make_objective", "with_supervised"]

OBJECTIVES: dict[str, ObjectiveKind | None] = {
    "grpo": Grpo,
    "rltf": Rltf,
    "reinforce": Reinforce,
    "rloo": Rloo,
    "ppo_clip": PpoClip,
    "supervised": None,
}
"""By the names that `learner.objective` gives them; None trains on the corpus alone."""


def make_objective(config: Config, encoder_decoder: bool) -> Objective | None:
    """The reinforcement objective that `learner.objective` names; None for `supervised`, which trains on the corpus
    alone. Raises UserError for a name that no objective has, and for a user's own that cannot be used.
    """
    if is_user_name(config.learner.objective):
        return UserObjective(config, encoder_decoder)
    kind = chosen(OBJECTIVES, config.learner.objective, "learner.objective")
    return None if kind is None else kind.from_config(config, encoder_decoder)


def with_supervised(objective: Objective, stream: Stream, config: Config) -> Objective:
    """The objective with the supervised term in each of its steps (`learner.supervised_mixing` micro_batch)."""
    return Mixed(
        objective,
        stream,
        config.learner.supervised_ratio,
        config.objective.supervised_normalise,
        config.policy.max_program_tokens,
    )
