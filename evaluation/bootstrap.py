"""Percentile bootstrap over problems: how much a mean would differ with other problems of the same kind.

Resampling problems covers both the choice of problems and the sampling of their programs, which are drawn anew with
each. Every metric, and the second of two policies, sees the same resamples, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
_AT_ONCE = 250
"""Resamples whose weights are in memory at the same time."""

Numbers = NDArray[np.float64]


def means(values: Numbers) -> Numbers:
    """(M,) means over the problems of `values` (P, M), each over those that have a value: no value is NaN."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        found: Numbers = np.where(there, values, 0.0).sum(axis=0) / there.sum(axis=0)
    return found


def resampled_means(values: Numbers, seed: int = 0, resamples: int = RESAMPLES) -> Numbers:
    """(resamples, M) means over as many problems drawn with replacement; the same seed draws the same problems."""
    rng = np.random.default_rng(seed)
    problems = len(values)
    there = ~np.isnan(values)
    filled, counted = np.where(there, values, 0.0), there.astype(np.float64)
    parts = []
    for size in _pieces(resamples):
        times = rng.multinomial(problems, np.full(problems, 1 / problems), size=size).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append((times @ filled) / (times @ counted))
    return np.concatenate(parts)


def intervals(values: Numbers, seed: int = 0, resamples: int = RESAMPLES) -> Numbers:
    """(2, M) lower and upper end of the means' 95% intervals; of a single problem, or none, they are no wider than it.

    `values` (P, M): of each problem and metric, NaN where a problem has none.
    """
    if len(values) < 2:
        return np.stack([means(values)] * 2)
    tail = 50 * (1 - LEVEL)
    found: Numbers = np.nanpercentile(resampled_means(values, seed, resamples), [tail, 100 - tail], axis=0)
    return found


def p_values(differences: Numbers, seed: int = 0, resamples: int = RESAMPLES) -> Numbers:
    """(M,) two-sided p-values that the mean of paired `differences` (P, M) is zero; 1 where all of them are zero.

    Twice the smaller share of resampled means at or beyond zero, and no less than one resample in all of them.
    """
    found = resampled_means(differences, seed, resamples)
    share = np.minimum((found <= 0).mean(axis=0), (found >= 0).mean(axis=0))
    return np.minimum(1.0, np.maximum(2 * share, 1 / resamples))


def _pieces(total: int) -> Iterator[int]:
    for start in range(0, total, _AT_ONCE):
        yield min(_AT_ONCE, total - start)
