"""The learner's end of the weight store."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import ray
import torch

from rltf.weights.manifest import Bucket, Manifest
from rltf.weights.packing import BUCKET_BYTES, pack_tensors
from rltf.weights.ray_store import WeightStoreError, bounded
from rltf.weights.slots import Slot, SlotLost, SlotName

_LOOK_S = 2.0
"""Seconds between two looks whether the store still has the newest version."""

log = logging.getLogger(__name__)


class StorePublisher:
    """The weight store as the learner's end of the way (`weights.protocol.Publisher`): gives room for a version, then
    hands it over.

    It holds on to the version that it handed over last, so that a store whose process died gets it again. Every method
    raises WeightStoreError when the store does not answer within the bound.
    """

    def __init__(self, store: Any, timeout_s: float) -> None:
        self._store, self._timeout_s = store, timeout_s
        self._spare: list[SlotName] = []
        self._slots: dict[SlotName, Slot] = {}
        self._written: list[Slot] = []
        self._shares: bool | None = None
        self._newest: tuple[Manifest, list[Bucket]] | None = None
        self._keeps = True
        """Whether the store may keep versions beside the newest ones: those of a learner that died, to begin with."""
        self._asked: Any = None
        """The store's answer to which versions it has, as soon as it is there."""
        self._look_at = 0.0

    def room(self, nbytes: int) -> Bucket:
        """(nbytes,) memory for the next bucket of the next version: the store's own where it is on this machine, else
        this process's.
        """
        if not self._on_its_machine():
            self._newest = None  # one version of the process's own memory at a time
            return np.empty(nbytes, np.uint8)
        slot = self._free_slot(nbytes)
        self._written.append(slot)
        return slot.data[:nbytes]

    def take(self, weights: Iterable[tuple[str, torch.Tensor]], version: int, dtype: torch.dtype | None) -> None:
        """See `weights.protocol.Publisher`."""
        self.publish(*pack_tensors(weights, version, dtype, room=self.room))

    def publish(self, manifest: Manifest, buckets: list[Bucket]) -> None:
        """Hands over a version whose buckets are beginnings of the rooms last given; while the store lives, nothing
        more is needed.
        """
        self._newest, self._asked = (manifest, buckets), None  # what was asked before says nothing of this version
        if not self._written:
            publish(self._store, manifest, buckets, self._timeout_s)
        elif not self._commit(manifest, buckets):
            self._publish_again()

    def keep(self, versions: Collection[int]) -> None:
        """See `weights.protocol.Publisher`."""
        if versions or self._keeps:
            self._keeps = bool(versions)
            what = "keep the versions that are evaluated"
            bounded(what, lambda: ray.get(self._store.keep.remote(versions), timeout=self._timeout_s), self._timeout_s)

    def restore(self) -> bool:
        """Hands the newest version over again when the store has none, for its process died; whether it did.

        To be called now and then, returns at once otherwise: the store is asked every _LOOK_S seconds, and its answer
        not waited for.
        """
        if self._newest is None:
            return False
        if self._asked is None:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _LOOK_S
                self._asked = self._store.versions.remote()
            return False
        if not ray.wait([self._asked], timeout=0)[0]:
            return False
        asked, self._asked = self._asked, None
        if bounded("say which versions it has", lambda: ray.get(asked, timeout=self._timeout_s), self._timeout_s):
            return False
        self._publish_again()
        return True

    def _publish_again(self) -> None:
        """Hands the newest version to the store's new process, in slots of its own: those of the dead one are left."""
        assert self._newest is not None
        manifest, buckets = self._newest
        log.warning("the weight store was started again: version %d is handed over again", manifest.version)
        dead, self._slots, self._spare = self._slots, {}, []
        if self._on_its_machine():
            # As large as for any version, so that later ones can have them; what is not written takes no memory.
            rooms = [self.room(max(BUCKET_BYTES, bucket.nbytes))[: bucket.nbytes] for bucket in buckets]
            for room, bucket in zip(rooms, buckets, strict=True):
                room[:] = bucket
            buckets = rooms
        for slot in dead.values():
            slot.close()
        self._newest = manifest, buckets
        if not self._written:
            publish(self._store, manifest, buckets, self._timeout_s)
        elif not self._commit(manifest, buckets):
            raise WeightStoreError(f"the weight store died again while it was to take version {manifest.version}")

    def _commit(self, manifest: Manifest, buckets: list[Bucket]) -> bool:
        """Hands over what was written into slots; false when they are those of a process of the store that has died."""
        given, written, self._written = self._written[: -len(buckets)], self._written[-len(buckets) :], []
        for slot in given:  # for a version that was begun and never handed over
            slot.unlock()
            self._spare.append(slot.name)
        for slot in written:
            slot.end_writing(manifest.version)
        names = [slot.name for slot in written]
        what = f"take version {manifest.version} ({manifest.nbytes / 1e6:.1f} MB)"
        spare = bounded(
            what, lambda: ray.get(self._store.commit.remote(manifest, names), timeout=self._timeout_s), self._timeout_s
        )
        self._spare += spare or []
        return spare is not None

    def _on_its_machine(self) -> bool:
        if self._shares is None:

            def ask() -> tuple[bool, list[SlotName]]:
                near = (
                    ray.get(self._store.node.remote(), timeout=self._timeout_s)
                    == ray.get_runtime_context().get_node_id()
                )
                return near, ray.get(self._store.spare.remote(), timeout=self._timeout_s) if near else []

            self._shares, self._spare = bounded("say where it is", ask, self._timeout_s)
        return self._shares

    def _free_slot(self, nbytes: int) -> Slot:
        """A slot of at least `nbytes`, locked for writing: one whose version is no longer kept and that no actor reads,
        else a new one.
        """
        for name in [name for name in self._spare if name.nbytes >= nbytes]:
            try:
                slot = self._open(name)
            except SlotLost:  # the store's process that made it has died
                self._spare.remove(name)
                continue
            if slot.begin_writing():
                self._spare.remove(name)
                return slot
        made = bounded(
            "give shared memory",
            lambda: ray.get(self._store.slot.remote(nbytes), timeout=self._timeout_s),
            self._timeout_s,
        )
        try:
            slot = self._open(made)
        except SlotLost as error:
            raise WeightStoreError(str(error)) from error
        if not slot.begin_writing():
            raise WeightStoreError("the weight store gave shared memory that another process has locked")
        return slot

    def _open(self, name: SlotName) -> Slot:
        if name not in self._slots:
            self._slots[name] = Slot(name)
        return self._slots[name]


def publish(store: Any, manifest: Manifest, buckets: list[Bucket], timeout_s: float) -> None:
    """Hands buckets that lie anywhere over to the store, through Ray's object store. Raises WeightStoreError."""

    def hand_over() -> None:
        # By reference: the store reads this process's copy where it lies, which is free again when this function
        # returns.
        refs = [ray.put(bucket) for bucket in buckets]
        ray.get(store.publish.remote(manifest, *refs), timeout=timeout_s)

    bounded(f"take version {manifest.version} ({manifest.nbytes / 1e6:.1f} MB)", hand_over, timeout_s)
