"""The weight store on Ray."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from rltf.weights.slots import make_slot
from rltf.weights.unpacking import load_into
from tests.support.versions import keeps_its_promises
from tests.support.weight_publisher import Publisher, model_of


class Cluster:
    """Ray with stores of its own, and one process that stands where the learner stands, until it dies."""

    def __init__(self) -> None:
        import ray

        self.ray = ray
        self._process: Any = None
        self._stores: list[Any] = []

    def store(self) -> Any:
        """A new one."""
        from rltf.weights.ray_store import start_store

        self._stores.append(start_store(timeout_s=60))
        return self._stores[-1]

    def learner(self, store: Any, shared: bool = True) -> Any:
        """A handle of the process, which imports torch and so serves test after test, with a publisher of its own."""
        if self._process is None:
            self._process = self.ray.remote(Publisher).options(num_cpus=0).remote()
        self.ray.get(self._process.serve.remote(store, shared), timeout=60)
        return self._process

    def dead(self) -> None:
        """The process has died, or is about to."""
        self._until_dead(self._process)
        self._process = None

    def kill(self, store: Any) -> None:
        """Ends a store; returns when it has ended."""
        self.ray.kill(store)
        self._stores.remove(store)
        self._until_dead(store)

    def kill_stores(self) -> None:
        for store in [*self._stores]:
            self.kill(store)

    def _until_dead(self, handle: Any) -> None:
        until(lambda: self._is_dead(handle))

    def _is_dead(self, handle: Any) -> bool:
        try:
            self.ray.get(handle.__ray_ready__.remote(), timeout=5)
        except self.ray.exceptions.RayError:
            return True
        return False


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shared_cluster(ray_job: Any) -> Cluster:
    return Cluster()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    yield shared_cluster
    shared_cluster.kill_stores()  # the next one is to have the name


def elsewhere(store: Any, timeout_s: float = 30) -> Any:
    """The source of an actor on another machine than the store's: versions come through Ray's object store."""
    from rltf.weights.ray_source import StoreSource

    source = StoreSource(store, timeout_s)
    source._node = "another"
    return source


def weights_of(found: Any) -> Any:
    target = model_of(-1)
    load_into(target, *found)
    return target[1].weight


class NearAndFar:
    """The sources of two actors, one of them elsewhere: what one is given the other is given too."""

    def __init__(self, store: Any) -> None:
        from rltf.weights.ray_source import StoreSource

        self._near, self._far = StoreSource(store, 30), elsewhere(store)

    def latest(self, newer_than: int) -> Any:
        return self._both(self._near.latest(newer_than), self._far.latest(newer_than))

    def exactly(self, version: int) -> Any:
        return self._both(self._near.exactly(version), self._far.exactly(version))

    def acknowledge(self, version: int) -> None:
        self._near.acknowledge(version)
        self._far.acknowledge(version)

    @staticmethod
    def _both(near: Any, far: Any) -> Any:
        assert (near is None) == (far is None)
        if near is not None:
            assert near[0] == far[0] and all(map(torch.equal, weights_of(near), weights_of(far)))
        return near


def test_versions_come_as_the_protocols_say(cluster: Cluster) -> None:
    from rltf.weights.ray_publisher import StorePublisher

    store = cluster.store()
    keeps_its_promises(StorePublisher(store, 30), NearAndFar(store))


def test_the_store_keeps_the_newest_two_versions_and_they_outlive_who_published_them(cluster: Cluster) -> None:
    """Through its memory, then through Ray's object store."""
    from rltf.weights.ray_source import StoreSource
    from rltf.weights.ray_store import WeightStoreError

    store, ray = cluster.store(), cluster.ray
    assert elsewhere(store).latest(-1) is None
    source = StoreSource(store, 30)
    for first, shared in ((0, True), (3, False)):
        publisher = cluster.learner(store, shared)
        for version in range(first, first + 3):
            ray.get(publisher.publish.remote(version, version + 1), timeout=60)
        ray.kill(publisher)
        cluster.dead()
        last = first + 2
        assert ray.get(store.versions.remote(), timeout=30) == [last - 1, last]
        found = elsewhere(store).latest(-1)
        assert found is not None
        assert found[0].version == last and len(found[1]) > 1
        expected = model_of(last + 1)[1].weight
        assert weights_of(found).equal(expected)
        assert source.latest(last) is None
        here = source.latest(last - 1)
        assert here is not None and weights_of(here).equal(expected)
        assert not any(bucket.flags.writeable for bucket in here[1])
        source.acknowledge(last)
    cluster.kill(store)
    with pytest.raises(WeightStoreError, match="could not give its newest version"):
        elsewhere(store, 5).latest(-1)


