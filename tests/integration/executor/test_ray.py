"""The executor's Ray shell."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from rltf.buffer.flow import Flow
from rltf.config import ExecutorConfig
from rltf.executor.ray_executor import executor_actor
from tests.support.buffer_programs import group_of
from tests.support.executor_suites import HONEST_SUMS, SUM

RIGHT = HONEST_SUMS["input"]


def test_executors_grade_and_stop(ray_job: Any, make_flow: Callable[..., Flow], tmp_path: Path) -> None:
    flow = make_flow(group_size=2)
    flow.problems.put("sum", SUM.to_json(), SUM.content_hash)
    for number in range(8):
        flow.work.push(group_of(f"g{number}", problem_id="sum", text=f"{RIGHT}# {number}"))
    config = ExecutorConfig(cpus_per_executor=0.5)
    actors = [
        executor_actor(config, name, {}).remote(name, flow.address, config, tmp_path)
        for name in ("executor-0", "executor-1")
    ]
    ray.get([actor.start.remote() for actor in actors], timeout=60)
    deadline = time.monotonic() + 60
    while flow.ledger.counts()["buffered"] < 16:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    health = ray.get([actor.health.remote() for actor in actors], timeout=60)
    assert [state["state"] for state in health] == ["running", "running"]
    assert ray.get([actor.stop.remote() for actor in actors], timeout=60) == [True, True]
