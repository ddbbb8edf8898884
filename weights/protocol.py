"""The two ends of a policy version's way: a publisher, which the learner hands versions to, and a source, which an
actor loads them from.

Versions count from 0. Between the ends lies whatever keeps the newest versions, and those that an evaluation needs,
until they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import torch

from rltf.weights.manifest import Bucket, Manifest


class Publisher(Protocol):
    """Where the learner's rank 0 hands versions to. Used by one thread."""

    def take(self, weights: Iterable[tuple[str, torch.Tensor]], version: int, dtype: torch.dtype | None) -> None:
        """Copies a version, floating-point tensors cast to `dtype` where one is given; when it returns the weights may
        change, and sources have the version.

        `weights`: tensors of any shape, by name, of every version the same. An iterator is consumed one tensor at a
        time, so that what a sharded model gathers is released again. Raises WeightsUnavailable within a bounded time.
        """

    def keep(self, versions: Collection[int]) -> None:
        """Sources get these versions too, beside the newest ones, until the next call says otherwise: evaluations are
        still to be written with them.

        Raises WeightsUnavailable within a bounded time.
        """

    def restore(self) -> bool:
        """Hands the newest version over again if who keeps it has lost it; whether it did.

        Called all the time: it returns at once where nothing was lost. Raises WeightsUnavailable.
        """


class WeightSource(Protocol):
    """Where an actor gets versions from. Used by one thread."""

    def latest(self, newer_than: int) -> tuple[Manifest, Sequence[Bucket]] | None:
        """The newest version beyond `newer_than`, None where there is none.

        The buckets may be memory that others write: they stay as they are until `acknowledge` or the next call, are
        not verified (`Manifest.verify`), and are not written. Raises WeightsUnavailable within a bounded time.
        """

    def exactly(self, version: int) -> tuple[Manifest, Sequence[Bucket]] | None:
        """That version, older or newer than the one in use; None where it is not kept. The rest as of `latest`."""

    def acknowledge(self, version: int) -> None:
        """Says that `version` was loaded, and its buckets are needed no more."""
