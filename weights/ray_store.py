"""The weight store: a small named Ray actor that owns the newest two policy versions, and the two ends that use it.

An object dies with the process that made it, so versions live with the store: a learner that crashes does not take the
weights with it, and a restarted actor loads the newest version before its first program. On the store's own machine
they travel through shared memory: the learner packs straight into it and actors copy out of it. Elsewhere they travel
through Ray's object store.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rltf.config import first_line
from rltf.telemetry.recorder import log_to
from rltf.weights.buckets import BUCKET_BYTES, Bucket, Manifest, WeightsUnavailable, pack_tensors
from rltf.weights.direct_sender import Offer
from rltf.weights.slots import Slot, SlotLost, SlotName, make_slot

STORE_NAME = "weights"
KEPT_VERSIONS = 2
_LOOK_S = 2.0
"""Seconds between two looks whether the store still has the newest version."""
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class WeightStoreError(WeightsUnavailable):
    """The weight store did not do what was asked within the bound; the message says what and how long."""


@dataclass
class _Kept:
    """One version, in shared memory or as objects of the store."""

    manifest: Manifest
    slots: list[SlotName] = field(default_factory=list)
    refs: list[Any] = field(default_factory=list)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=8)
class WeightStore:
    """Keeps the newest versions' buckets.

    If its process dies Ray starts it again, empty, and calls wait for that within their bounds. Until the publisher
    notices (`StorePublisher.restore`) actors go on with what they have, and new ones wait. Slots end with the process
    that made them, as names: those of another are refused.
    """

    def __init__(self, logs: Path | None = None) -> None:
        """`logs`: folder of log files; none: what is logged stays with Ray."""
        if logs is not None:
            log_to(logs, STORE_NAME)
        self._versions: dict[int, _Kept] = {}
        self._spare: list[SlotName] = []
        self._offer: Offer | None = None
        self._change = threading.Lock()

    def offer(self, offer: Offer | None) -> None:
        """Keeps where the learner sends its versions from itself; none when it no longer does."""
        self._offer = offer

    def offered(self) -> Offer | None:
        """What was last given to `offer`."""
        return self._offer

    def node(self) -> str:
        """Ray's name of the machine the store runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def slot(self, nbytes: int) -> SlotName:
        """A new slot of shared memory on the store's machine, for its caller to write one bucket into and to
        `commit`.
        """
        return make_slot(nbytes)

    def spare(self) -> list[SlotName]:
        """Slots that hold nothing that is kept; the caller has them to itself until it commits them."""
        with self._change:
            spare, self._spare = self._spare, []
        return spare

    def commit(self, manifest: Manifest, slots: list[SlotName]) -> list[SlotName] | None:
        """Keeps the version that was written into `slots`; returns those of versions no longer kept, for the next.

        Safe to repeat.

        None when the slots are another process's, which this store's was before it died: nobody else could open them.
        """
        if any(slot.pid != os.getpid() for slot in slots):
            return None
        self._keep(_Kept(manifest, slots=slots))
        return self.spare()

    def publish(self, manifest: Manifest, *buckets: Bucket) -> None:
        """Keeps a copy of the version, which came through Ray's object store. Safe to repeat."""
        self._keep(_Kept(manifest, refs=[ray.put(bucket) for bucket in buckets]))

    def latest(self, newer_than: int = -1, node: str = "") -> tuple[Manifest, list[SlotName], list[Any]] | None:
        """The newest version, or None when there is none newer than `newer_than`.

        On the store's own `node` its slots, if it lies in slots; else, and from then on, references to objects.
        """
        with self._change:
            if not self._versions or max(self._versions) <= newer_than:
                return None
            kept = self._versions[max(self._versions)]
            if kept.slots and node == self.node():
                return kept.manifest, kept.slots, []
            if not kept.refs:
                for name, nbytes in zip(kept.slots, kept.manifest.bucket_bytes, strict=True):
                    slot = Slot(name)
                    kept.refs.append(ray.put(slot.data[:nbytes]))
                    slot.close()
            return kept.manifest, [], kept.refs

    def versions(self) -> list[int]:
        """The versions kept, oldest first."""
        return sorted(self._versions)

    def _keep(self, kept: _Kept) -> None:
        with self._change:
            before = self._versions.get(kept.manifest.version)
            if before is not None:
                self._spare += [slot for slot in before.slots if slot not in kept.slots]
            self._versions[kept.manifest.version] = kept
            for version in sorted(self._versions)[:-KEPT_VERSIONS]:
                self._spare += self._versions.pop(version).slots


