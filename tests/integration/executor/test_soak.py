"""A short soak; benchmarks/soak.py has the long one."""

from __future__ import annotations

import os

import pytest

from benchmarks.soak import in_a_throw_away_namespace, sound
from rltf.config import UserError


def test_after_many_programs_everything_is_as_it_was() -> None:
    try:
        figures = in_a_throw_away_namespace(["--inside", "--programs", "400", "--lanes", "2"])
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert sum(figures["outcomes"].values()) == 400
    assert sum(count for name, count in figures["outcomes"].items() if name.startswith("hostile")) > 5
    assert sound(figures), figures
