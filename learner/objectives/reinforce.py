"""REINFORCE with a baseline (Williams, Machine Learning 8, 1992): each token is weighted by its program's reward less
the baseline.

    A_i = r_i - b,   L = -1/N sum_i A_i sum_t log p(w_t)

b is the reward of the problem's best or newest greedy program, the group's mean reward, or zero. With the newest greedy
program this is self-critical sequence training (arXiv 1612.00563). `importance_cap` corrects for samples of an older
policy (truncated importance sampling, Ionides 2008; by token as in arXiv 1802.01561).
"""

from __future__ import annotations

from collections.abc import Sequence

from rltf.buffer.records import Group
from rltf.learner.objectives.policy_gradient import PolicyGradient


class Reinforce(PolicyGradient):
    """The reward less a baseline, on the linear surrogate."""

    name = "reinforce"

    def advantages(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """r_i - b."""
        return self._less_baseline(groups, rewards)
