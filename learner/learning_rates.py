"""Learning rates as functions of the step, each above zero at its first step."""

from __future__ import annotations

import math
from collections.abc import Callable

LearningRate = Callable[[int], float]
"""From the number of steps already taken to the learning rate of the next."""


def linear(peak: float, steps: int, warmup_steps: int, final_share: float) -> LearningRate:
    """Rises over `warmup_steps`, then changes linearly so that the last of `steps` has `final_share` of the peak."""

    def rate(step: int) -> float:
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, steps - 1 - warmup_steps))
        return peak * (1.0 - (1.0 - final_share) * progress)

    return rate


def cosine(peak: float, steps: int, warmup_steps: int, final_share: float) -> LearningRate:
    """Rises over `warmup_steps`, then falls along a cosine to `final_share` of the peak at the last of `steps`."""

    def rate(step: int) -> float:
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, steps - 1 - warmup_steps))
        return peak * (final_share + (1.0 - final_share) * 0.5 * (1.0 + math.cos(math.pi * progress)))

    return rate
