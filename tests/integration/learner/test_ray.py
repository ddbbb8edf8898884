"""Two learner workers as Ray actors: they meet without a launcher, train, publish through the weight store, and export."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.worker_loop import NotSchedulable
from rltf.config import Config
from rltf.learner.ray_learner import LearnerGroup
from rltf.learner.step_exports import step_exports
from rltf.learner.task import LearnerTask
from rltf.policy.policy import build_policy, make_spec
from rltf.problems.corpus import SolutionCorpus
from rltf.weights.ray_source import StoreSource
from rltf.weights.ray_store import start_store
from rltf.weights.unpacking import load_into
from tests.support.learner_run import PROBLEMS, SHAPE

CONFIG = Config.model_validate(
    {
        "policy": SHAPE,
        "warm_start": {"steps": 3, "batch_size": 8},
        "learner": {
            "objective": "supervised", "steps": 4, "workers": 2, "zero_stage": 2, "micro_batch_tokens": 200, "supervised_batch_size": 8,
            "warm_start_threads": 1,
        },
        "evaluation": {"every": 0},
        "checkpoint": {"export_every": 2},
    }
)  # fmt: skip


def _started(group: LearnerGroup) -> dict[str, tuple[Any, Any]]:
    deadline = time.monotonic() + 120
    while True:
        try:
            return group.start({})
        except NotSchedulable:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_two_workers_train_publish_and_export(ray_job: Any, redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    address = FlowAddress.from_config(CONFIG, redis_server.url, "two-workers")
    flow = Flow(address)
    spec = make_spec(CONFIG.policy, [text for task in PROBLEMS for text in (task.question, task.solutions[0])])
    task = LearnerTask(CONFIG, spec, SolutionCorpus(PROBLEMS), [], [], tmp_path)
    store = start_store(60)
    started = _started(LearnerGroup(task, address, store, tmp_path / "logs"))
    assert list(started) == ["learner-0", "learner-1"]
    ray.get([joined for _, joined in started.values()], timeout=120)
    deadline = time.monotonic() + 120
    while {(health := ray.get(actor.health.remote(), timeout=30))["state"] for actor, _ in started.values()} != {
        "done"
    }:
        assert not health["failure"] and time.monotonic() < deadline, health
        time.sleep(0.1)
    rows = flow.telemetry.steps().items
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and all(row["supervised_programs"] == 8 for row in rows)
    assert flow.control.phase() == "done"
    assert json.loads((tmp_path / "warm_start" / "warm_start.json").read_text())["steps"] == 3
    found = StoreSource(store, 30).latest(-1)
    assert found is not None and found[0].version == 1
    policy = build_policy(spec, weights=False)
    load_into(policy.model, *found)
    exported = type(policy.model).from_pretrained(tmp_path / "export").state_dict()
    assert all(bool((value == exported[name]).all()) for name, value in policy.model.state_dict().items())
    on_the_way = step_exports(tmp_path)
    assert list(on_the_way) == [2, 4]
    halfway, last = (type(policy.model).from_pretrained(folder).state_dict() for folder in on_the_way.values())
    assert all(bool((last[name] == exported[name]).all()) for name in exported)
    assert any(bool((halfway[name] != exported[name]).any()) for name in exported)
    for actor, _ in started.values():
        ray.kill(actor)
    flow.close()

    # More workers than the cluster has CPUs: said at once, and the wait is the supervisor's, which has a bound.
    crowd = CONFIG.model_copy(update={"learner": CONFIG.learner.model_copy(update={"workers": 9})})
    with pytest.raises(NotSchedulable, match="waiting for room for 9 learner workers of 1 CPU each"):
        LearnerGroup(LearnerTask(crowd, spec, None, [], [], tmp_path), address, store, tmp_path / "logs").start({})
