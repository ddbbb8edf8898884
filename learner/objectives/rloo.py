"""REINFORCE leave-one-out (arXiv 2402.14740, section 3.3; Kool et al.

2019): the rest of the group is a program's baseline.

A_i = r_i - 1/(n-1) sum_{j != i} r_j,   L = -1/N sum_i A_i sum_t log p(w_t)
"""

from __future__ import annotations

from collections.abc import Sequence

from rltf.buffer.records import Group
from rltf.learner.objectives.policy_gradient import PolicyGradient


def leave_one_out(rewards: Sequence[float]) -> list[float]:
    """(n,) r_i less the mean of the others; zeros where all rewards are equal or there is but one."""
    if len(set(rewards)) < 2:
        return [0.0] * len(rewards)
    total, others = sum(rewards), len(rewards) - 1
    return [reward - (total - reward) / others for reward in rewards]


class Rloo(PolicyGradient):
    """The reward less the mean of the rest of the group, on the linear surrogate."""

    name = "rloo"

    def advantages(self, groups: Sequence[Group], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
        """r_i less the mean of the others in its group."""
        return [leave_one_out(row) for row in rewards]
