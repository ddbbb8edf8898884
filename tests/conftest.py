"""Fixtures that several rooms use: a real Redis per module, and a fresh flow per test.

How `pytest -n 2` divides the tests.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import BufferConfig

RAY = (
    "actors/test_ray",
    "driver/",
    "executor/test_worker",
    "learner/test_ray",
    "monitor/test_ray_metrics",
    "run/",
    "weights/test_ray_store",
)
"""Integration tests that start Ray or whole runs, which fill the machine by themselves: files, and folders of them."""

# As what a script starts in the background, or nohup, has them: what tests start would inherit it, and not be stopped.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

_numbers = itertools.count()


class _RayInARow(LoadFileScheduling):
    """Each file goes to one process of `pytest -n`; those in RAY to the same one, so that they run one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "ray" if file.removeprefix("tests/integration/").startswith(RAY) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _RayInARow:
    """The hook of pytest-xdist."""
    return _RayInARow(config, log)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server of the module's own."""
    server = EmbeddedRedis.start(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def make_flow(redis_server: EmbeddedRedis) -> Iterator[Callable[..., Flow]]:
    """Makes a flow with a run name of its own; arguments are fields of BufferConfig and of FlowAddress."""
    flows: list[Flow] = []

    def make(**fields: Any) -> Flow:
        names = ("groups_per_step", "groups_per_version", "group_size", "greedy_per_group", "seed", "token")
        shape = {name: fields.pop(name) for name in names if name in fields}
        numbers = {"groups_per_step": 2, "groups_per_version": 2, "group_size": 2} | shape
        address = FlowAddress(
            url=redis_server.url, run=f"test-{next(_numbers)}", buffer=BufferConfig(**fields), **numbers
        )
        flows.append(Flow(address))
        return flows[-1]

    yield make
    for flow in flows:
        flow.close()


@pytest.fixture
def flow(make_flow: Callable[..., Flow]) -> Flow:
    """A flow with the default configuration of the buffer, groups of two."""
    return make_flow()
