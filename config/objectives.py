"""The reinforcement objectives, one section each: `ObjectiveSections` has them all."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from rltf.config.base import ConfigSection, Folder
from rltf.config.choice import OneOf, first_sentence

Baseline = Literal["best", "latest_greedy", "group_mean", "none"]
Normalise = Literal["sequence_sum", "sequence_mean", "token_mean", "constant"]
REWARDS = {
    "binary": "1 if every test passes, else 0",
    "pass_ratio": "share of tests that pass",
    "coarse": "RLTF's coarse reward (Eq. 3)",
    "adaptive": "coarse with Eq. 5 for wrong answers",
}
"""Rewards of a program (`learner.rewards`)."""


class Guards(ConfigSection):
    """What keeps any surrogate from running away, each off unless set."""

    log_prob_floor: float | None = Field(None, lt=0)
    """A token is not pushed further down once its log-probability is below this, say -10; none: no floor, as in the
    paper."""
    importance_cap: float | None = Field(None, gt=0)
    """Weight each token by its ratio to the sampling policy, at most this (truncated importance sampling); none: see
    docs/objectives.md."""
    kl: float = Field(0.0, ge=0)
    """Weight of the divergence, per program token, from the policy at the start of training; above 0 a frozen copy of
    it is kept."""


class ObjectiveConfig(Guards):
    """What the sections of all reinforcement objectives have in common, and what the rest of a run asks of them."""

    presets: ClassVar[tuple[str, dict[str, dict[str, Any]]]] = ("", {})
    """The field that chooses a preset, and by its value what the preset sets."""

    @property
    @abstractmethod
    def group_relative(self) -> bool:
        """Whether it compares sampled programs of one visit, of which there have to be two then.

        Each section says so itself: a class without it cannot be made.
        """

    @property
    def compares_with_greedy(self) -> bool:
        """Whether it compares with a greedy program."""
        return False

    @property
    def weighed_by_critic(self) -> bool:
        """Whether a critic (`rltf.critic`) weighs its tokens."""
        return False

    @property
    def supervised_normalise(self) -> Normalise:
        """How a supervised term beside it is divided."""
        return "token_mean"

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Values of the chosen preset under those that are given."""
        field, presets = cls.presets
        chosen = presets.get(given[field]) if isinstance(given, dict) and isinstance(given.get(field), str) else None
        return {**chosen, **given} if chosen else given


class BaselineConfig(ObjectiveConfig):
    """What the objectives with a choice of baselines have in common."""

    baseline: Baseline = "group_mean"
    """What a program's reward is compared with: the problem's best so far; its newest greedy program's; the mean of its
    group; nothing."""

    @property
    def group_relative(self) -> bool:
        """Whether the baseline is the group's mean."""
        return self.baseline == "group_mean"

    @property
    def compares_with_greedy(self) -> bool:
        """Whether the baseline is a greedy program's, or begun by one."""
        return self.baseline in ("best", "latest_greedy")


class RltfConfig(BaselineConfig):
    """RLTF (arXiv 2307.04349): coarse, fine-grained and adaptive feedback.

    The fine-grained fields also hold where another objective has `fine` true.
    """

    preset: Literal["paper", "released_code"] = "paper"
    """paper: its equations; released_code: the authors' program. Sets the fields in which they differ; each given
    beside it wins."""
    coarse: bool = True
    """Use the coarse term (Eq. 3, 8)."""
    fine: bool = True
    """Use the fine-grained term (Eq. 4, 9)."""
    adaptive: bool = True
    """Use the adaptive term (Eq. 5, 10)."""
    fine_reward: float = Field(-0.3, le=0)
    """Reward of the tokens of a failing line (R_fine)."""
    critic_weighting: bool = False
    """Multiply the coarse and the adaptive term of each token by a critic's probability of the true outcome
    (CodeRL)."""
    critic: Folder = ""
    """Folder of the critic, which the command train-critic makes from the samples of a run."""
    fine_grained_type: Literal[0, 1] = 0
    """1: the critic weighs the fine term, too."""
    adaptive_mode: Literal["add", "replace"] = "add"
    """add: a term of its own beside the coarse one (Eq. 6); replace: of a failure it stands in the coarse reward's
    place."""
    alpha: Literal["span_ratio", "const"] = "span_ratio"
    """Factor of the fine term: T / (E - S) (Eq. 9), or 1."""
    baseline: Baseline = "best"
    """What a program is compared with: the problem's best so far, begun by a greedy one; its newest greedy one; its
    group; nothing."""
    normalise: Normalise = "sequence_sum"
    """sequence_sum: sum over a program's tokens (Eq. 2), averaged over programs; sequence_mean: mean over them,
    averaged likewise; token_mean: mean over all tokens of the step; constant: as sequence_sum, divided by
    policy.max_program_tokens."""
    timeouts: Literal["global", "ignore"] = "global"
    """Whether all of a program that runs too long gets fine-grained feedback, or none of it (Table 2: U_global)."""
    indentation_errors: Literal["ignore", "by_message"] = "ignore"
    """by_message: only inconsistent tabs and unmatched dedents are ignored, other indentation errors blame a line
    (Table 2: ignored)."""
    triple_quoted: Literal["ignore", "line"] = "ignore"
    """Whether an unterminated triple-quoted string is ignored or blames a line (Table 2: ignored)."""
    unfinished: Literal["length", "last_line"] = "length"
    """Which syntax errors on a program's last line are U_global. length: those of a program cut off at the token limit;
    last_line: those with one of three messages that the released code looks for, whether or not it was cut off."""
    other_errors: Literal["line", "ignore"] = "line"
    """RuntimeError, crashes, exit codes and compile errors that Python finds after parsing blame their line (Table 2:
    Else), or nothing."""
    lines: Literal["offsets", "first_text"] = "offsets"
    """Tokens of a failing line: by position; or the first place where its stripped text occurs in the program."""
    decoder_only_lines: bool = True
    """Whether a failing line is blamed where the policy is decoder-only."""

    presets = (
        "preset",
        {
            "released_code": {
                "critic_weighting": True,
                "fine_grained_type": 1,
                "adaptive_mode": "replace",
                "alpha": "const",
                "baseline": "latest_greedy",
                "normalise": "token_mean",
                "timeouts": "ignore",
                "indentation_errors": "by_message",
                "triple_quoted": "line",
                "unfinished": "last_line",
                "other_errors": "ignore",
                "lines": "first_text",
                "decoder_only_lines": False,
            }
        },
    )

    @property
    def weighed_by_critic(self) -> bool:
        """`critic_weighting`."""
        return self.critic_weighting

    @property
    def supervised_normalise(self) -> Normalise:
        """As RLTF's own terms (Eq. 7)."""
        return self.normalise


