"""The weight store: a small named Ray actor that owns the newest two policy versions, and the two ends that use it.

An object dies with the process that put it, so the store puts a copy of its own of what the learner hands over: a learner that
crashes does not take the weights with it, and a restarted actor loads the newest version before its first program. (Ray 2.56
removed the argument by which the learner could have put an object in the store's name.)
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from policy.weights import Bucket, Manifest, WeightsUnavailable

STORE_NAME = "weights"
KEPT_VERSIONS = 2


class WeightStoreError(WeightsUnavailable):
    """The weight store did not do what was asked within the bound; the message says what and how long."""


@ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=8)
class WeightStore:
    """Keeps references to the newest versions' buckets and the newest version that each role said it has loaded.

    If its process dies Ray starts it again, empty: actors go on with what they have until the learner's next version.
    """

    def __init__(self) -> None:
        self._versions: dict[int, tuple[Manifest, list[Any]]] = {}
        self._acknowledged: dict[str, int] = {}

    def ready(self) -> bool:
        """True once the actor runs."""
        return True

    def publish(self, manifest: Manifest, *buckets: Bucket) -> int:
        """Keeps the version, drops all but the newest two; returns the newest version kept. Safe to repeat."""
        self._versions[manifest.version] = (manifest, [ray.put(bucket) for bucket in buckets])
        for version in sorted(self._versions)[:-KEPT_VERSIONS]:
            del self._versions[version]
        return max(self._versions)

    def latest(self, newer_than: int = -1) -> tuple[Manifest, list[Any]] | None:
        """Manifest and bucket references of the newest version, or None when there is none newer than `newer_than`."""
        if not self._versions or max(self._versions) <= newer_than:
            return None
        return self._versions[max(self._versions)]

    def versions(self) -> list[int]:
        """The versions kept, oldest first."""
        return sorted(self._versions)

    def acknowledge(self, role: str, version: int) -> None:
        """`role` generates with `version` from now on."""
        self._acknowledged[role] = version

    def acknowledged(self) -> dict[str, int]:
        """The version that each role generates with."""
        return dict(self._acknowledged)


def start_store(timeout_s: float) -> Any:
    """Starts the store of this Ray namespace, on the caller's node: it must not go with a node that may be taken away.

    The caller keeps the handle for as long as the store shall live.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    store = WeightStore.options(name=STORE_NAME, scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    _bounded("start", lambda: ray.get(store.ready.remote(), timeout=timeout_s), timeout_s)
    return store


def find_store() -> Any:
    """The store of this Ray namespace; raises WeightStoreError when there is none."""
    try:
        return ray.get_actor(STORE_NAME)
    except ValueError as error:
        raise WeightStoreError(f"no weight store named {STORE_NAME} in this Ray namespace: {error}") from error


def publish(store: Any, manifest: Manifest, buckets: list[Bucket], timeout_s: float) -> None:
    """Hands the buckets over to the store; afterwards they no longer need this process. Raises WeightStoreError."""

    def hand_over() -> None:
        # By reference: the store reads the learner's copy where it lies, which is free again when this function returns.
        refs = [ray.put(bucket) for bucket in buckets]
        ray.get(store.publish.remote(manifest, *refs), timeout=timeout_s)

    _bounded(f"take version {manifest.version} ({manifest.nbytes / 1e6:.1f} MB)", hand_over, timeout_s)


def fetch(store: Any, timeout_s: float, newer_than: int = -1) -> tuple[Manifest, list[Bucket]] | None:
    """The newest version beyond `newer_than`, its buckets read-only views on shared memory; None when there is none yet.

    Raises WeightStoreError when the store or a bucket cannot be had within `timeout_s`.
    """

    def get() -> tuple[Manifest, list[Bucket]] | None:
        found = ray.get(store.latest.remote(newer_than), timeout=timeout_s)
        if found is None:
            return None
        manifest, refs = found
        return manifest, ray.get(refs, timeout=timeout_s)

    result: tuple[Manifest, list[Bucket]] | None = _bounded("give its newest version", get, timeout_s)
    return result


class StoreSource:
    """The weight store as an actor's source of weights (`actors.weight_loader.WeightSource`)."""

    def __init__(self, store: Any, role: str, timeout_s: float) -> None:
        self._store, self._role, self._timeout_s = store, role, timeout_s

    def latest(self, newer_than: int) -> tuple[Manifest, list[Bucket]] | None:
        """See `fetch`."""
        return fetch(self._store, self._timeout_s, newer_than)

    def acknowledge(self, version: int) -> None:
        """Tells the store which version this actor generates with; not waited for."""
        self._store.acknowledge.remote(self._role, version)


def _bounded(what: str, action: Any, timeout_s: float) -> Any:
    try:
        return action()
    except ray.exceptions.GetTimeoutError as error:
        raise WeightStoreError(f"the weight store did not {what} within {timeout_s:g} s") from error
    except ray.exceptions.RayError as error:
        raise WeightStoreError(f"the weight store could not {what}: {type(error).__name__}: {str(error).splitlines()[0]}") from error