def start_store(timeout_s: float, logs: Path | None = None) -> Any:
    """Starts the store of this Ray namespace, on the caller's node: it must not go with a node that may be taken away.

    The caller keeps the handle for as long as the store shall live. `logs`: folder of log files.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    store = WeightStore.options(name=STORE_NAME, scheduling_strategy=here).remote(logs)  # type: ignore[attr-defined]
    _bounded("start", lambda: ray.get(store.node.remote(), timeout=timeout_s), timeout_s)
    return store


class StorePublisher:
    """The weight store as the learner's end of the way (`weights.protocol.Publisher`): gives room for a version, then
    hands it over.

    It holds on to the newest version, so that a store whose process died gets it again. Every method raises
    WeightStoreError when the store does not answer within the bound.
    """

    def __init__(self, store: Any, timeout_s: float) -> None:
        self._store, self._timeout_s = store, timeout_s
        self._spare: list[SlotName] = []
        self._slots: dict[SlotName, Slot] = {}
        self._written: list[Slot] = []
        self._shares: bool | None = None
        self._newest: tuple[Manifest, list[Bucket]] | None = None
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

    def offer(self, offer: Offer | None) -> None:
        """Tells actors where the learner sends its versions from itself; none: nowhere.

        A store that was started again is told again.
        """
        what = "keep where versions are sent from"
        _bounded(what, lambda: ray.get(self._store.offer.remote(offer), timeout=self._timeout_s), self._timeout_s)

    def publish(self, manifest: Manifest, buckets: list[Bucket]) -> None:
        """Hands over a version whose buckets are beginnings of the rooms last given; while the store lives, nothing
        more is needed.
        """
        self._newest, self._asked = (manifest, buckets), None  # what was asked before says nothing of this version
        if not self._written:
            publish(self._store, manifest, buckets, self._timeout_s)
        elif not self._commit(manifest, buckets):
            self._publish_again()

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
        if _bounded("say which versions it has", lambda: ray.get(asked, timeout=self._timeout_s), self._timeout_s):
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
        spare = _bounded(
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

            self._shares, self._spare = _bounded("say where it is", ask, self._timeout_s)
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
        made = _bounded(
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

    _bounded(f"take version {manifest.version} ({manifest.nbytes / 1e6:.1f} MB)", hand_over, timeout_s)


class StoreSource:
    """The weight store as an actor's source of weights (`weights.protocol.WeightSource`)."""

    def __init__(self, store: Any, timeout_s: float) -> None:
        self._store, self._timeout_s = store, timeout_s
        self._node = str(ray.get_runtime_context().get_node_id())
        self._slots: dict[SlotName, Slot] = {}
        self._reading: list[Slot] = []

    def latest(self, newer_than: int) -> tuple[Manifest, list[Bucket]] | None:
        """The newest version beyond `newer_than`, its buckets read-only; None when there is none yet.

        Buckets in shared memory are locked against being written again until `acknowledge` or the next call. Raises
        WeightStoreError.
        """
        self._release()
        found = _bounded(
            "give its newest version",
            lambda: ray.get(self._store.latest.remote(newer_than, self._node), timeout=self._timeout_s),
            self._timeout_s,
        )
        if found is None:
            return None
        manifest, names, refs = found
        if not names:
            buckets = _bounded(
                "give its newest version", lambda: ray.get(refs, timeout=self._timeout_s), self._timeout_s
            )
            return manifest, buckets
        for name in [name for name in self._slots if name.pid != names[0].pid]:
            self._slots.pop(name).close()  # of a process of the store that has died
        return manifest, [
            self._read(name, manifest, size) for name, size in zip(names, manifest.bucket_bytes, strict=True)
        ]

    def offered(self) -> Offer | None:
        """Where the learner sends its versions from itself, if it does. Raises WeightStoreError."""
        what = "say where versions are sent from"
        return _bounded(what, lambda: ray.get(self._store.offered.remote(), timeout=self._timeout_s), self._timeout_s)

    def acknowledge(self, version: int) -> None:
        """The actor has copied `version`: the memory it lay in may be written again."""
        self._release()

    def _read(self, name: SlotName, manifest: Manifest, nbytes: int) -> Bucket:
        try:
            slot = self._slots[name] if name in self._slots else self._slots.setdefault(name, Slot(name))
        except SlotLost as error:
            raise WeightStoreError(str(error)) from error
        if not slot.begin_reading(manifest.version):
            raise WeightStoreError(f"version {manifest.version} was replaced by newer ones before it could be read")
        self._reading.append(slot)
        data = slot.data[:nbytes]
        data.flags.writeable = False
        return data

    def _release(self) -> None:
        for slot in self._reading:
            slot.unlock()
        self._reading = []


def _bounded(what: str, action: Callable[[], _T], timeout_s: float) -> _T:
    try:
        return action()
    except ray.exceptions.GetTimeoutError as error:
        raise WeightStoreError(f"the weight store did not {what} within {timeout_s:g} s") from error
    except ray.exceptions.RayError as error:
        raise WeightStoreError(
            f"the weight store could not {what}: {type(error).__name__}: {first_line(error)}"
        ) from error
