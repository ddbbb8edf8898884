"""What the objectives with one advantage per program share: items, fates, and credit by line on top of the advantage.

With `fine` RLTF's fine-grained term (arXiv 2307.04349, Eq. 9) is added to the advantage of each token, A_t = A + alpha
R_fine on the failing line, before any ratio and clip. It is not part of what is compared or normalised within a group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from rltf.buffer.records import Group, Sample
from rltf.config import AdvantageConfig, Config, CreditConfig, GrpoConfig, PpoClipConfig, RltfConfig
from rltf.learner.baselines import Baselines, KeepsBaselines
from rltf.learner.credit import credited
from rltf.learner.objectives.base import LossInputs, LossResult, PreparedStep, Totals, Weights, prepared
from rltf.learner.objectives.surrogates import clipped, divisor_of, linear
from rltf.learner.rewards import fine_feedback, fine_weights, reward_named


class PolicyGradient(KeepsBaselines, ABC):
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
        rewards = [[self._reward(sample, group) for sample in group.samples] for group in groups]
        weights: list[Weights] = []
        for group, row in zip(groups, self.advantages(groups, rewards), strict=True):
            weights += [self._weights(sample, advantage) for sample, advantage in zip(group.samples, row, strict=True)]
        return prepared(groups, weights, [value for row in rewards for value in row], self._options.kl)

    def _weights(self, sample: Sample, advantage: float) -> Weights:
        credit = credited(sample.program, self._credit)
        weights = np.zeros((len(self.terms), len(credit)), np.float32)
        weights[0] = credit * advantage
        if self._options.fine:
            fine = fine_feedback(sample.program, sample.feedback, self._rltf, self._encoder_decoder)
            weights[1] = fine_weights(fine, credit, self._rltf.alpha)
        return weights

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """-sum_t A_t log p(w_t) of one micro-batch, normalised as configured."""
        return linear(self.terms, log_probs, mask, inputs, self._divisor(mask, totals), self._options)

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
