"""A Ray of one file's own, for tests that count what a head and its workers do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.paths import ROOT


@contextmanager
def own_ray() -> Iterator[Any]:
    """Ray, started here without its dashboard; ended afterwards."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_worker_niceness"] = "0"
    ray = pytest.importorskip("ray")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=200 << 20,
        namespace=f"test-{os.getpid()}",
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
    )
    yield ray
    ray.shutdown()


def until(reached: Callable[[], object], bound_s: float = 60.0) -> None:
    """Waits for it; fails after the bound."""
    deadline = time.monotonic() + bound_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
