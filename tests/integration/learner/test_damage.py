"""Damaged checkpoints, warm starts, critics and exports: the one before, or a sentence; never a traceback, never other
weights.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rltf.config import PolicyConfig, UserError
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.critic import Critic, load_critic
from rltf.learner.export import load_weights, save_model
from rltf.policy.checksums import LIST
from rltf.policy.policy import Policy, build_policy, make_spec
from tests.support.damage import damages
from tests.support.learner_engines import engine_of
from tests.support.learner_parts import CRITIC_TOKENS, policy


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of steps 1 and 2, with other weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with engine_of(ours := policy()) as engine:
        for step in (1, 2):
            CheckpointWriter(folder, 5, True).save(step, engine.state(), {"fact": step})
            with torch.no_grad():
                ours.model.get_input_embeddings().weight.add_(1.0)
    return folder


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "step_000001", tmp_path / "step_000001")
    tried = 0
    for what, _ in damages(checkpoints / "step_000002", tmp_path / "step_000002"):
        found = Checkpoints(tmp_path)
        saved = found.newest()
        assert saved is not None, what
        if saved.step == 2:  # white space of COMPLETE, say
            assert what.startswith("COMPLETE: "), what
            continue
        (told,) = found.passed_over
        assert str(tmp_path / "step_000002") in told and (
            what.partition(":")[0] in told or what.startswith("COMPLETE")
        ), (what, told)
        saved.load_model(policy())
        tried += 1
    assert tried > 20
    (tmp_path / "step_000002" / "more.safetensors").write_bytes(b"")
    saved = Checkpoints(tmp_path).newest()
    assert saved is not None and saved.step == 1


def test_where_no_checkpoint_is_whole_the_sentence_says_so(checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert Checkpoints(folder).required() is None
    shutil.copytree(checkpoints, folder)
    for step in (1, 2):
        with (folder / f"step_00000{step}" / "state-00000.safetensors").open("r+b") as file:
            file.seek(-5, os.SEEK_END)
            file.write(b"\x81")
    with pytest.raises(
        UserError, match=r"none of the 2 checkpoints .* is whole; .*step_000002 is damaged .*state-00000.*its checksum"
    ):
        Checkpoints(folder).required()
    assert Checkpoints(folder).steps() == [1, 2], "sizes alone do not tell"


def test_after_damage_the_checkpoints_that_follow_are_kept(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints, tmp_path, dirs_exist_ok=True)
    (tmp_path / "step_000002").rename(tmp_path / "step_000009")
    (tmp_path / "step_000009" / "COMPLETE").write_bytes(b"")
    found = CheckpointWriter(tmp_path, 1, True)
    for step in (2, 3):
        with engine_of(policy()) as engine:
            found.save(step, engine.state(), {})
        saved = found.newest()
        assert saved is not None and saved.step == step
    assert sorted(path.name for path in tmp_path.glob("step_*")) == ["step_000003", "step_000009"]


def _damaged_models(load: Callable[[Path], Policy], good: Policy, folder: Path, scratch: Path) -> int:
    """How many damages were refused; what is loaded all the same has the weights of `good`."""
    refused = 0
    for what, damaged in damages(folder, scratch):
        try:
            loaded = load(damaged)
        except UserError as error:
            assert str(damaged) in str(error) and "\n" not in str(error), what
            refused += 1
            continue
        assert what.startswith(LIST), what
        for (name, ours), theirs in zip(good.model.named_parameters(), loaded.model.parameters(), strict=True):
            assert torch.equal(ours, theirs), (what, name)
    return refused


@pytest.mark.parametrize("lora", [False, True])
def test_a_damaged_warm_start_is_refused(lora: bool, tmp_path: Path) -> None:
    shape = {"lora_rank": 2} if lora else {}
    with engine_of(toy := policy(**shape)) as engine:
        save_model(engine, toy, tmp_path / "model", {"warm_start.json": {"steps": 3}})
    assert (tmp_path / "model" / "warm_start.json").is_file()

    def load(folder: Path) -> Policy:
        again = policy(seed=0 if lora else 4, **shape)
        load_weights(again, folder)
        return again

    assert _damaged_models(load, toy, tmp_path / "model", tmp_path / "damaged") > 30
    load(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("of the user")
    load(tmp_path / "model")
    (tmp_path / "model" / LIST).unlink()
    load(tmp_path / "model")  # as those of earlier versions are: with a warning


def test_a_damaged_export_is_no_model_to_begin_with(tmp_path: Path) -> None:
    with engine_of(toy := policy()) as engine:
        save_model(engine, toy, tmp_path / "export")

    def load(folder: Path) -> Policy:
        return build_policy(make_spec(PolicyConfig(model=str(folder), max_prompt_tokens=32, max_program_tokens=64), []))

    assert _damaged_models(load, toy, tmp_path / "export", tmp_path / "damaged") > 30


def test_a_damaged_critic_is_refused(tmp_path: Path) -> None:
    critic = Critic(policy(), CRITIC_TOKENS)
    critic.save(tmp_path / "critic", {"run": "test"})

    def load(folder: Path) -> Policy:
        return load_critic(folder, policy(), CRITIC_TOKENS).policy

    assert _damaged_models(load, critic.policy, tmp_path / "critic", tmp_path / "damaged") > 30


def test_files_are_as_open_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with engine_of(toy := policy(lora_rank=2)) as engine:
            CheckpointWriter(tmp_path / "checkpoints", 5, True).save(1, engine.state(), {})
            save_model(engine, toy, tmp_path / "export")
        Critic(policy(), CRITIC_TOKENS).save(tmp_path / "critic", {})
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10 and {path.stat().st_mode & 0o777 for path in files} == {0o640}
