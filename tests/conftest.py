"""Fixtures that several rooms use: a real Redis per module, and a fresh flow per test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from buffer.flow import Flow, FlowAddress
from buffer.server import EmbeddedRedis
from config import BufferConfig

_numbers = itertools.count()


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
        shape = {name: fields.pop(name) for name in ("groups_per_step", "groups_per_version", "group_size", "seed") if name in fields}
        numbers = {"groups_per_step": 2, "groups_per_version": 2, "group_size": 2} | shape
        address = FlowAddress(url=redis_server.url, run=f"test-{next(_numbers)}", buffer=BufferConfig(**fields), **numbers)
        flows.append(Flow.connect(address))
        return flows[-1]

    yield make
    for flow in flows:
        flow.close()


@pytest.fixture
def flow(make_flow: Callable[..., Flow]) -> Flow:
    """A flow with the default configuration of the buffer, groups of two."""
    return make_flow()
