"""Ray for the tests that need it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.support.shared_ray import SharedRay

_shared = SharedRay()


@pytest.fixture(scope="module")
def ray_job() -> Iterator[Any]:
    """A job of the module's own on a Ray with two CPUs: what `ray.init` gives."""
    with _shared.job() as context:
        yield context


@pytest.fixture(scope="module")
def ray_address() -> str:
    """Address of the same Ray, for a run that joins it rather than start one."""
    return _shared.address()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Ray ends with the last test in a row that needs it: no other runs beside it."""
    yield
    needed = nextitem is not None and {"ray_job", "ray_address"} & {*getattr(nextitem, "fixturenames", ())}
    if not needed and (nextitem is None or nextitem.path != item.path):
        _shared.stop()
