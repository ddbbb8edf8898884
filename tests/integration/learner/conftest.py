"""Fixtures of the learner's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf.buffer.server import EmbeddedRedis
from tests.support.learner_parts import learner_config  # noqa: F401  (sets the number of threads)
from tests.support.learner_run import Run


@pytest.fixture
def make_run(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(folder: Path = tmp_path, **fields: Any) -> Run:
        runs.append(Run(redis_server, folder, **fields))
        return runs[-1]

    yield make
    for run in runs:
        run.flow.close()
