"""Learning rates as functions of the step, each above zero at its first step."""

from __future__ import annotations

import math
from collections.abc import Callable

LearningRate = Callable[[int], float]
"""From the number of steps already taken to the learning rate of the next."""


def linear(peak: float, steps: int, warmup_steps: int, final_share: float) -> LearningRate:
    """Rises over `warmup_steps`, then changes linearly so that the last of `steps` has `final_share` of the peak."""
    return _warmed_up(peak, steps, warmup_steps, lambda progress: 1.0 - (1.0 - final_share) * progress)


def cosine(peak: float, steps: int, warmup_steps: int, final_share: float) -> LearningRate:
    """Rises over `warmup_steps`, then falls along a cosine to `final_share` of the peak at the last of `steps`."""
    height = 1.0 - final_share
    return _warmed_up(
        peak,
        steps,
        warmup_steps,
        lambda progress: final_share + height * 0.5 * (1.0 + math.cos(math.pi * progress)),
    )


def _warmed_up(peak: float, steps: int, warmup_steps: int, decay: Callable[[float], float]) -> LearningRate:
    """`decay`: from the share of the steps after the warm-up to that of the peak."""

    def rate(step: int) -> float:
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        return peak * decay(min(1.0, (step - warmup_steps) / max(1, steps - 1 - warmup_steps)))

    return rate