def test_versions_that_are_evaluated_are_kept_beside_the_newest_two(cluster: Cluster) -> None:
    store, ray = cluster.store(), cluster.ray
    learner, actor = cluster.learner(store), NearAndFar(store)

    def publish(version: int, *kept: int) -> list[int]:
        ray.get(learner.keep.remote(kept), timeout=60)
        ray.get(learner.publish.remote(version, version + 1), timeout=60)
        return list(ray.get(store.versions.remote(), timeout=30))

    assert [publish(version, 1) for version in range(5)] == [[0], [0, 1], [1, 2], [1, 2, 3], [1, 3, 4]]
    for version in (1, 4, 3, 1):
        found = actor.exactly(version)
        assert found is not None and found[0].version == version
        assert weights_of(found).equal(model_of(version + 1)[1].weight)
        actor.acknowledge(version)
    newest = actor.latest(1)
    assert newest is not None and newest[0].version == 4 and actor.exactly(2) is None
    assert publish(5, 3) == [3, 4, 5] and publish(6) == [5, 6]


def test_shared_memory_is_used_again_but_never_while_an_actor_reads_it(cluster: Cluster) -> None:
    from rltf.weights.ray_source import StoreSource
    from rltf.weights.ray_store import WeightStoreError

    store, ray = cluster.store(), cluster.ray
    learner = cluster.learner(store)

    def publish(version: int) -> set[int]:
        return set(ray.get(learner.publish.remote(version, version), timeout=60))

    used = [publish(version) for version in range(3)]
    assert not used[0] & used[1] and not used[0] & used[2] and not used[1] & used[2]
    assert [publish(3), publish(4)] == used[:2]
    reader, other = StoreSource(store, 30), StoreSource(store, 30)
    held = reader.latest(-1)
    assert held is not None and held[0].version == 4
    new = publish(5) | publish(6) | publish(7)
    assert not new & used[1]
    assert weights_of(held).equal(model_of(4)[1].weight)
    reader.acknowledge(4)
    # A learner that dies while it writes leaves nothing behind that anyone would read, and the next one may use its
    # memory.
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(learner.begin_and_die.remote(), timeout=60)
    cluster.dead()
    after = other.latest(-1)
    assert after is not None and after[0].version == 7
    assert weights_of(after).equal(model_of(7)[1].weight)
    other.acknowledge(7)
    learner = cluster.learner(store)
    publish(8)
    after = other.latest(7)
    assert after is not None and weights_of(after).equal(model_of(8)[1].weight)
    other.acknowledge(8)
    cluster.kill(store)
    with pytest.raises(WeightStoreError, match="the weight store could not (give shared memory|take version 9)"):
        ray.get(learner.publish.remote(9, 1), timeout=60)


@pytest.mark.parametrize("near", [True, False])
def test_a_store_that_was_killed_gets_the_newest_version_again(cluster: Cluster, near: bool) -> None:
    from rltf.weights.ray_source import StoreSource

    store, ray = cluster.store(), cluster.ray
    learner = cluster.learner(store)
    if not near:
        ray.get(learner.be_elsewhere.remote(), timeout=60)

    def kill() -> None:
        os.kill(ray.get(store.slot.remote(1), timeout=60).pid, signal.SIGKILL)

    def weights(seed: int) -> Any:
        return model_of(seed)[1].weight

    for version in range(4):
        ray.get(learner.publish.remote(version, version + 1), timeout=60)
    actor = StoreSource(store, 60)
    found = actor.latest(-1)
    assert found is not None and found[0].version == 3
    actor.acknowledge(3)
    assert not ray.get(learner.restore.remote(), timeout=60)  # asks; the next call has the answer, that all is well
    kill()
    assert actor.latest(3) is None, "a call waits for the store's next process"
    until(lambda: ray.get(learner.restore.remote(), timeout=60))
    assert actor.latest(3) is None
    started_since = StoreSource(store, 60)
    found = started_since.latest(-1)
    assert found is not None and found[0].version == 3 and weights_of(found).equal(weights(4))
    started_since.acknowledge(3)
    if not near:
        return
    for version in (4, 5, 6):
        ray.get(learner.publish.remote(version, version + 1), timeout=60)
        found = actor.latest(version - 1)
        assert found is not None and found[0].version == version and weights_of(found).equal(weights(version + 1))
        actor.acknowledge(version)
    kill()  # nobody notices before the next version, which is written into memory of the dead process
    ray.get(learner.publish.remote(7, 8), timeout=60)
    for found in (actor.latest(6), started_since.latest(3), elsewhere(store, 60).latest(-1)):
        assert found is not None and found[0].version == 7 and weights_of(found).equal(weights(8))
    assert ray.get(store.commit.remote(found[0], [make_slot(1)]), timeout=60) is None, "memory that is not the store's"
    assert ray.get(store.versions.remote(), timeout=60) == [7]
