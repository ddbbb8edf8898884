"""The actor's Ray shell."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from rltf.actors.ray_actor import generator_actor
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config
from rltf.weights.packing import pack
from rltf.weights.ray_publisher import publish
from rltf.weights.ray_store import start_store
from tests.support.policies import Prompt, policy_of, spec_of


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_actor_generates_in_a_thread_and_its_failure_is_seen(
    ray_job: Any, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    store = start_store(timeout_s=60)
    config = Config.model_validate(
        {
            "actors": {"problems_per_batch": 2, "samples_per_problem": 2, "cpus_per_actor": 0.5},
            "learner": {"groups_per_step": 2},
        }
    )
    address = FlowAddress.from_config(config, redis_server.url, "ray")
    flow = Flow(address)
    prompts = {f"p{index}": Prompt("", f"task {index}", "\n") for index in range(3)}
    try:
        actor = generator_actor(config, "actor-0", {}).remote(
            "actor-0", spec_of("llama", 12), prompts, {}, address, store, config, tmp_path
        )
        ray.get(actor.start.remote(), timeout=60)
        assert ray.get(actor.health.remote(), timeout=30)["state"] == "running"
        publish(store, *pack(policy_of("llama", 12).model, 0), timeout_s=30)
        flow.control.set_phase("training")
        until(lambda: flow.work.length() >= 4)
        assert ray.get(actor.version.remote(), timeout=30) == 0
        # The weights of another model are no transient fault: another start would not mend it.
        publish(store, *pack(policy_of("gpt2", 12).model, 1), timeout_s=30)
        flow.work.claim("executor-0", 100)
        until(lambda: ray.get(actor.health.remote(), timeout=30)["state"] == "failed")
        health = ray.get(actor.health.remote(), timeout=30)
        assert health["final"] and "names differ from the model's" in health["failure"]
        assert ray.get(actor.stop.remote(), timeout=30)
    finally:
        flow.close()
