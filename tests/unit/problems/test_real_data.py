"""The loaders on real problems; counts are those of the data's own README."""

import pytest

from rltf.problems import corpus_of, load_problems, prompt_of
from tests.support.paths import SHARED
from tests.support.problem_files import unpack

DATA = SHARED / "data"
pytestmark = [pytest.mark.real_problems, pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")]


def test_rltf_apps(tmp_path):
    folder = unpack(DATA / "rltf_apps/train5.tar.gz", tmp_path) / "rltf_apps/APPS"
    loaded = load_problems(f"apps:{folder}")
    assert [problem.id for problem in loaded] == [f"train/{n}" for n in ("0001", "0111", "2287", "2404", "4184")]
    assert sum(len(problem.solutions) for problem in loaded) == 101 and not loaded.skipped
    assert loaded.by_id["2404"].suite.outputs == (9,)  # bare
    assert loaded.by_id["4184"].suite.outputs == (
        False,
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    )  # wrapped in the file
    assert corpus_of(loaded) is not None


def test_mbpp():
    full = load_problems(f"mbpp:{DATA / 'mbpp/mbpp.jsonl'}")
    assert (
        len(full) == 974
        and not full.skipped
        and not any("\r" in problem.solutions[0] + problem.suite.setup for problem in full)
    )
    assert sum(bool(problem.suite.setup) for problem in full) == 2
    assert len(load_problems(f"mbpp:{DATA / 'mbpp/mbpp.jsonl'},ids=11-510")) == 500
    sanitized = load_problems(f"mbpp:{DATA / 'mbpp/sanitized-mbpp.json'}")
    assert (
        len(sanitized) == 427
        and not sanitized.skipped
        and sum(problem.suite.setup == "import math" for problem in sanitized) == 13
    )
    assert prompt_of(full.by_id["mbpp/2"]).text == (
        "Write a function to find the similar elements from the given two tuple lists. Your code should satisfy these tests:\n\n"
        "assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)\n"
        "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)\n"
        "assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)\n\n"
    )
