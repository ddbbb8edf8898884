"""The starter tasks as a source of problems."""

from __future__ import annotations

from collections.abc import Iterator

from rltf.problems.problem import Problem
from rltf.problems.spec import Source, Spec
from rltf.problems.starter.corpus import StarterCorpus
from rltf.problems.starter.tasks import COUNTS, starter_problems


def load(spec: Spec) -> Iterator[Problem]:
    """Problems of a `starter` SPEC, drawn with its seed."""
    yield from starter_problems(spec.one_of("split", tuple(COUNTS), "train"), spec.seed)


SOURCE = Source("starter", "the built-in tasks", load, ("split",), corpus=StarterCorpus)
