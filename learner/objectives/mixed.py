"""A reinforcement objective and the supervised term in one step: the loss is their mean, weighted by the ratio of the
two.

    L = (L_rl + r L_sl) / (1 + r)

This is what alternating their micro-batches within an optimizer step amounts to, r supervised ones per reinforcement
one (the released code of RLTF has r = 1). Programs of both kinds share micro-batches here, so that programs of like
length go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from rltf.buffer.records import Group
from rltf.config import Normalise
from rltf.learner.objectives.base import LossInputs, LossResult, Objective, PreparedStep, Totals, TrainItem
from rltf.learner.objectives.surrogates import divisor_of, linear


class Stream(Protocol):
    """Where corpus programs come from (`learner.corpus_stream.CorpusStream`)."""

    def next(self) -> tuple[list[TrainItem], Totals]:
        """A batch with one term of ones, and what its loss is divided by."""


class Mixed:
    """Adds a supervised term to an objective; `loss` belongs to the step that `prepare` was last called for."""

    def __init__(
        self, objective: Objective, stream: Stream, ratio: float, normalise: Normalise, token_limit: int
    ) -> None:
        self.name = objective.name
        self.terms: tuple[str, ...] = (*objective.terms, "supervised")
        self._objective = objective
        self._stream = stream
        self._share = ratio / (1.0 + ratio)
        self._normalise: Normalise = normalise
        self._token_limit = token_limit
        self._corpus_totals = Totals(0, 0)
        self._dilution = 1.0

    def prepare(self, groups: Sequence[Group]) -> PreparedStep:
        """The objective's items, with weights in its terms alone, and a batch of the corpus, with weights in the last
        term alone.
        """
        prepared = self._objective.prepare(groups)
        corpus, self._corpus_totals = self._stream.next()
        own = [
            replace(item, weights=np.concatenate([item.weights, np.zeros_like(item.weights[:1])]))
            for item in prepared.items
        ]
        others = len(self.terms) - 1
        added = [
            replace(
                item,
                weights=np.concatenate([np.zeros((others, len(item.token_ids)), np.float32), item.weights]),
                behaviour_log_probs=[0.0] * len(item.token_ids),
            )
            for item in corpus
        ]
        sampled, all_tokens = (sum(len(item.token_ids) for item in items) for items in (own, own + added))
        self._dilution = all_tokens / max(1, sampled)
        return replace(prepared, items=own + added, row=prepared.row | {"supervised_programs": len(added)})

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """The weighted mean of the two losses of one micro-batch. `totals` are the objective's."""
        corpus_rows = (inputs.weights[-1] != 0).any(1, keepdim=True)
        sampled = mask & ~corpus_rows
        ours = self._objective.loss(
            torch.where(sampled, log_probs, 0.0), sampled, replace(inputs, weights=inputs.weights[:-1]), totals
        )
        divisor = divisor_of(self._normalise, mask, self._corpus_totals, self._token_limit)
        theirs = linear(self.terms[-1:], log_probs, mask, LossInputs(inputs.weights[-1:]), divisor)
        # Means over tokens are taken over all that are forwarded.
        sums = {
            name: value * (1.0 - self._share if name.startswith("loss/") else self._dilution)
            for name, value in ours.sums.items()
        }
        sums |= {name: value * self._share for name, value in theirs.sums.items()}
        return LossResult(ours.loss * (1.0 - self._share) + theirs.loss * self._share, sums)

    def state_dict(self) -> dict[str, Any]:
        """The objective's."""
        return self._objective.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the state does not fit the objective."""
        self._objective.load_state_dict(state)
