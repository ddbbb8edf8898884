"""Checkpoints: bit for bit at every ZeRO stage, at another world size, whole or not at all, the best and the newest
kept.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from rltf.config import UserError
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Checkpoints, Score
from rltf.policy.checksums import write_checksums
from tests.support.learner_engines import engine_of, steps, weights
from tests.support.learner_parts import policy


@pytest.mark.parametrize(
    ("stage", "dtype"), [(0, "float32"), (1, "float32"), (2, "bfloat16"), (3, "float32"), (0, "bfloat16")]
)
def test_stop_and_resume_changes_no_bit(stage: int, dtype: str, tmp_path: Path) -> None:
    with engine_of(policy(), zero_stage=stage, dtype=dtype) as engine:
        steps(engine, 90, 93)  # a warm start, whose averages are forgotten
        engine.reset_optimizer((0.9, 0.95), 0.01)
        steps(engine, 0, 3)
        CheckpointWriter(tmp_path, 2, True).save(3, engine.state(), {"fact": 7})
        steps(engine, 3, 6)
        expected, model = (
            weights(engine),
            {name: value.clone() for name, value in engine.policy.model.state_dict().items()},
        )
    saved = Checkpoints(tmp_path).newest()
    assert saved is not None and saved.step == 3 and saved.facts["fact"] == 7
    again = policy(seed=9)
    saved.load_model(again)
    with engine_of(again, zero_stage=stage, dtype=dtype) as engine:
        engine.reset_optimizer((0.9, 0.95), 0.01)
        saved.load_optimizer(engine.state())
        assert engine.state().steps() == 3
        steps(engine, 3, 6)
        found = weights(engine)
        assert found.keys() == expected.keys() and len(found) == 3 * len(list(again.model.parameters()))
        for key, value in found.items():
            assert torch.equal(value, expected[key]), key
        for name, value in again.model.state_dict().items():
            assert torch.equal(value, model[name]), name


def test_what_is_not_whole_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = CheckpointWriter(tmp_path, 5, True)
    assert checkpoints.newest() is None
    with engine_of(policy()) as engine:
        for step in (1, 2, 3):
            checkpoints.save(step, engine.state(), {})
    (tmp_path / "step_000003" / "COMPLETE").unlink()  # killed before the end
    (tmp_path / "step_000004.unfinished").mkdir()
    found = checkpoints.newest()
    assert found is not None and found.step == 2
    with (tmp_path / "step_000002" / "state-00000.safetensors").open("r+b") as file:  # the disk was full
        file.truncate(100)
    found = checkpoints.newest()
    assert found is not None and found.step == 1
    with pytest.raises(UserError, match="is of another model"):
        found.load_model(policy(d_model=64))
    with pytest.raises(UserError, match="another model: .* weights differ"):
        found.load_model(policy("t5"))


def test_a_kill_while_a_checkpoint_is_replaced_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = CheckpointWriter(tmp_path, 1, True)
    really = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name == "step_000003":
            raise KeyboardInterrupt
        really(source, target)

    with engine_of(policy()) as engine:
        checkpoints.save(3, engine.state(), {"first": True})
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", killed)
            checkpoints.save(3, engine.state(), {"first": False})
        found = Checkpoints(tmp_path).newest()
        assert found is not None and found.facts["first"] and checkpoints.steps() == [3]
        found.load_model(policy())
        checkpoints.save(3, engine.state(), {"first": False})
        found = checkpoints.newest()
        assert found is not None and not found.facts["first"]
        assert [path.name for path in tmp_path.iterdir()] == ["step_000003"]
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", killed)
            checkpoints.save(3, engine.state(), {})
        (tmp_path / "step_000005").mkdir()
        (tmp_path / "step_000005.replaced").mkdir()  # killed after the new one was in its place
        checkpoints.save(7, engine.state(), {})
        assert checkpoints.steps() == [7] and [path.name for path in tmp_path.glob("step_*.replaced")] == []


def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    checkpoints = CheckpointWriter(tmp_path, 1, True)
    with engine_of(policy()) as engine:
        checkpoints.save(3, engine.state(), {})
    (tmp_path / "scores.json").write_text("")
    with pytest.raises(UserError, match=r"scores\.json cannot be read .*: delete it to go on"):
        CheckpointWriter(tmp_path, 1, True)
    folder = tmp_path / "step_000003"
    file = folder / "checkpoint.json"
    file.write_text(file.read_text().replace('"format": 2', '"format": 3'))
    write_checksums(folder, "COMPLETE")
    with pytest.raises(UserError, match=r"step_000003 has format 3, and this version of the project reads format 2"):
        checkpoints.newest()
    # One of before there were checksums: whether it is as it was written cannot be known.
    (folder / "COMPLETE").write_text(
        json.dumps({path.name: path.stat().st_size for path in folder.iterdir() if path.name != "COMPLETE"})
    )
    with pytest.raises(UserError, match=r"step_000003 has format 1, and this version of the project reads format 2"):
        checkpoints.newest()


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = CheckpointWriter(tmp_path, 2, True)
    with engine_of(policy()) as engine:
        for step, score in ((0, 0.1), (2, 0.5), (4, 0.5), (6, 0.3)):
            checkpoints.save(step, engine.state(), {}, needed=[4])
            checkpoints.set_score(f"step-{step:06d}", Score(step, score, {"max@2": 1 - score}))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "scores.json",
        "step_000002",
        "step_000004",
        "step_000006",
    ]
    again = CheckpointWriter(tmp_path, 1, True)
    best = again.best()
    assert best is not None and best.step == 2
    assert again.score("step-000006") == Score(6, 0.3, {"max@2": 0.7}) and again.score("step-000007") is None
    by_max = Checkpoints(tmp_path, "max@2").best()
    assert by_max is not None and by_max.step == 6 and Checkpoints(tmp_path, "pass@9").best() is None
    again.set_score("step-000002-2", Score(2, 0.2))  # done again, with other weights
    with engine_of(policy()) as engine:
        again.save(8, engine.state(), {})
    assert sorted(path.name for path in tmp_path.glob("step*")) == ["step_000004", "step_000008"]


def test_random_states_come_back(tmp_path: Path) -> None:
    with engine_of(policy()) as engine:
        random.random()
        CheckpointWriter(tmp_path, 1, False).save(1, engine.state(), {})
    drawn = random.random(), float(np.random.rand()), float(torch.rand(()))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    saved = Checkpoints(tmp_path).newest()
    assert saved is not None
    saved.restore_random()
    assert drawn == (random.random(), float(np.random.rand()), float(torch.rand(())))
