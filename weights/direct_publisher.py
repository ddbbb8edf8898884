"""Publishing with a direct way to the actors: training waits for a copy on its own device alone, all else is done
beside it.

A version is copied into one of two snapshots. From there actors that ask get it at once (`weights.direct_sender`), and
a thread hands it over to the weight store, which stays the owner of versions: who has no direct way, or comes after
this learner has died, finds them there.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

import torch

from rltf.weights.buckets import BUCKET_BYTES, WeightsUnavailable
from rltf.weights.direct_sender import Offer, WeightSender
from rltf.weights.protocol import Publisher
from rltf.weights.snapshot import Snapshot


class Store(Publisher, Protocol):
    """The weight store (`weights.ray_store.StorePublisher`)."""

    def offer(self, offer: Offer | None) -> None:
        """Tells actors where versions are sent from; none: nowhere."""


class DirectPublisher:
    """`weights.protocol.Publisher`, to be entered and left by the thread that publishes.

    What the hand-over to the store raises is raised by the next call.
    """

    def __init__(
        self,
        store: Store,
        sender: WeightSender,
        device: torch.device,
        timeout_s: float,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        """`device`: of the snapshots. `timeout_s`: longest hand-over to the store, which has shorter bounds of its own.

        `bucket_bytes`: most bytes that are sent at once, but for a larger tensor.
        """
        self._store = store
        self._sender = sender
        self._timeout_s = timeout_s
        self._snapshots = [Snapshot(device, bucket_bytes), Snapshot(device, bucket_bytes)]
        self._thread = ThreadPoolExecutor(1, "weights-store")
        self._handing_over: Future[None] | None = None

    def __enter__(self) -> DirectPublisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the direct way. The store has the newest version then; after an exception that is not waited for."""
        try:
            if kind is None:
                self.settle()
                self._store.offer(None)
        finally:
            self._sender.close()
            self._thread.shutdown(wait=False)

    @property
    def sent(self) -> int:
        """Versions that arrived directly, over all actors."""
        return self._sender.sent

    def take(self, weights: Iterable[tuple[str, torch.Tensor]], version: int, dtype: torch.dtype | None) -> None:
        """See `Publisher`. Raises WeightsUnavailable when the store did not take the version before."""
        self.settle()
        free = [snapshot for snapshot in self._snapshots if not self._sender.is_used(snapshot)]
        if not free:
            # An actor has been receiving the version before the last all the time. Nothing waits for it.
            self._store.take(weights, version, dtype)
            self._sender.publish_elsewhere(version)
            return
        snapshot = free[0]
        snapshot.write(weights, version, dtype)
        self._sender.publish(snapshot)
        self._handing_over = self._thread.submit(self._hand_over, snapshot)

    def restore(self) -> bool:
        """See `Publisher`."""
        if self._handing_over is not None and not self._handing_over.done():
            return False
        self.settle()
        if not self._store.restore():
            return False
        self._store.offer(self._sender.offer)
        return True

    def settle(self) -> None:
        """Returns when the store has every version that was taken.

        Raises WeightsUnavailable, and what the hand-over raised.
        """
        if self._handing_over is None:
            return
        try:
            self._handing_over.result(self._timeout_s)
        except TimeoutError as error:
            raise WeightsUnavailable(
                f"the weight store did not take a version over within {self._timeout_s:g} s"
            ) from error
        self._handing_over = None

    def _hand_over(self, snapshot: Snapshot) -> None:
        with snapshot.reading():
            self._store.take(snapshot.tensors(), snapshot.version, None)
        self._store.offer(self._sender.offer)
