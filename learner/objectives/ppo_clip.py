"""The clipped surrogate of PPO (arXiv 1707.06347, Eq. 7) without a value function: one advantage per program.

    A_i = r_i - b, whitened over the programs of the step;  ratio_t = p(w_t) / p_sampler(w_t)
    L   = -1/N sum_i sum_t min(ratio_t A_i, clip(ratio_t, 1 - low, 1 + high) A_i)

The sampling policy's log-probabilities are those stored with the samples; b is as in `learner.objectives.reinforce`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rltf.buffer.records import Group
from rltf.config import CreditConfig, PpoClipConfig, RltfConfig
from rltf.learner.objectives.base import LossInputs, LossResult, Totals
from rltf.learner.objectives.policy_gradient import PolicyGradient
from rltf.learner.objectives.surrogates import clipped


def whitened(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """All numbers shifted to mean 0 and divided by their standard deviation + 1e-8; zeros where all are equal."""
    flat = np.array([value for row in rows for value in row])
    if flat.size == 0 or np.all(flat == flat[0]):
        return [[0.0] * len(row) for row in rows]
    mean, deviation = float(flat.mean()), float(flat.std()) + 1e-8
    return [[(value - mean) / deviation for value in row] for row in rows]


class PpoClip(PolicyGradient):
    """The reward less a baseline, whitened, with a ratio clip."""

    name = "ppo_clip"

    def __init__(
        self,
        config: PpoClipConfig,
        rltf: RltfConfig,
        encoder_decoder: bool,
        token_limit: int,
        credit: CreditConfig | None = None,
    ) -> None:
        super().__init__(config, rltf, encoder_decoder, token_limit, credit)
        self._config = config

    def advantages(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """r_i - b, whitened over the step where configured."""
        found = self._less_baseline(groups, rewards)
        return whitened(found) if self._config.whiten else found

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """The clipped surrogate of one micro-batch, normalised as configured."""
        divisor = self._divisor(mask, totals)
        return clipped(
            self.terms, log_probs, mask, inputs, divisor, self._config, self._config.clip_low, self._config.clip_high
        )
