"""Fixtures that several rooms use: a real Redis per module, and a fresh flow per test.

How `pytest -n` divides the tests.
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

ROWS: tuple[tuple[str, ...], ...] = (
    ("run/test_recovery", "run/test_evaluate", "run/test_chat", "run/test_real_problems"),
    ("run/test_run", "actors/test_ray", "weights/test_ray", "learner/test_ray", "executor/test_ray", "monitor/test_ray")
    + ("driver/test_ray.py", "driver/"),
)
"""Integration tests that start Ray or whole runs, which fill the machine by themselves: files, and folders of them. One
row's run one after the other; those that need the shared Ray (tests/support/shared_ray.py) are neighbours."""
SLOW = (
    "learner/test_two_workers",
    "executor/test_real_data",
    "learner/test_engine",
    "executor/test_attacks",
    "run/test_recipes",
    "run/test_bad_input",
    "project/test_setup",
    "learner/test_resume",
    "run/test_full_disk",
    "project/test_wheel",
    "problems/test_check_data",
    "executor/test_commands",
    "executor/test_grade",
    "learner/test_worker",
    "run/test_stopping",
    "learner/test_damage",
)
"""Other integration tests that take long, the longest first: what begins last should be short."""

# As what a script starts in the background, or nohup, has them: what tests start would inherit it, and not be stopped.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

_numbers = itertools.count()


def _row(file: str) -> int | None:
    """Number of the row that a file belongs to."""
    name = file.removeprefix("tests/integration/")
    return next((number for number, row in enumerate(ROWS) if name.startswith(row)), None)


def _place(item: pytest.Item) -> tuple[int, ...]:
    """What begins first has the smallest: rows, slow files, other integration tests, the rest."""
    file, _, _ = item.nodeid.partition("::")
    name = file.removeprefix("tests/integration/")
    row = _row(file)
    if row is not None:
        return 0, row, next(place for place, start in enumerate(ROWS[row]) if name.startswith(start))
    slow = [place for place, start in enumerate(SLOW) if name.startswith(start)]
    return (1, *slow) if slow else (2,) if name != file else (3,)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first, where several processes take files from one queue."""
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


class _Rows(LoadFileScheduling):
    """Each file goes to one process of `pytest -n`, in the order of `_place`; those of a row to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        row = _row(file)
        return file if row is None else f"row {row}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Rows:
    """The hook of pytest-xdist."""
    config.option.loadscopereorder = False
    return _Rows(config, log)


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
