"""Supervised training on corpus programs: the warm start, L_sl of RLTF (arXiv 2307.04349, Eq.

7), and the control without RL.

L_sl = -sum_t log p(w_t | D, w_1..t-1)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rltf.config import Normalise
from rltf.learner.objectives.base import LossInputs, LossResult, Totals, TrainItem
from rltf.learner.objectives.surrogates import divisor_of, linear


class Supervised:
    """Cross-entropy of corpus programs, normalised like any objective: by default averaged over tokens."""

    name = "supervised"
    terms = ("supervised",)

    def __init__(self, normalise: Normalise = "token_mean", token_limit: int = 1) -> None:
        """`token_limit`, the most tokens of a program, is read for ``constant`` alone."""
        self._normalise = normalise
        self._token_limit = token_limit

    def items(self, programs: Sequence[tuple[Sequence[int], Sequence[int]]], name: str) -> list[TrainItem]:
        """Items of (prompt token ids, program token ids) pairs; `name` begins their ids."""
        return [
            TrainItem(f"{name}:{index}", prompt_ids, token_ids, np.ones((1, len(token_ids)), np.float32))
            for index, (prompt_ids, token_ids) in enumerate(programs)
        ]

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """Eq. 7 of one micro-batch."""
        return linear(self.terms, log_probs, mask, inputs, divisor_of(self._normalise, mask, totals, self._token_limit))
