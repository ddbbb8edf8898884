"""What the objectives with one advantage per program share: items, fates, and credit by line on top of the advantage.

With `fine` RLTF's fine-grained term (arXiv 2307.04349, Eq. 9) is added to the advantage of each token, A_t = A + alpha
R_fine on the failing line, before any ratio and clip. It is not part of what is compared or normalised within a group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from rltf.buffer.records import Group, LearnerFate
from rltf.config import AdvantageConfig, Config, CreditConfig, GrpoConfig, PpoClipConfig, RltfConfig
from rltf.learner.baselines import Baselines
from rltf.learner.credit import credited
from rltf.learner.objectives.base import (
    LossInputs,
    LossResult,
    PreparedStep,
    Totals,
    TrainItem,
    greedy_fates,
    totals_of,
)
from rltf.learner.objectives.surrogates import clipped, divisor_of, linear
from rltf.learner.rewards import fine_feedback, fine_weights, reward_named


class PolicyGradient(ABC):
    """An advantage per program on the linear surrogate; a program without any weight teaches nothing and is not
    forwarded.
    """

    name: ClassVar[str]

    def __init__(
        self,
        config: AdvantageConfig,
        rltf: RltfConfig,
        encoder_decoder: bool,
        token_limit: int,
        credit: CreditConfig | None = None,
    ) -> None:
        """`rltf` says what the fine term is, `token_limit` is the most tokens of a program."""
        self._options = config
        self._credit = credit or CreditConfig()
        self._rltf = rltf
        self._encoder_decoder = encoder_decoder
        self._token_limit = token_limit
        self.terms: tuple[str, ...] = ("policy", "fine") if config.fine else ("policy",)
        self._reward = reward_named(config.reward)
        self.baselines = Baselines(getattr(config, "baseline", "none"), [self._reward])

    @classmethod
    def from_config(cls, config: Config, encoder_decoder: bool) -> Self:
        """The objective that its own section describes."""
        section: Any = config.objective
        return cls(section, config.rltf, encoder_decoder, config.policy.max_program_tokens, config.credit)

    @abstractmethod
    def advantages(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """The advantage of every sampled program of every group, from their rewards."""

    def prepare(self, groups: Sequence[Group]) -> PreparedStep:
        """Programs with a weight, with the log-probabilities that they were sampled with."""
        items: list[TrainItem] = []
        fates: dict[str, LearnerFate] = greedy_fates(groups)
        rewards = [[self._reward(sample, group) for sample in group.samples] for group in groups]
        without = 0
        for group, row in zip(groups, self.advantages(groups, rewards), strict=True):
            for sample, advantage in zip(group.samples, row, strict=True):
                program, length = sample.program, len(sample.program.token_ids)
                weights = np.zeros((len(self.terms), length), np.float32)
                chosen = credited(program, self._credit)
                weights[0] = chosen * advantage
                if self._options.fine:
                    fine = fine_feedback(program, sample.feedback, self._rltf, self._encoder_decoder)
                    weights[1] = fine_weights(fine, chosen, self._rltf.alpha)
                has_signal = bool(weights.any())
                without += not has_signal
                # A divergence from the reference is counted over all programs of the step.
                used = has_signal or (self._options.kl > 0 and length > 0)
                fates[program.id] = "trained" if used else "no_signal"
                if used:
                    items.append(
                        TrainItem(program.id, program.prompt_ids, program.token_ids, weights, program.log_probs)
                    )
        programs = [sample.program for group in groups for sample in group.samples]
        row_facts = {"zero_advantage_share": without / max(1, len(programs))}
        return PreparedStep(items, totals_of(programs), fates, [value for row in rewards for value in row], row_facts)

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """-sum_t A_t log p(w_t) of one micro-batch, normalised as configured."""
        return linear(self.terms, log_probs, mask, inputs, self._divisor(mask, totals), self._options)

    def state_dict(self) -> dict[str, Any]:
        """The baselines."""
        return {"baselines": self.baselines.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the baselines are of another kind."""
        if state:
            self.baselines.load_state_dict(state["baselines"])

    def _divisor(self, mask: torch.Tensor, totals: Totals) -> torch.Tensor | float:
        return divisor_of(self._options.normalise, mask, totals, self._token_limit)

    def _less_baseline(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """r_i - r_baseline of every program; the visits then enter the history of baselines."""
        found = []
        for group, row in zip(groups, rewards, strict=True):
            (baseline,) = self.baselines.baseline_for(group)
            found.append([reward - baseline for reward in row])
            self.baselines.update(group)
        return found


class ClippedGradient(PolicyGradient):
    """An advantage per program on the surrogate that clips the ratio to the sampling policy."""

    _options: GrpoConfig | PpoClipConfig

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """The clipped surrogate of one micro-batch, normalised as configured."""
        options, divisor = self._options, self._divisor(mask, totals)
        return clipped(self.terms, log_probs, mask, inputs, divisor, options, options.clip_low, options.clip_high)
