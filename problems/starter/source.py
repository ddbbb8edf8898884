"""The starter tasks as a source of problems."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from rltf.problems.problem import Problem
from rltf.problems.spec import Source, Spec
from rltf.problems.starter.corpus import StarterCorpus
from rltf.problems.starter.tasks import COUNTS, starter_problems


def load(spec: Spec) -> Iterator[Problem]:
    """Problems of a `starter` SPEC, drawn with its seed."""
    yield from _problems(spec.one_of("split", tuple(COUNTS), "train"), spec.seed)


@lru_cache(maxsize=4)
def _problems(split: str, seed: int) -> tuple[Problem, ...]:
    return tuple(starter_problems(split, seed))


SOURCE = Source("starter", "the built-in tasks", load, ("split",), corpus=StarterCorpus)
