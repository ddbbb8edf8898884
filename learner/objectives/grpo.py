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

from rltf.buffer.records import Group
from rltf.config import GrpoConfig
from rltf.learner.objectives.policy_gradient import ClippedGradient


def advantages(rewards: Sequence[float], scale: bool = True) -> list[float]:
    """(r - mean) / (sd + 1e-4) with the sample standard deviation (n - 1), or (r - mean) without `scale`.

    Zeros where all rewards are equal or there is but one.
    """
    if len(set(rewards)) < 2:
        return [0.0] * len(rewards)
    mean = float(np.mean(rewards))
    divisor = float(np.std(rewards, ddof=1)) + 1e-4 if scale else 1.0
    return [(reward - mean) / divisor for reward in rewards]


class Grpo(ClippedGradient):
    """Group-normalised advantage with a ratio clip; a group whose programs earned the same teaches nothing by it."""

    name = "grpo"

    _options: GrpoConfig

    def advantages(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """Relative to each program's group."""
        return [advantages(row, self._options.scale == "deviation") for row in rewards]
