"""The unbiased estimator of pass@k (Chen et al., arXiv 2107.03374, Eq.

1), averaged over problems with a standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems and its standard error, both shares between 0 and 1."""

    value: float
    standard_error: float
    problems: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.standard_error:.3f}"


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """1 - C(n-c, k) / C(n, k): the chance that one of k programs drawn without replacement from `samples` (n) is one of
    the `passed` (c).

    In product form, which neither overflows nor cancels. Raises ValueError unless 1 <= k <= n and 0 <= c <= n.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {max(k, 1)} samples of a problem, there are {samples}")
    if not 0 <= passed <= samples:
        raise ValueError(f"{passed} of {samples} samples passed: not a count")
    if samples - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(samples - passed + 1, samples + 1))


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> Estimate:
    """pass@k averaged over problems, each problem weighing the same.

    `counts`: (samples, passed) of each problem. The standard error is that of the mean over problems (standard
    deviation with n - 1, over the root of n), so it covers the choice of problems and the sampling of programs; 0 for
    fewer than two problems. Raises ValueError for no problems, and as `pass_at_k` does.
    """
    if not counts:
        raise ValueError("pass@k of no problems")
    return mean_of([pass_at_k(samples, passed, k) for samples, passed in counts])


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of a figure's values, one per problem, with its standard error (`mean_pass_at_k`)."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean, 0.0, len(values))
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Estimate(mean, math.sqrt(variance / len(values)), len(values))
