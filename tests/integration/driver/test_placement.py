"""Kinds of hosts on a real cluster of several raylets: who waits for which host, where workers run, what is told when a
host dies.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import ray_constants
from ray._private.state import actors
from ray.cluster_utils import Cluster
from ray.experimental.internal_kv import _internal_kv_put

from rltf.buffer.flow import FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.worker_loop import NotSchedulable, ray_options, requested_resources
from rltf.config import Config, RestartConfig
from rltf.driver.hosts import HostWatch
from rltf.driver.nodes import NodeKinds, actor_host, shortage
from rltf.driver.supervisor import Started, Supervisor
from rltf.monitor.absence import Absence, absent_in_words
from rltf.monitor.report_fates import events_section
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.monitor.status_line import Goal, status_segments
from tests.support.ordered_worker import OrderedWorker
from tests.support.paths import ROOT


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head that offers no CPU, as in cluster.yaml, but no resource of a kind either; a dead node is noticed within
    seconds.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "5")
    options = {"num_cpus": 0, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    started = Cluster(initialize_head=True, head_node_args=options)
    ray.init(address=started.address, namespace="placement-test", log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


def test_workers_wait_for_their_kind_of_host_and_a_dead_host_is_the_reason(
    cluster: Cluster, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    address = FlowAddress.from_config(Config(), redis_server.url, "placed")
    kinds = NodeKinds("auto", joined=True)
    told: list[tuple[str, str]] = []
    # One more death of a unit than its host's would end the run.
    supervisor = Supervisor(
        RestartConfig(limit=1, pause_s=0.2), lambda name, reason, facts: told.append((name, reason))
    )

    def options(kind: str) -> dict[str, Any]:
        return ray_options(0.5, 0, kind, kinds.offered())

    def start(name: str, kind: str) -> Started:
        handle = ray.remote(OrderedWorker).options(name=name, **options(kind)).remote(name, address, tmp_path)
        return {name: (handle, handle.start.remote())}

    for name, kind in (("learner", "trainer"), ("executor-0", "executor"), ("executor-1", "executor")):
        supervisor.add(
            name,
            partial(start, name, kind),
            lambda reason: {},
            partial(lambda kind: requested_resources(options(kind)), kind),
        )

    def until(seen: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not seen():
            supervisor.poll()
            assert time.monotonic() < deadline, supervisor.absent()
            time.sleep(0.05)

    def state(name: str) -> str:
        return supervisor.units[name].state

    def node_of(name: str) -> str:
        return str(actors(supervisor.handles()[name]._actor_id.hex())["Address"]["NodeID"])

    # Nobody knows yet for whom the first host will be.
    with pytest.raises(NotSchedulable, match="waiting for a host: none that offers a CPU is up"):
        kinds.offered()
    supervisor.poll()
    assert {absence.waits for absence in supervisor.absent().values()} == {
        "waiting for a host: none that offers a CPU is up"
    } and supervisor.starting

    # The executors' host comes first: the learner does not take it.
    executors = cluster.add_node(num_cpus=8, resources={"executor": 1})
    until(lambda: state("executor-0") == state("executor-1") == "running")
    ((name, absence),) = supervisor.absent().items()
    assert (name, absence.waits, absence.died) == ("learner", "waiting for a trainer host: none is up", "")
    assert node_of("executor-0") == executors.node_id
    assert shortage({"CPU": 0.5, "trainer": 0.5}) == "no node that is up offers that (at most 8 CPU)"
    full = shortage({"CPU": 0.5, "executor": 0.5})
    assert full.startswith("of the nodes that could run it ") and "has 7 CPU free" in full

    # What the autoscaler would say, had this cluster one.
    report = {"pending_launches": {"gpu": 2}, "failed_nodes": [["10.0.0.4", "executor"]]}
    _internal_kv_put(ray_constants.DEBUG_AUTOSCALING_STATUS, json.dumps({"autoscaler_report": report}))
    assert supervisor.absent()["learner"].waits == (
        "waiting for a trainer host: none is up; Ray's autoscaler: launching 2 gpu; 10.0.0.4 (executor) failed, and is "
        "not tried again: mend it, then `ray up`"
    )
    _internal_kv_put(ray_constants.DEBUG_AUTOSCALING_STATUS, "{}", overwrite=True)
    hosts = HostWatch()
    assert hosts.look() == []
    trainer = cluster.add_node(num_cpus=1, resources={"trainer": 1})
    until(lambda: supervisor.running)
    assert (
        node_of("learner") == trainer.node_id
        and supervisor.absent() == {}
        and actor_host(supervisor.handles()["learner"])
    )

    # Its host dies. Tries on the dead host, until Ray knows, neither count nor take the reason's place.
    (joined,) = hosts.look()
    assert joined["event"] == "host_joined" and joined["offers"] == {"CPU": 1, "trainer": 1}
    cluster.remove_node(trainer, allow_graceful=False)
    until(
        lambda: supervisor.deaths and supervisor.absent()["learner"].waits == "waiting for a trainer host: none is up"
    )
    ((dead, reason),) = supervisor.deaths
    assert supervisor.absent()["learner"].died and reason.endswith(supervisor.absent()["learner"].died)
    (left,) = hosts.look()
    assert (left["event"], left["host"]) == ("host_left", joined["host"]) and left["reason"]
    folder = RunFolder(tmp_path)
    folder.add_event(left)
    assert folder.events() == [left] and f"{left['host']} has left the cluster" in "".join(events_section([left]))
    assert dead == "learner" and "never ran" not in reason and not told
    assert state("executor-0") == state("executor-1") == "running"
    again = cluster.add_node(num_cpus=1, resources={"trainer": 1})
    until(lambda: supervisor.running)
    assert told == [("learner", reason)] and len(supervisor.deaths) == 1 and node_of("learner") == again.node_id
    supervisor.kill()


def test_kinds_are_a_setting_too() -> None:
    assert set(NodeKinds("on", joined=True).offered()) == {"executor", "trainer"}
    assert (
        NodeKinds("off", joined=True).offered()
        == NodeKinds("on", joined=False).offered()
        == NodeKinds("auto", joined=False).offered()
        == {}
    )
    nothing = ray_options(0, 0, "trainer", {"trainer": 1})
    assert requested_resources(nothing)["trainer"] == requested_resources(nothing)["CPU"] > 0, (
        "a worker that asks for no CPU stays off the wrong hosts"
    )


def test_who_does_not_run_is_told_and_said_to_wait_for_nobody(tmp_path: Path) -> None:
    state = RunState()
    row = {"kind": "now", "name": "wait", "waits_for": "actor", "start": 0.0, "time": 80.0}
    state.fold(row | {"role": role} for role in ("executor-0", "executor-2"))
    waiting = state.longest_wait(89.0)
    assert waiting is not None and waiting[1] == 89.0
    executor = Absence("waiting for an executor host: none is up", 9.0, "its node exe1 has died")
    state.absent = {"executor-0": executor, "executor-2": executor._replace(since=19.0)}
    state.absent["learner"] = Absence("starting on gpu1", 80.0)
    assert state.longest_wait(89.0) is None and state.waits_in_words(89.0) == "nobody waits"
    words = absent_in_words(state.absent, 89.0)
    assert words == (
        "executor-0, executor-2: dead for 80 s (its node exe1 has died), waiting for an executor host: none is up; "
        "learner: starting on gpu1 (9 s so far)"
    )
    (told,) = [part for part in status_segments(state, Goal(10), 89.0) if "dead" in part.text]
    assert told.text == words and told.short == "not running: executor-0, executor-2, learner"
    folder = RunFolder(tmp_path)
    assert folder.absent() == {}
    folder.write_absent(state.absent)
    assert folder.absent() == state.absent
    (tmp_path / "absent.json").write_text("{")
    assert "cannot be read" in folder.absent()["absent.json"].waits
