"""Group-relative policy optimisation (arXiv 2402.03300): the advantage of a program over its group, clipped importance
ratios.

    A_i = (r_i - mean(r)) / (sd(r) + 1e-4),  ratio_t = p(w_t) / p_sampler(w_t)
    L   = -1/N sum_i sum_t min(ratio_t A_i, clip(ratio_t, 1 - low, 1 + high) A_i)

over the N program tokens of the step, with separate bounds below and above (arXiv 2503.14476). `normalise:
sequence_mean` is the original's 1/G sum_i 1/|o_i|. Dr. GRPO (arXiv 2503.20783) divides neither by the deviation nor by
lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rltf.buffer.records import Group
from rltf.config import CreditConfig, GrpoConfig, RltfConfig
from rltf.learner.objectives.base import LossInputs, LossResult, Totals
from rltf.learner.objectives.policy_gradient import PolicyGradient
from rltf.learner.objectives.surrogates import clipped


def advantages(rewards: Sequence[float], scale: bool = True) -> list[float]:
    """(r - mean) / (sd + 1e-4) with the sample standard deviation (n - 1), or (r - mean) without `scale`.

    Zeros where all rewards are equal or there is but one.
    """
    if len(set(rewards)) < 2:
        return [0.0] * len(rewards)
    mean = float(np.mean(rewards))
    divisor = float(np.std(rewards, ddof=1)) + 1e-4 if scale else 1.0
    return [(reward - mean) / divisor for reward in rewards]


class Grpo(PolicyGradient):
    """Group-normalised advantage with a ratio clip; a group whose programs earned the same teaches nothing by it."""

    name = "grpo"

    def __init__(
        self,
        config: GrpoConfig,
        rltf: RltfConfig,
        encoder_decoder: bool,
        token_limit: int,
        credit: CreditConfig | None = None,
    ) -> None:
        super().__init__(config, rltf, encoder_decoder, token_limit, credit)
        self._config = config

    def advantages(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """Relative to each program's group."""
        return [advantages(row, self._config.scale == "deviation") for row in rewards]

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """The clipped surrogate of one micro-batch, normalised as configured."""
        divisor = self._divisor(mask, totals)
        return clipped(
            self.terms, log_probs, mask, inputs, divisor, self._config, self._config.clip_low, self._config.clip_high
        )
