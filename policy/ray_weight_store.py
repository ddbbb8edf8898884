"""The weight store: a small named Ray actor that owns the newest two policy versions, and the two ends that use it.

An object dies with the process that made it, so versions live with the store: a learner that crashes does not take the weights with it,
and a restarted actor loads the newest version before its first program. On the store's own machine they travel through shared memory:
the learner packs straight into it and actors copy out of it. Elsewhere they travel through Ray's object store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from policy.slots import Slot, SlotLost, SlotName, make_slot
from policy.weights import Bucket, Manifest, WeightsUnavailable

STORE_NAME = "weights"
KEPT_VERSIONS = 2
_T = TypeVar("_T")


class WeightStoreError(WeightsUnavailable):
    """The weight store did not do what was asked within the bound; the message says what and how long."""


@dataclass
class _Kept:
    """One version, in shared memory or as objects of the store."""

    manifest: Manifest
    slots: list[SlotName] = field(default_factory=list)
    refs: list[Any] = field(default_factory=list)


@ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=8)
class WeightStore:
    """Keeps the newest versions' buckets and the newest version that each role said it has loaded.

    If its process dies Ray starts it again, empty: actors go on with what they have until the learner's next version.
    """

    def __init__(self) -> None:
        self._versions: dict[int, _Kept] = {}
        self._acknowledged: dict[str, int] = {}
        self._spare: list[SlotName] = []
        self._change = threading.Lock()

    def node(self) -> str:
        """Ray's name of the machine the store runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def slot(self, nbytes: int) -> SlotName:
        """A new slot of shared memory on the store's machine, for its caller to write one bucket into and to `commit`."""
        return make_slot(nbytes)

    def spare(self) -> list[SlotName]:
        """Slots that hold nothing that is kept; the caller has them to itself until it commits them."""
        with self._change:
            spare, self._spare = self._spare, []
        return spare

    def commit(self, manifest: Manifest, slots: list[SlotName]) -> list[SlotName]:
        """Keeps the version that was written into `slots`; returns those of versions no longer kept, for the next. Safe to repeat."""
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

    def acknowledge(self, role: str, version: int) -> None:
        """`role` generates with `version` from now on."""
        self._acknowledged[role] = version

    def acknowledged(self) -> dict[str, int]:
        """The version that each role generates with."""
        return dict(self._acknowledged)

    def _keep(self, kept: _Kept) -> None:
        with self._change:
            self._versions[kept.manifest.version] = kept
            for version in sorted(self._versions)[:-KEPT_VERSIONS]:
                self._spare += self._versions.pop(version).slots