class AdvantageConfig(ObjectiveConfig):
    """What the objectives with one advantage per program have in common."""

    reward: Annotated[str, OneOf(REWARDS)] = "binary"
    """What a program earns."""
    fine: bool = False
    """Add RLTF's fine-grained term (Eq. 9, fields of `rltf`) to the advantage of each token: credit by line."""
    normalise: Normalise = "token_mean"
    """sequence_sum: sum over a program's tokens, averaged over programs; sequence_mean: mean over them, averaged
    likewise; token_mean: mean over all tokens of the step; constant: as sequence_sum, divided by
    policy.max_program_tokens."""


class ReinforceConfig(BaselineConfig, AdvantageConfig):
    """REINFORCE (Williams 1992): the reward less a baseline."""

    normalise: Normalise = "sequence_sum"
    """As in the other objectives; a program is one action here, so its log-probability is the sum over its tokens."""


class RlooConfig(AdvantageConfig):
    """REINFORCE leave-one-out (arXiv 2402.14740): the reward less the mean of the rest of the group."""

    normalise: Normalise = "sequence_sum"
    """As in the other objectives; a program is one action here, so its log-probability is the sum over its tokens."""

    @property
    def group_relative(self) -> bool:
        """Always."""
        return True


class GrpoConfig(AdvantageConfig):
    """Group-relative policy optimisation (arXiv 2402.03300): advantage by group, ratio clip."""

    variant: Literal["grpo", "dr"] = "grpo"
    """dr: Dr. GRPO (arXiv 2503.20783), scale none and normalise constant; a field that is given beside it wins."""
    scale: Literal["deviation", "none"] = "deviation"
    """Whether the advantage is divided by the standard deviation of the group's rewards."""
    clip_low: float = Field(0.2, ge=0)
    """The ratio to the sampling policy is clipped below 1 - clip_low."""
    clip_high: float = Field(0.28, ge=0)
    """The ratio to the sampling policy is clipped above 1 + clip_high."""

    presets = ("variant", {"dr": {"scale": "none", "normalise": "constant"}})

    @property
    def group_relative(self) -> bool:
        """Always."""
        return True


class PpoClipConfig(BaselineConfig, AdvantageConfig):
    """PPO's clipped surrogate (arXiv 1707.06347) without a value function: the reward less a baseline, whitened over
    the step.
    """

    whiten: bool = True
    """Whether the step's advantages are shifted and scaled to mean 0 and standard deviation 1."""
    clip_low: float = Field(0.2, ge=0)
    """The ratio to the sampling policy is clipped below 1 - clip_low."""
    clip_high: float = Field(0.2, ge=0)
    """The ratio to the sampling policy is clipped above 1 + clip_high."""


class CustomConfig(BaselineConfig, AdvantageConfig):
    """An objective of your own (`learner.objective` MODULE:NAME of run.code), as far as it reads these fields."""


class SupervisedConfig(ObjectiveConfig):
    """Programs of the corpus alone, the control without reinforcement learning."""

    @property
    def group_relative(self) -> bool:
        """Never: no program is sampled to train on."""
        return False


class ObjectiveSections(ConfigSection):
    """A section for each objective, under the name that `learner.objective` gives it."""

    grpo: GrpoConfig = GrpoConfig()
    rltf: RltfConfig = RltfConfig()
    reinforce: ReinforceConfig = ReinforceConfig()
    rloo: RlooConfig = RlooConfig()
    ppo_clip: PpoClipConfig = PpoClipConfig()


SUPERVISED = "supervised"
"""The objective that is none, and has no section."""
OBJECTIVES = {
    **{name: first_sentence(field.annotation.__doc__ or "") for name, field in ObjectiveSections.model_fields.items()},
    SUPERVISED: first_sentence(SupervisedConfig.__doc__ or ""),
}
"""Every `learner.objective`, with what it is. `learner.objectives.OBJECTIVES` has the classes."""
