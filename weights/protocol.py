"""The two ends of a policy version's way: a publisher, which the learner hands versions to, and a source, which an
actor loads them from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch

from rltf.weights.buckets import Bytes, Manifest


class Publisher(Protocol):
    """Where versions go: the weight store, the same with a direct way beside it, or a test's list."""

    def take(self, weights: Iterable[tuple[str, torch.Tensor]], version: int, dtype: torch.dtype | None) -> None:
        """Copies a version, floating-point tensors cast to `dtype`; returns when the weights may change, and actors can
        get it soon.

        An iterator is consumed one tensor at a time.
        """

    def restore(self) -> bool:
        """Hands the newest version over again if who keeps it has lost it; whether it did. Called often, quick."""


class WeightSource(Protocol):
    """Where an actor gets its weights: the Ray weight store, the learner itself, or anything that keeps versions."""

    def latest(self, newer_than: int) -> tuple[Manifest, Sequence[Bytes]] | None:
        """The newest version beyond `newer_than`, None when there is none; raises WeightsUnavailable within a bounded
        time.
        """

    def acknowledge(self, version: int) -> None:
        """Says that `version` has been loaded and its buckets are needed no more."""
