"""The weight store: a small named Ray actor that owns the newest two policy versions, and those that are evaluated.

An object dies with the process that made it, so versions live with the store: a learner that crashes does not take the
weights with it, and a restarted actor loads the newest version before its first program. On the store's own machine
they travel through shared memory: the learner packs straight into it and actors copy out of it. Elsewhere they travel
through Ray's object store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rltf.config import first_line
from rltf.telemetry.recorder import redirect_output
from rltf.weights.manifest import Bucket, Manifest, WeightsUnavailable
from rltf.weights.slots import Slot, SlotName, make_slot

STORE_NAME = "weights"
MAX_VERSIONS = 2
_T = TypeVar("_T")


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
    """Keeps the newest versions' buckets, and those of versions that an evaluation needs.

    If its process dies Ray starts it again, empty, and calls wait for that within their bounds. Until the publisher
    notices (`StorePublisher.restore`) actors go on with what they have, and new ones wait. Slots end with the process
    that made them, as names: those of another are refused.
    """

    def __init__(self, logs: Path | None = None) -> None:
        """`logs`: folder of log files; none: what is logged stays with Ray."""
        if logs is not None:
            redirect_output(logs, STORE_NAME)
        self._versions: dict[int, _Kept] = {}
        self._wanted: set[int] = set()
        """Versions that are kept although newer ones have come."""
        self._spare: list[SlotName] = []
        self._change = threading.Lock()

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
            return self._given(max(self._versions), node)

    def exactly(self, version: int, node: str = "") -> tuple[Manifest, list[SlotName], list[Any]] | None:
        """That version as `latest` gives the newest; None when it is not kept."""
        with self._change:
            return self._given(version, node) if version in self._versions else None

    def _given(self, version: int, node: str) -> tuple[Manifest, list[SlotName], list[Any]]:
        kept = self._versions[version]
        if kept.slots and node == self.node():
            return kept.manifest, kept.slots, []
        if not kept.refs:
            for name, nbytes in zip(kept.slots, kept.manifest.bucket_bytes, strict=True):
                slot = Slot(name)
                kept.refs.append(ray.put(slot.data[:nbytes]))
                slot.close()
        return kept.manifest, [], kept.refs

    def keep(self, versions: Collection[int]) -> None:
        """Of the versions that are here these stay, newer ones or not, until the next call."""
        with self._change:
            self._wanted = set(versions)
            self._forget()

    def versions(self) -> list[int]:
        """The versions kept, oldest first."""
        return sorted(self._versions)

    def _keep(self, kept: _Kept) -> None:
        with self._change:
            before = self._versions.get(kept.manifest.version)
            if before is not None:
                self._spare += [slot for slot in before.slots if slot not in kept.slots]
            self._versions[kept.manifest.version] = kept
            self._forget()

    def _forget(self) -> None:
        for version in sorted(self._versions)[:-MAX_VERSIONS]:
            if version not in self._wanted:
                self._spare += self._versions.pop(version).slots


def start_store(timeout_s: float, logs: Path | None = None) -> Any:
    """Starts the store of this Ray namespace, on the caller's node: it must not go with a node that may be taken away.

    The caller keeps the handle for as long as the store shall live. `logs`: folder of log files.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    store = WeightStore.options(name=STORE_NAME, scheduling_strategy=here).remote(logs)  # type: ignore[attr-defined]
    bounded("start", lambda: ray.get(store.node.remote(), timeout=timeout_s), timeout_s)
    return store


def bounded(what: str, action: Callable[[], _T], timeout_s: float) -> _T:
    """What `action`, which asks the store within `timeout_s`, returns. Raises WeightStoreError."""
    try:
        return action()
    except ray.exceptions.GetTimeoutError as error:
        raise WeightStoreError(f"the weight store did not {what} within {timeout_s:g} s") from error
    except ray.exceptions.RayError as error:
        raise WeightStoreError(
            f"the weight store could not {what}: {type(error).__name__}: {first_line(error)}"
        ) from error
