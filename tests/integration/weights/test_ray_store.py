"""The weight store on a Ray cluster of this test's own."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from rltf.weights.slots import make_slot
from rltf.weights.unpacking import load_into
from tests.support.own_ray import own_ray, until
from tests.support.versions import keeps_its_promises
from tests.support.weight_publisher import Publisher, model_of


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with own_ray() as ray:
        yield ray


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


@pytest.mark.parametrize("near", [True, False])
def test_versions_come_as_the_protocols_say(cluster: Any, near: bool) -> None:
    from rltf.weights.ray_publisher import StorePublisher
    from rltf.weights.ray_source import StoreSource
    from rltf.weights.ray_store import start_store

    store = start_store(timeout_s=60)
    keeps_its_promises(StorePublisher(store, 30), StoreSource(store, 30) if near else elsewhere(store))
    cluster.kill(store)
    until(lambda: _is_dead(cluster, store))


@pytest.mark.parametrize("shared", [True, False])
def test_the_store_keeps_the_newest_two_versions_and_they_outlive_who_published_them(
    cluster: Any, shared: bool
) -> None:
    from rltf.weights.ray_source import StoreSource
    from rltf.weights.ray_store import WeightStoreError, start_store

    store = start_store(timeout_s=60)
    assert elsewhere(store).latest(-1) is None
    publisher = cluster.remote(Publisher).options(num_cpus=0).remote(store, shared)
    for version in (0, 1, 2):
        cluster.get(publisher.publish.remote(version, version + 1), timeout=60)
    cluster.kill(publisher)
    until(lambda: _is_dead(cluster, publisher))
    assert cluster.get(store.versions.remote(), timeout=30) == [1, 2]
    found = elsewhere(store).latest(-1)
    assert found is not None
    assert found[0].version == 2 and len(found[1]) > 1
    expected = model_of(3)[1].weight
    assert weights_of(found).equal(expected)
    source = StoreSource(store, 30)
    assert source.latest(2) is None
    here = source.latest(1)
    assert (
        here is not None and weights_of(here).equal(expected) and not any(bucket.flags.writeable for bucket in here[1])
    )
    source.acknowledge(2)
    cluster.kill(store)
    until(lambda: _is_dead(cluster, store))
    with pytest.raises(WeightStoreError, match="could not give its newest version"):
        elsewhere(store, 5).latest(-1)


@pytest.mark.parametrize("near", [True, False])
def test_versions_that_are_evaluated_are_kept_beside_the_newest_two(cluster: Any, near: bool) -> None:
    from rltf.weights.ray_source import StoreSource
    from rltf.weights.ray_store import start_store

    store = start_store(timeout_s=60)
    learner = cluster.remote(Publisher).options(num_cpus=0).remote(store, True)
    actor = StoreSource(store, 30) if near else elsewhere(store)

    def publish(version: int, *kept: int) -> list[int]:
        cluster.get(learner.keep.remote(kept), timeout=60)
        cluster.get(learner.publish.remote(version, version + 1), timeout=60)
        return list(cluster.get(store.versions.remote(), timeout=30))

    assert [publish(version, 1) for version in range(5)] == [[0], [0, 1], [1, 2], [1, 2, 3], [1, 3, 4]]
    for version in (1, 4, 3, 1):
        found = actor.exactly(version)
        assert found is not None and found[0].version == version
        assert weights_of(found).equal(model_of(version + 1)[1].weight)
        actor.acknowledge(version)
    newest = actor.latest(1)
    assert newest is not None and newest[0].version == 4 and actor.exactly(2) is None
    assert publish(5, 3) == [3, 4, 5] and publish(6) == [5, 6]
    cluster.kill(store)
    until(lambda: _is_dead(cluster, store))


def test_shared_memory_is_used_again_but_never_while_an_actor_reads_it(cluster: Any) -> None:
    from rltf.weights.ray_source import StoreSource
    from rltf.weights.ray_store import WeightStoreError, start_store

    store = start_store(timeout_s=60)
    learner = cluster.remote(Publisher).options(num_cpus=0).remote(store, True)

    def publish(version: int) -> set[int]:
        return set(cluster.get(learner.publish.remote(version, version), timeout=60))

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
    with pytest.raises(cluster.exceptions.RayActorError):
        cluster.get(learner.begin_and_die.remote(), timeout=60)
    after = other.latest(-1)
    assert after is not None and after[0].version == 7
    assert weights_of(after).equal(model_of(7)[1].weight)
    other.acknowledge(7)
    learner = cluster.remote(Publisher).options(num_cpus=0).remote(store, True)
    publish(8)
    after = other.latest(7)
    assert after is not None and weights_of(after).equal(model_of(8)[1].weight)
    other.acknowledge(8)
    cluster.kill(store)
    until(lambda: _is_dead(cluster, store))
    with pytest.raises(WeightStoreError, match="the weight store could not (give shared memory|take version 9)"):
        cluster.get(learner.publish.remote(9, 1), timeout=60)


@pytest.mark.parametrize("near", [True, False])
def test_a_store_that_was_killed_gets_the_newest_version_again(
    cluster: Any, near: bool, request: pytest.FixtureRequest
) -> None:
    from rltf.weights.ray_source import StoreSource
    from rltf.weights.ray_store import start_store

    store = start_store(timeout_s=60)

    def end() -> None:
        cluster.kill(store)
        until(lambda: _is_dead(cluster, store))

    request.addfinalizer(end)
    learner = cluster.remote(Publisher).options(num_cpus=0).remote(store, True)
    if not near:
        cluster.get(learner.be_elsewhere.remote(), timeout=60)

    def kill() -> None:
        os.kill(cluster.get(store.slot.remote(1), timeout=60).pid, signal.SIGKILL)

    def weights(seed: int) -> Any:
        return model_of(seed)[1].weight

    for version in range(4):
        cluster.get(learner.publish.remote(version, version + 1), timeout=60)
    actor = StoreSource(store, 60)
    found = actor.latest(-1)
    assert found is not None and found[0].version == 3
    actor.acknowledge(3)
    assert not cluster.get(learner.restore.remote(), timeout=60)  # asks; the next call has the answer, that all is well
    kill()
    assert actor.latest(3) is None, "a call waits for the store's next process"
    until(lambda: cluster.get(learner.restore.remote(), timeout=60))
    assert actor.latest(3) is None
    started_since = StoreSource(store, 60)
    found = started_since.latest(-1)
    assert found is not None and found[0].version == 3 and weights_of(found).equal(weights(4))
    started_since.acknowledge(3)
    if not near:
        return
    for version in (4, 5, 6):
        cluster.get(learner.publish.remote(version, version + 1), timeout=60)
        found = actor.latest(version - 1)
        assert found is not None and found[0].version == version and weights_of(found).equal(weights(version + 1))
        actor.acknowledge(version)
    kill()  # nobody notices before the next version, which is written into memory of the dead process
    cluster.get(learner.publish.remote(7, 8), timeout=60)
    for found in (actor.latest(6), started_since.latest(3), elsewhere(store, 60).latest(-1)):
        assert found is not None and found[0].version == 7 and weights_of(found).equal(weights(8))
    assert cluster.get(store.commit.remote(found[0], [make_slot(1)]), timeout=60) is None, (
        "memory that is not the store's"
    )
    assert cluster.get(store.versions.remote(), timeout=60) == [7]


def _is_dead(ray: Any, handle: Any) -> bool:
    try:
        ray.get(handle.__ray_ready__.remote(), timeout=5)
    except ray.exceptions.RayError:
        return True
    return False
