"""A large set of real problems in the directory layout of APPS; counts are those of the data's own README."""

from __future__ import annotations

import collections

import pytest

from rltf.problems import load_problems, prompt_of
from tests.support.paths import SHARED
from tests.support.problem_files import unpack

DATA = SHARED / "data"
pytestmark = [pytest.mark.real_problems, pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")]


def test_apps_layout(tmp_path):
    folder = unpack(DATA / "apps_layout/dev.tar.gz", tmp_path) / "APPS_like"
    loaded = load_problems(f"apps:{folder}")
    assert collections.Counter(problem.suite.kind for problem in loaded) == {"stdin": 629, "call": 1271}
    assert sum(problem.suite.count for problem in loaded) == 13_892
    assert sum(len(problem.solutions) for problem in loaded) == 3_316
    assert not loaded.skipped and len({problem.suite.content_hash for problem in loaded}) > 1_850
    assert len(load_problems(f"apps:{folder},split=train,difficulty=introductory")) == 343
    # Every output here is a list of one, and yet none is wrapped: the annotation says List[List[int]].
    assert loaded.by_id["1004"].suite.outputs == ([[1, 3]], [[0, 1]])
    assert prompt_of(loaded.by_id["1004"]).text.endswith("\n\nUse Call-Based format\n\nANSWER:\n")
