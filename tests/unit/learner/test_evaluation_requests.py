"""How a held-out evaluation is cut into what actors write at once."""

from __future__ import annotations

import pytest

from rltf.config.workers import ActorsConfig
from rltf.learner.evaluation_requests import chunks_of


@pytest.mark.parametrize(
    ("problems", "samples", "actors", "sizes"),
    [
        (70, 1, 1, [32, 32, 6]),  # one program each: as many problems as there are rows, not as in training
        (70, 1, 4, [18, 18, 18, 16]),  # each actor has a part
        (7, 20, 1, [1] * 7),
        (7, 100, 2, [1] * 7),  # more programs of a problem than rows
        (1, 1, 8, [1]),
    ],
)
def test_an_evaluation_fills_the_batches_of_the_actors(
    problems: int, samples: int, actors: int, sizes: list[int]
) -> None:
    ids = [f"p{number}" for number in range(problems)]
    chunks = chunks_of(ids, samples, ActorsConfig(count=actors, problems_per_batch=4, samples_per_problem=8))
    assert [len(chunk) for chunk in chunks] == sizes
    assert [one for chunk in chunks for one in chunk] == ids
