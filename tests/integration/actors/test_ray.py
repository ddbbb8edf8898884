"""The actor's shell on a Ray cluster of this test's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config
from rltf.weights.packing import pack
from tests.support.own_ray import own_ray, until
from tests.support.policies import Prompt, policy_of, spec_of


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with own_ray() as ray:
        yield ray


def test_an_actor_generates_in_a_thread_and_its_failure_is_seen(cluster: Any, tmp_path: Path) -> None:
    from rltf.actors.ray_actor import generator_actor
    from rltf.weights.ray_publisher import publish
    from rltf.weights.ray_store import start_store

    server = EmbeddedRedis.start(tmp_path)
    store = start_store(timeout_s=60)
    config = Config.model_validate(
        {
            "actors": {"problems_per_batch": 2, "samples_per_problem": 2, "cpus_per_actor": 0.5},
            "learner": {"groups_per_step": 2},
        }
    )
    address = FlowAddress.from_config(config, server.url, "ray")
    flow = Flow(address)
    prompts = {f"p{index}": Prompt("", f"task {index}", "\n") for index in range(3)}
    try:
        actor = generator_actor(config, "actor-0", {}).remote(
            "actor-0", spec_of("llama", 12), prompts, {}, address, store, config, tmp_path
        )
        cluster.get(actor.start.remote(), timeout=60)
        assert cluster.get(actor.health.remote(), timeout=30)["state"] == "running"
        publish(store, *pack(policy_of("llama", 12).model, 0), timeout_s=30)
        flow.control.set_phase("training")
        until(lambda: flow.work.length() >= 4)
        assert cluster.get(actor.version.remote(), timeout=30) == 0
        # The weights of another model are no transient fault: another start would not mend it.
        publish(store, *pack(policy_of("gpt2", 12).model, 1), timeout_s=30)
        flow.work.claim("executor-0", 100)
        until(lambda: cluster.get(actor.health.remote(), timeout=30)["state"] == "failed")
        health = cluster.get(actor.health.remote(), timeout=30)
        assert health["final"] and "names differ from the model's" in health["failure"]
        assert cluster.get(actor.stop.remote(), timeout=30)
    finally:
        flow.close()
        server.stop()
