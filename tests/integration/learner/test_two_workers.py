"""Two learner workers: they train like one at every ZeRO stage, resume what one began, and go on from one checkpoint.

Under Ray: test_ray.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rltf.learner.checkpoint import Checkpoint
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.engine import TrainingEngine
from rltf.policy.policy import Policy
from tests.support.learner_engines import engine_of, plainly, programs, steps, weights
from tests.support.learner_parts import policy
from tests.support.ranks import Ranks


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    ranks = Ranks(tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.end()


def test_two_workers_train_like_one_at_every_stage(ranks: Ranks) -> None:
    sentence = "a learner step is not finite; the step was given up. Programs"
    for stages in ranks.call("trains"):
        # Rank 1 began with other weights: rank 0's are what both train.
        np.testing.assert_allclose([stage["curve"] for stage in stages], [plainly()] * 4, atol=1e-4)
        for stage in stages:
            # A program of one rank stops both, both name it and no other, and no weight has changed.
            assert stage["poisoned"] == f"The loss of {sentence} whose own loss is not finite: poison"
            # Where only the gradient is no number it may be any program of any rank.
            heading, _, ids = stage["steep"].rpartition(": ")
            assert heading == f"The gradient of {sentence} of the step"
            assert sorted(ids.split(", ")) == sorted(item.id for item in programs(0))


def test_resumes_at_another_world_size_and_stage(ranks: Ranks, tmp_path: Path) -> None:
    def one(first: int, saved: Checkpoint | None, stage: int) -> tuple[TrainingEngine, Policy]:
        ours = policy()
        if saved is not None:
            saved.load_model(ours)
        with engine_of(ours, zero_stage=stage) as engine:
            engine.reset_optimizer((0.9, 0.95), 0.0)
            if saved is not None:
                saved.load_optimizer(engine.state())
            steps(engine, first, first + 2)
            CheckpointWriter(tmp_path / str(stage), 2, False).save(first + 2, engine.state(), {})
        return engine, ours

    for stage in (1, 3):
        one(0, None, stage)  # one worker, two steps, then ...
    assert ranks.call("goes_on", str(tmp_path)) == [[2, 4, 2, 4]] * 2  # ... two workers, two steps, then ...
    with engine_of(policy(), zero_stage=0) as engine:
        engine.reset_optimizer((0.9, 0.95), 0.0)
        steps(engine, 0, 6)
        expected = weights(engine)
    for stage, other in ((1, 0), (3, 2)):
        saved = Checkpoints(tmp_path / str(stage)).newest()
        assert saved is not None and saved.step == 4
        one(4, saved, other)  # ... one worker at another stage
        found = Checkpoints(tmp_path / str(other)).newest()
        assert found is not None
        for kind, name in expected:
            torch.testing.assert_close(found.read(kind, name), expected[kind, name], rtol=0, atol=2e-5)


def test_all_ranks_go_on_from_the_same_checkpoint(ranks: Ranks, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    with engine_of(policy()) as engine:
        for step in (1, 2):
            CheckpointWriter(whole, 5, True).save(step, engine.state(), {})
    shutil.copytree(whole, tmp_path / "one")
    shutil.copytree(whole, tmp_path / "both")
    for place in ("one/step_000002", "both/step_000001", "both/step_000002"):
        (tmp_path / place / "checkpoint.json").write_text("{")
    folders = [str(tmp_path / name) for name in ("whole", "one", "both", "none")]
    assert ranks.call("agrees", *folders) == [[2, 1, "UserError", None]] * 2
