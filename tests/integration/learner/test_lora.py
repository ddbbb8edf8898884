"""Adapters: trained alone, published alone, merged by actors, exported in both forms."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rltf.buffer.server import EmbeddedRedis
from rltf.config import UserError
from rltf.learner.batching import tensors
from rltf.learner.engine import TrainingEngine
from rltf.learner.export import load_weights, save_model
from rltf.learner.objectives.base import totals_of
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.publish import VersionPublisher
from rltf.learner.step_exports import step_exports
from rltf.learner.world import World
from rltf.monitor.memory import checkpoint_bytes
from rltf.policy.log_probs import token_log_probs
from rltf.policy.lora import named_adapters
from rltf.policy.policy import Policy, build_policy
from rltf.weights.manifest import ChecksumError, ManifestMismatch
from rltf.weights.packing import named_weights
from rltf.weights.unpacking import AdapterLoader
from tests.support.learner_engines import engine_of, programs
from tests.support.learner_parts import learner_config, policy
from tests.support.learner_run import Run
from tests.support.versions import KeptVersions

pytest.importorskip("peft", reason="adapters need peft, which is not installed here")
FAMILIES = ["llama", "qwen2", "gpt2", "codegen", "t5"]
LORA = {"lora_rank": 3, "lora_alpha": 6.0}


def trained(toy: Policy, steps: int = 3, **fields: Any) -> tuple[TrainingEngine, KeptVersions]:
    """An engine after some steps, and what it published before and after."""
    engine = TrainingEngine(toy, learner_config(**fields), World())
    kept = KeptVersions()
    versions = VersionPublisher(engine, toy, kept, torch.float32)
    versions.publish()
    items = programs(0)
    for _ in range(steps):
        engine.step(planned(engine, items).micro_batches, Supervised().loss, totals_of(items), 3e-2)
    versions.publish()
    return engine, kept


def planned(engine: TrainingEngine, items: Any) -> Any:
    return engine.plan(items)


def values(toy: Policy, engine: TrainingEngine) -> torch.Tensor:
    batch, _ = tensors(toy, planned(engine, programs(5)).micro_batches[0])
    with torch.no_grad():
        return token_log_probs(toy.model, batch, entropy=False).values


@pytest.mark.parametrize("family", FAMILIES)
def test_an_actor_that_merges_computes_what_the_learner_does(family: str, tmp_path: Path) -> None:
    toy = policy(family, seed=3, **LORA)
    plain = build_policy(toy.spec, seed=3, adapters=False)
    before = copy.deepcopy(plain.model.state_dict())
    engine, kept = trained(toy)
    load = AdapterLoader(plain.model, toy.spec.lora)  # type: ignore[arg-type]
    (first, buckets), newest = kept.versions
    assert first.names == tuple(name for name, _ in named_adapters(toy.model)) and first.nbytes * 3 < sum(
        value.numel() * 4 for _, value in named_weights(plain.model)
    )
    load(plain.model, first, buckets)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)  # B is zero: nothing is added yet
    load(plain.model, *newest)
    torch.testing.assert_close(values(plain, engine), values(toy, engine), rtol=0, atol=2e-6)
    assert float((values(plain, engine) - values(build_policy(toy.spec, seed=3), engine)).abs().max()) > 0.01
    load(plain.model, first, buckets)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(
            value, before[name], rtol=0, atol=0
        )  # back again, without a trace of what was merged in between

    save_model(engine, toy, tmp_path / "model")
    exported = type(plain.model).from_pretrained(tmp_path / "model")
    torch.testing.assert_close(values(replace(plain, model=exported), engine), values(toy, engine), rtol=0, atol=2e-6)
    again = policy(family, seed=3, **LORA)
    load_weights(again, tmp_path / "model")
    for (name, ours), (_, theirs) in zip(named_weights(again.model), named_weights(toy.model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, msg=name)
    from peft import PeftModel

    wrapped = PeftModel.from_pretrained(
        build_policy(toy.spec, seed=3, adapters=False).model, tmp_path / "model" / "adapter"
    )
    torch.testing.assert_close(values(replace(plain, model=wrapped), engine), values(toy, engine), rtol=0, atol=2e-6)
    engine.close()


@pytest.mark.parametrize("stage", [2, 3])
def test_every_stage_trains_and_publishes_the_same_adapters(stage: int, tmp_path: Path) -> None:
    engine, plain = trained(policy(**LORA))
    engine.close()
    staged = policy(**LORA)
    engine, kept = trained(staged, zero_stage=stage)
    assert kept.versions[1][0].names == plain.versions[1][0].names
    for ours, theirs in zip(kept.versions[1][1], plain.versions[1][1], strict=True):
        torch.testing.assert_close(
            torch.from_numpy(ours.view("float32")), torch.from_numpy(theirs.view("float32")), rtol=0, atol=1e-5
        )
    save_model(engine, staged, tmp_path / "model")
    engine.close()
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {"config.json", "adapter"}


def test_only_adapters_are_trained() -> None:
    toy = policy(**LORA)
    before = {name: value.clone() for name, value in named_weights(toy.model)}
    engine, _ = trained(toy)
    engine.close()
    changed = {name for name, value in named_weights(toy.model) if not bool((value == before[name]).all())}
    assert changed == {name for name in before if ".lora_" in name}


def test_layers_that_cannot_have_adapters_are_refused() -> None:
    for targets, sentence in (
        (("no_such_layer",), "no_such_layer"),
        (("embed_tokens",), "only linear layers"),
        (("lm_head",), "shares its weight"),
    ):
        with pytest.raises(UserError, match=sentence):
            policy(**LORA, lora_targets=targets)
    assert len(list(named_adapters(policy(**LORA, lora_targets=("q_proj", "gate_proj")).model))) == 4


def test_versions_that_do_not_fit_change_nothing() -> None:
    toy = policy(**LORA)
    engine, kept = trained(toy)
    engine.close()
    plain = build_policy(toy.spec, adapters=False)
    before = copy.deepcopy(plain.model.state_dict())
    load = AdapterLoader(plain.model, toy.spec.lora)  # type: ignore[arg-type]
    manifest, buckets = kept.versions[1]
    with pytest.raises(ChecksumError):
        load(plain.model, manifest, [bucket[::-1].copy() for bucket in buckets])
    wider = build_policy(policy(d_model=64, **LORA).spec, adapters=False)
    with pytest.raises(ManifestMismatch, match="the model's"):
        AdapterLoader(wider.model, toy.spec.lora)(wider.model, manifest, buckets)  # type: ignore[arg-type]
    with pytest.raises(ManifestMismatch, match="no layer"):
        other = build_policy(policy("t5", **LORA).spec, adapters=False)
        AdapterLoader(other.model, toy.spec.lora)(other.model, manifest, buckets)  # type: ignore[arg-type]
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_reuse_needs_adapters(tmp_path: Path) -> None:
    whole = policy()
    with engine_of(whole) as engine:
        save_model(engine, whole, tmp_path / "model")
    with pytest.raises(UserError, match="it has no adapters, which policy.lora_rank asks for"):
        load_weights(policy(**LORA), tmp_path / "model")


def test_a_whole_run_with_adapters(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    run = Run(
        redis_server,
        tmp_path,
        policy=LORA
        | {
            "lora_rank": 32,
            "lora_targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        },
        warm_start={"steps": 10},
        learner={"steps": 2, "learning_rate": 1e-2, "warm_start_threads": 1, "mixed_precision": "never"},
        evaluation={"every": 0, "tasks": 1},
        checkpoint={"export_every": 1, "export_keep": 1},
        grpo={"kl": 0.1},
    )
    with run.others():
        run.learner.run(threading.Event())
    rows = run.rows()
    run.flow.close()
    assert len(rows) == 2
    # Actors sample with what the learner trains: the probabilities of a fresh version's samples agree.
    assert rows[0]["version"] == 0 and rows[0]["kl_to_sampler"] < 1e-6 and rows[0]["kl_to_reference"] < 1e-6
    written = [path.stat().st_size for path in (tmp_path / "checkpoints" / "step_000002").iterdir()]
    adapters = build_policy(run.spec).trained_parameters
    assert 0.9 * checkpoint_bytes(adapters) < sum(written) <= checkpoint_bytes(adapters) < 6e5
    on_the_way, last = step_exports(tmp_path), tmp_path / "export"
    assert [*on_the_way] == [2] and (last / "adapter" / "adapter_config.json").is_file()
    for name in ("model.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert (on_the_way[2] / name).read_bytes() == (last / name).read_bytes(), name
