"""An actor's end of the weight store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from rltf.weights.manifest import Bucket, Manifest
from rltf.weights.ray_store import WeightStoreError, bounded
from rltf.weights.slots import Slot, SlotLost, SlotName


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
        return self._fetched("give its newest version", lambda: self._store.latest.remote(newer_than, self._node))

    def exactly(self, version: int) -> tuple[Manifest, list[Bucket]] | None:
        """That version, as `latest` gives the newest; None when it is not kept."""
        return self._fetched(f"give version {version}", lambda: self._store.exactly.remote(version, self._node))

    def _fetched(self, what: str, ask: Callable[[], Any]) -> tuple[Manifest, list[Bucket]] | None:
        self._release()
        found = bounded(what, lambda: ray.get(ask(), timeout=self._timeout_s), self._timeout_s)
        if found is None:
            return None
        manifest, names, refs = found
        if not names:
            return manifest, bounded(what, lambda: ray.get(refs, timeout=self._timeout_s), self._timeout_s)
        for name in [name for name in self._slots if name.pid != names[0].pid]:
            self._slots.pop(name).close()  # of a process of the store that has died
        return manifest, [
            self._read(name, manifest, size) for name, size in zip(names, manifest.bucket_bytes, strict=True)
        ]

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
