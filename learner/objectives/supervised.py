"""Supervised training on corpus programs: the warm start, L_sl of RLTF (arXiv 2307.04349, Eq. 7), and the control without RL.

L_sl = -sum_t log p(w_t | D, w_1..t-1)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from learner.objectives.base import LossResult, Normalise, Signal, Totals, TrainItem, weighted_loss


class Supervised:
    """Cross-entropy of corpus programs, summed over a program's tokens and averaged over programs, or averaged over tokens."""

    name = "supervised"
    terms = ("supervised",)

    def __init__(self, normalise: Normalise = "token_mean") -> None:
        self._normalise = normalise

    def items(self, programs: Sequence[tuple[Sequence[int], Sequence[int]]], name: str) -> list[TrainItem]:
        """Items of (prompt token ids, program token ids) pairs; `name` begins their ids."""
        return [
            TrainItem(f"{name}:{index}", prompt_ids, token_ids, np.ones((1, len(token_ids)), np.float32))
            for index, (prompt_ids, token_ids) in enumerate(programs)
        ]

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, signal: Signal, totals: Totals) -> LossResult:
        """Eq. 7 of one micro-batch."""
        return weighted_loss(self.terms, log_probs, signal, totals, self._normalise)


def totals_of_items(items: Sequence[TrainItem]) -> Totals:
    """Totals of corpus items."""
    return Totals(len(items), sum(len(item.token_ids) for item in items))
