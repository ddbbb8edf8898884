"""pass@k of samples that were judged by themselves, without a run: what the command `grade` says of a file of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rltf.evaluation.bootstrap import intervals
from rltf.evaluation.pass_at_k import pass_at_k

KS = (1, 10, 100)
"""As HumanEval's own harness has them."""


@dataclass(frozen=True, slots=True)
class PassAtK:
    """pass@k over the problems that have enough samples, with its 95% interval (`evaluation.bootstrap`)."""

    k: int
    value: float
    low: float
    high: float
    problems: int
    """Problems with at least k samples."""


def pass_at_ks(counts: Sequence[Sequence[int]], ks: Iterable[int] = KS) -> list[PassAtK]:
    """pass@k for each of `ks` for which a problem has enough samples, `counts`: (samples, passed) of each problem.

    The interval is by the percentile bootstrap over problems.
    """
    found = []
    for k in ks:
        values = [pass_at_k(samples, passed, k) for samples, passed in counts if samples >= k]
        if values:
            low, high = intervals(np.array(values)[:, None])[:, 0]
            found.append(PassAtK(k, float(np.mean(values)), float(low), float(high), len(values)))
    return found


def sentence(one: PassAtK) -> str:
    """ "pass@10 0.412, 95% interval 0.370 to 0.455, over 164 problems"."""
    over = "1 problem" if one.problems == 1 else f"{one.problems:,} problems"
    return f"pass@{one.k} {one.value:.3f}, 95% interval {one.low:.3f} to {one.high:.3f}, over {over}"