def start_store(timeout_s: float) -> Any:
    """Starts the store of this Ray namespace, on the caller's node: it must not go with a node that may be taken away.

    The caller keeps the handle for as long as the store shall live.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    store = WeightStore.options(name=STORE_NAME, scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    _bounded("start", lambda: ray.get(store.node.remote(), timeout=timeout_s), timeout_s)
    return store


class StorePublisher:
    """The weight store as the learner's end of the way (`learner.publish.Publisher`): gives room for a version, then hands it over.

    Every method raises WeightStoreError when the store does not answer within the bound.
    """

    def __init__(self, store: Any, timeout_s: float) -> None:
        self._store, self._timeout_s = store, timeout_s
        self._spare: list[SlotName] = []
        self._slots: dict[SlotName, Slot] = {}
        self._written: list[Slot] = []
        self._shares: bool | None = None

    def room(self, nbytes: int) -> Bucket:
        """(nbytes,) memory for the next bucket of the next version: the store's own where it is on this machine, else this process's."""
        if not self._on_its_machine():
            return np.empty(nbytes, np.uint8)
        slot = self._free_slot(nbytes)
        self._written.append(slot)
        return slot.data[:nbytes]

    def publish(self, manifest: Manifest, buckets: list[Bucket]) -> None:
        """Hands over a version whose buckets are beginnings of the rooms last given; afterwards it no longer needs this process."""
        what = f"take version {manifest.version} ({manifest.nbytes / 1e6:.1f} MB)"
        if not self._written:
            _bounded(what, lambda: publish(self._store, manifest, buckets, self._timeout_s), self._timeout_s)
            return
        given, written, self._written = self._written[: -len(buckets)], self._written[-len(buckets) :], []
        for slot in given:  # for a version that was begun and never handed over
            slot.unlock()
            self._spare.append(slot.name)
        for slot in written:
            slot.end_writing(manifest.version)
        names = [slot.name for slot in written]
        self._spare += _bounded(what, lambda: ray.get(self._store.commit.remote(manifest, names), timeout=self._timeout_s), self._timeout_s)

    def _on_its_machine(self) -> bool:
        if self._shares is None:

            def ask() -> tuple[bool, list[SlotName]]:
                near = ray.get(self._store.node.remote(), timeout=self._timeout_s) == ray.get_runtime_context().get_node_id()
                return near, ray.get(self._store.spare.remote(), timeout=self._timeout_s) if near else []

            self._shares, self._spare = _bounded("say where it is", ask, self._timeout_s)
        return self._shares

    def _free_slot(self, nbytes: int) -> Slot:
        """A slot of at least `nbytes`, locked for writing: one whose version is no longer kept and that no actor reads, else a new one."""
        for name in [name for name in self._spare if name.nbytes >= nbytes]:
            slot = self._open(name)
            if slot.begin_writing():
                self._spare.remove(name)
                return slot
        made = _bounded("give shared memory", lambda: ray.get(self._store.slot.remote(nbytes), timeout=self._timeout_s), self._timeout_s)
        slot = self._open(made)
        if not slot.begin_writing():
            raise WeightStoreError("the weight store gave shared memory that another process has locked")
        return slot

    def _open(self, name: SlotName) -> Slot:
        if name not in self._slots:
            try:
                self._slots[name] = Slot(name)
            except SlotLost as error:
                raise WeightStoreError(str(error)) from error
        return self._slots[name]


def publish(store: Any, manifest: Manifest, buckets: list[Bucket], timeout_s: float) -> None:
    """Hands buckets that lie anywhere over to the store, through Ray's object store. Raises WeightStoreError."""

    def hand_over() -> None:
        # By reference: the store reads this process's copy where it lies, which is free again when this function returns.
        refs = [ray.put(bucket) for bucket in buckets]
        ray.get(store.publish.remote(manifest, *refs), timeout=timeout_s)

    _bounded(f"take version {manifest.version} ({manifest.nbytes / 1e6:.1f} MB)", hand_over, timeout_s)


def fetch(store: Any, timeout_s: float, newer_than: int = -1) -> tuple[Manifest, list[Bucket]] | None:
    """The newest version beyond `newer_than` through Ray's object store, its buckets read-only; None when there is none yet.

    Raises WeightStoreError when the store or a bucket cannot be had within `timeout_s`.
    """

    def get() -> tuple[Manifest, list[Bucket]] | None:
        found = ray.get(store.latest.remote(newer_than), timeout=timeout_s)
        return None if found is None else (found[0], ray.get(found[2], timeout=timeout_s))

    return _bounded("give its newest version", get, timeout_s)


class StoreSource:
    """The weight store as an actor's source of weights (`actors.weight_loader.WeightSource`)."""

    def __init__(self, store: Any, role: str, timeout_s: float) -> None:
        self._store, self._role, self._timeout_s = store, role, timeout_s
        self._node = str(ray.get_runtime_context().get_node_id())
        self._slots: dict[SlotName, Slot] = {}
        self._reading: list[Slot] = []

    def latest(self, newer_than: int) -> tuple[Manifest, list[Bucket]] | None:
        """The newest version beyond `newer_than`, its buckets read-only; None when there is none yet.

        Buckets in shared memory are locked against being written again until `acknowledge` or the next call. Raises WeightStoreError.
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
            buckets = _bounded("give its newest version", lambda: ray.get(refs, timeout=self._timeout_s), self._timeout_s)
            return manifest, buckets
        return manifest, [self._read(name, manifest, size) for name, size in zip(names, manifest.bucket_bytes, strict=True)]

    def acknowledge(self, version: int) -> None:
        """Tells the store which version this actor generates with; not waited for."""
        self._release()
        self._store.acknowledge.remote(self._role, version)

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
        raise WeightStoreError(f"the weight store could not {what}: {type(error).__name__}: {str(error).splitlines()[0]}") from error
