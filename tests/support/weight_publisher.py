"""A publisher of versions, and a small model.

On its own: a Ray worker that is to be one imports little, and is there at once.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from rltf.weights.packing import named_weights, pack_tensors
from rltf.weights.ray_publisher import StorePublisher, publish


def model_of(seed: int) -> torch.nn.Sequential:
    """About 600 KB."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(64, 400), torch.nn.Linear(400, 300))


class Publisher:
    """Stands where the learner stands: packs a model and hands it to the store, through its memory or Ray's object
    store.
    """

    def serve(self, store: Any, shared: bool) -> None:
        """For this store from here on, as one that has published nothing."""
        self._store = store
        self._publisher = StorePublisher(store, 30) if shared else None

    def be_elsewhere(self) -> None:
        """As on another machine than the store's."""
        assert self._publisher is not None
        self._publisher._shares = False

    def restore(self) -> bool:
        """As the learner does all the time."""
        assert self._publisher is not None
        return self._publisher.restore()

    def keep(self, versions: tuple[int, ...]) -> None:
        """As the learner does before it publishes."""
        assert self._publisher is not None
        self._publisher.keep(versions)

    def publish(self, version: int, seed: int) -> list[int]:
        """Inode numbers of the memory that the version lies in, where it is shared."""
        weights = named_weights(model_of(seed))
        if self._publisher is None:
            publish(self._store, *pack_tensors(weights, version, bucket_bytes=100_000), timeout_s=30)
            return []
        packed = pack_tensors(weights, version, bucket_bytes=100_000, room=self._publisher.room)
        written = [os.fstat(slot._fd).st_ino for slot in self._publisher._written]
        self._publisher.publish(*packed)
        return written

    def begin_and_die(self) -> None:
        """Half a version."""
        assert self._publisher is not None
        self._publisher.room(100_000)[:] = 255
        os._exit(1)
