"""Unbiased estimates over the n programs of one problem: pass@k for every k, the best of k, n of k after filtering."""

from __future__ import annotations

from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rltf.evaluation.pass_at_k import pass_at_k

Numbers = NDArray[np.float64]


@lru_cache(maxsize=65536)
def pass_curve(samples: int, passed: int) -> Numbers:
    """pass@1 .. pass@n of a problem, (n,), by `pass_at_k`'s formula in one pass: each factor serves all greater k.

    Raises ValueError for no samples, and a count of `passed` that is none.
    """
    if samples < 1 or not 0 <= passed <= samples:
        raise ValueError(f"{passed} of {samples} samples passed: not a count")
    drawn = np.arange(samples)
    factors = np.clip(samples - passed - drawn, 0, None) / (samples - drawn)
    curve: Numbers = np.float64(1.0) - np.cumprod(factors, dtype=np.float64)
    curve.flags.writeable = False
    return curve


def max_at_k(scores: ArrayLike, k: int) -> float:
    """Expected greatest score of k programs drawn without replacement from n, by their `scores` (n,).

    The i-th lowest of n is the greatest of k in C(i-1, k-1) of the C(n, k) draws. With scores of 0 and 1 it is pass@k.
    Raises ValueError unless 1 <= k <= n.
    """
    ordered = np.sort(np.asarray(scores, np.float64))[::-1]
    if not 1 <= k <= len(ordered):
        raise ValueError(f"max@{k} needs at least {max(k, 1)} samples of a problem, there are {len(ordered)}")
    # From the greatest down: C(n-1, k-1) / C(n, k) = k / n, then each less by the factor (i - k) / (i - 1).
    rank = np.arange(len(ordered), 1, -1)
    weights = k / len(ordered) * np.cumprod(np.concatenate([[1.0], np.clip(rank - k, 0, None) / (rank - 1)]))
    return float(weights @ ordered)


@lru_cache(maxsize=65536)
def n_at_k(samples: int, accepted: int, passed: int, n: int, k: int) -> float:
    """Chance that one of n submissions passes, chosen at random among those of k programs that pass the example tests.

    AlphaCode's n@k (arXiv 2203.07814) with filtering alone: the k are drawn without replacement from `samples`, of
    which `accepted` pass the examples and `passed` of these all tests. The number of accepted programs among the k is
    hypergeometric, and the submissions are a draw without replacement from them. Without example tests all are
    accepted, and n@k is pass@n. Raises ValueError for counts that are none.
    """
    if not (1 <= n <= k <= samples and 0 <= passed <= accepted <= samples):
        raise ValueError(f"{n}@{k} of {samples} samples, {accepted} accepted and {passed} passed: not counts")
    if not passed:
        return 0.0
    draws = comb(samples, k)
    least, most = max(1, k - (samples - accepted)), min(accepted, k)
    return sum(
        comb(accepted, found) * comb(samples - accepted, k - found) / draws * pass_at_k(accepted, passed, min(n, found))
        for found in range(least, most + 1)
    )
