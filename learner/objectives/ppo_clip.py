"""The clipped surrogate of PPO (arXiv 1707.06347, Eq. 7) without a value function: one advantage per program.

    A_i = r_i - b, whitened over the programs of the step;  ratio_t = p(w_t) / p_sampler(w_t)
    L   = -1/N sum_i sum_t min(ratio_t A_i, clip(ratio_t, 1 - low, 1 + high) A_i)

The sampling policy's log-probabilities are those stored with the samples; b is as in `learner.objectives.reinforce`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltf.buffer.records import Group
from rltf.config import PpoClipConfig
from rltf.learner.objectives.policy_gradient import ClippedGradient


def whitened(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """All numbers shifted to mean 0 and divided by their standard deviation + 1e-8; zeros where all are equal."""
    flat = np.array([value for row in rows for value in row])
    if flat.size == 0 or np.all(flat == flat[0]):
        return [[0.0] * len(row) for row in rows]
    mean, deviation = float(flat.mean()), float(flat.std()) + 1e-8
    return [[(value - mean) / deviation for value in row] for row in rows]


class PpoClip(ClippedGradient):
    """The reward less a baseline, whitened, with a ratio clip."""

    name = "ppo_clip"

    _options: PpoClipConfig

    def advantages(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """r_i - b, whitened over the step where configured."""
        found = self._less_baseline(groups, rewards)
        return whitened(found) if self._options.whiten else found
