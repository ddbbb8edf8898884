"""What can be minimised: one module per objective, one small interface (`learner.objectives.base`)."""

from rltf.config import Config, Normalise
from rltf.learner.objectives.base import Objective
from rltf.learner.objectives.grpo import Grpo
from rltf.learner.objectives.mixed import Mixed, Stream
from rltf.learner.objectives.ppo_clip import PpoClip
from rltf.learner.objectives.reinforce import Reinforce
from rltf.learner.objectives.rloo import Rloo
from rltf.learner.objectives.rltf import Rltf

__all__ = ["Objective", "make_objective", "supervised_normalise", "with_supervised"]


def make_objective(config: Config, encoder_decoder: bool) -> Objective | None:
    """The reinforcement objective that `learner.objective` names; none for `supervised`, which trains on the corpus
    alone.
    """
    name, limit = config.learner.objective, config.policy.max_program_tokens
    if name == "rltf":
        return Rltf(config.rltf, encoder_decoder, limit)
    if name == "reinforce":
        return Reinforce(config.reinforce, config.rltf, encoder_decoder, limit)
    if name == "rloo":
        return Rloo(config.rloo, config.rltf, encoder_decoder, limit)
    if name == "grpo":
        return Grpo(config.grpo, config.rltf, encoder_decoder, limit)
    if name == "ppo_clip":
        return PpoClip(config.ppo_clip, config.rltf, encoder_decoder, limit)
    return None


def supervised_normalise(config: Config) -> Normalise:
    """How the supervised term is divided: as RLTF's own terms are (Eq. 7), else by tokens."""
    return config.rltf.normalise if config.learner.objective == "rltf" else "token_mean"


def with_supervised(objective: Objective, stream: Stream, config: Config) -> Objective:
    """The objective with the supervised term in each of its steps (`learner.supervised_mixing` micro_batch)."""
    return Mixed(
        objective,
        stream,
        config.learner.supervised_ratio,
        supervised_normalise(config),
        config.policy.max_program_tokens,
    )
