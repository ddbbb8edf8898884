"""The DeepSpeed engine: one gradient whatever the micro-batch, ZeRO stage or number of workers; health; schedules."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rltf.learner.batching import plan, split_by_rank
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.objectives.base import Totals, TrainItem, totals_of
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.schedule import cosine, linear
from rltf.policy.log_probs import rows_of, token_log_probs
from rltf.weights.packing import named_weights, pack, pack_tensors
from tests.support.batches import collate
from tests.support.learner_engines import STEPS, engine_of, no_gradient, plainly, programs, train
from tests.support.learner_parts import policy

SETTINGS = [
    (0, "none", 10_000), (0, "none", 30), (0, "none", 120), (1, "none", 120), (2, "none", 120), (3, "none", 120),
    (1, "optimizer", 120), (2, "optimizer", 120), (3, "optimizer", 120), (3, "parameters", 120),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "offload", "tokens"), SETTINGS)
def test_every_stage_and_micro_batch_size_trains_alike(stage: int, offload: str, tokens: int) -> None:
    with engine_of(policy(), zero_stage=stage, offload=offload, micro_batch_tokens=tokens) as engine:
        engine.reset_optimizer((0.9, 0.95), 0.0)
        np.testing.assert_allclose(train(engine), plainly(), atol=1e-4)
        assert engine.state().steps() == STEPS
        published = {name: value.clone() for name, value in engine.gathered_weights(named_weights(engine.policy.model))}
        for kind, name, value in engine.state().tensors():
            if kind == "weight":
                torch.testing.assert_close(published[name], value)


def test_bfloat16_trains() -> None:
    for stage in (0, 2):
        with engine_of(policy(), zero_stage=stage, dtype="bfloat16", micro_batch_tokens=120) as engine:
            np.testing.assert_allclose(train(engine), plainly(), atol=0.1)


def test_begin_forgets_the_running_averages() -> None:
    with engine_of(policy(), zero_stage=1) as engine:
        train(engine)
        weights, after = copy.deepcopy(engine.policy.model.state_dict()), []
        for _ in range(2):
            engine.reset_optimizer((0.9, 0.95), 0.0)
            items = programs(77)
            engine.step(engine.plan(items).micro_batches, Supervised().loss, totals_of(items), 1e-3)
            after.append({name: value.clone() for name, value in engine.policy.model.state_dict().items()})
            with torch.no_grad():  # back to where the first began, in the optimizer's own copy too
                for name, parameter in engine.policy.model.named_parameters():
                    parameter.copy_(weights[name])
            engine._engine.optimizer.refresh_fp32_params()
        for name, value in after[0].items():
            torch.testing.assert_close(value, after[1][name], rtol=0, atol=1e-6)


def test_published_weights_are_whole_under_zero_3() -> None:
    expected, total = pack(policy().model, 0), policy().parameters
    with engine_of(policy(), zero_stage=3) as engine:
        for bucket_bytes in (1, 20_000, 1 << 30):
            whole = []
            for name, tensor in engine.gathered_weights(named_weights(engine.policy.model), bucket_bytes):
                assert tensor.shape == dict(zip(expected[0].names, expected[0].shapes, strict=True))[name]
                gathered = [parameter for parameter in engine.policy.model.parameters() if parameter.numel()]
                whole.append(sum(parameter.numel() for parameter in gathered))
            largest = max(parameter.ds_numel for parameter in engine.policy.model.parameters())
            assert max(whole) <= max(bucket_bytes / 4, largest) and (bucket_bytes < 1 << 30 or min(whole) == total)
        manifest, buckets = pack_tensors(engine.gathered_weights(named_weights(engine.policy.model)), 0)
    assert manifest == expected[0]
    for ours, theirs in zip(buckets, expected[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("stage", [0, 1])
def test_a_step_that_is_not_finite_names_its_programs(stage: int) -> None:
    toy = policy()
    before = copy.deepcopy(toy.model.state_dict())
    items = programs(0, 3)
    items[1] = TrainItem("poison", items[1].prompt_ids, items[1].token_ids, np.full_like(items[1].weights, np.nan))
    with engine_of(toy, zero_stage=stage, micro_batch_tokens=1) as engine:
        with pytest.raises(FloatingPointError, match="loss of a learner step is not finite.*poison") as caught:
            engine.step(engine.plan(items).micro_batches, Supervised().loss, totals_of(items), 1e-3)
        assert "c:0" not in str(caught.value)
    if stage == 0:
        for name, value in toy.model.state_dict().items():
            torch.testing.assert_close(value, before[name])


@pytest.mark.parametrize(
    ("stage", "dtype"), [(0, "float32"), (0, "bfloat16"), (1, "float32"), (2, "bfloat16"), (3, "float32")]
)
def test_a_gradient_that_is_not_finite_stops_the_step_with_the_weights_as_they_were(stage: int, dtype: str) -> None:
    items = programs(0, 3)
    with engine_of(policy(), zero_stage=stage, dtype=dtype) as engine:
        engine.step(engine.plan(items).micro_batches, Supervised().loss, totals_of(items), 1e-3)
        before = {(kind, name): value.clone() for kind, name, value in engine.state().tensors()}
        with pytest.raises(FloatingPointError, match="gradient of a learner step is not finite.*c:0"):
            engine.step(engine.plan(items).micro_batches, no_gradient, totals_of(items), 1e-3)
        for kind, name, value in engine.state().tensors():
            torch.testing.assert_close(value, before[kind, name], rtol=0, atol=0)


def test_float16_scales_the_loss_and_skips_what_overflows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator

    monkeypatch.setattr(
        CPU_Accelerator, "is_fp16_supported", lambda self: True
    )  # slow on this CPU, and as exact as elsewhere
    items = programs(0)
    with engine_of(policy(), zero_stage=1, dtype="float16", micro_batch_tokens=120) as engine:
        engine.reset_optimizer((0.9, 0.95), 0.0)
        mine, totals = engine.plan(items).micro_batches, totals_of(items)
        results = [engine.step(mine, Supervised().loss, totals, 1e-3) for _ in range(6)]
        assert results[-1].loss < results[0].loss - 0.01 and not results[-1].skipped and results[-1].gradient_norm > 0
        while not results[-1].skipped:
            before = {(kind, name): value.clone() for kind, name, value in engine.state().tensors()}
            scale = 2 * engine.state().loss_scale()["cur_scale"]
            engine.state().load_loss_scale({"cur_scale": scale})
            results.append(engine.step(mine, Supervised().loss, totals, 1e-3))
        for kind, name, value in engine.state().tensors():
            torch.testing.assert_close(value, before[kind, name], rtol=0, atol=0)
        CheckpointWriter(tmp_path, 1, False).save(5, engine.state(), {})
        kept = engine.state().loss_scale()
    saved = Checkpoints(tmp_path).newest()
    assert saved is not None
    with engine_of(policy(), zero_stage=1, dtype="float16") as engine:
        engine.reset_optimizer((0.9, 0.95), 0.0)
        assert engine.state().loss_scale() != kept
        saved.load_optimizer(engine.state())
        assert engine.state().loss_scale() == kept


def test_the_divergence_from_the_previous_version_counts_its_programs_alone() -> None:
    toy = policy()
    items = [
        replace(item, behaviour_log_probs=[-5.0 - 0.1 * n for n in range(len(item.token_ids))]) for item in programs(0)
    ]
    expected, tokens = 0.0, 0
    for item in (items[2], items[9]):
        batch = collate(toy, [item.prompt_ids], [item.token_ids])
        for now, then in zip(
            token_log_probs(toy.model, batch).values[0].tolist(), item.behaviour_log_probs or [], strict=True
        ):
            expected, tokens = expected + math.exp(now - then) - 1 - (now - then), tokens + 1
    with engine_of(toy, micro_batch_tokens=60) as engine:
        micro_batches, totals = engine.plan(items).micro_batches, totals_of(items)
        assert len(micro_batches) > 2
        result = engine.step(micro_batches, Supervised().loss, totals, 0.0, previous={items[2].id, items[9].id})
        assert result.kl_to_previous == pytest.approx(expected / tokens, rel=1e-5)
        assert engine.step(micro_batches, Supervised().loss, totals, 0.0).kl_to_previous is None


def test_mixed_precision_is_close_and_keeps_float32_weights() -> None:
    toy = policy()
    with engine_of(toy, mixed_precision="auto", micro_batch_tokens=120) as engine:
        np.testing.assert_allclose(train(engine), plainly(), atol=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in toy.model.parameters())


@pytest.mark.parametrize("family", ["qwen2", "gpt2", "codegen", "t5"])
def test_every_family_trains_in_mixed_precision(family: str) -> None:
    losses = []
    with engine_of(policy(family), mixed_precision="auto", micro_batch_tokens=120) as engine:
        items = programs(0)
        for _ in range(8):
            losses.append(engine.step(engine.plan(items).micro_batches, Supervised().loss, totals_of(items), 3e-3).loss)
    assert losses[-1] < losses[0] - 0.2


def test_ranks_get_equal_shares_and_equally_many_micro_batches() -> None:
    toy, items = policy(), programs(3, 41)
    rows = rows_of(toy, [item.prompt_ids for item in items], [item.token_ids for item in items], 1000)
    shares = split_by_rank(rows, 3)
    assert sorted(number for share in shares for numbers, _ in share for number in numbers) == list(range(41))
    tokens = [sum(row.tokens for _, row in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(row.tokens for _, row in rows)
    plans = [plan(toy, items[:4], 1, rank, 3) for rank in range(3)]
    assert {len(found.micro_batches) for found in plans} == {2}
    idle = [batch for found in plans for batch in found.micro_batches if batch.empty]
    assert len(idle) == 2 and not any(item.weights.any() for batch in idle for item in batch.items)
    assert plan(toy, [], 4).micro_batches == []


def test_micro_batches_hold_rows_of_like_length_within_the_budget() -> None:
    toy, items = policy(), programs(4, 64)
    mine = plan(toy, items, 200)
    sizes = [[row.tokens for _, row in batch.rows] for batch in mine.micro_batches]
    assert [size for batch in sizes for size in batch] == sorted((item.tokens - 1 for item in items), reverse=True)
    assert all(len(batch) * batch[0] <= 200 for batch in sizes) and len(sizes) < 64
    assert mine.padded_tokens == sum(len(batch) * batch[0] for batch in sizes) and mine.padding_share < 0.15
    assert mine.tokens == mine.row_tokens == sum(item.tokens - 1 for item in items) and mine.shared_share == 0.0


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_programs_of_one_prompt_share_a_row_and_train_like_alone(family: str) -> None:
    items = [replace(item, prompt_ids=[7, 8, 9][: 2 + index % 2]) for index, item in enumerate(programs(5, 12))]
    items += [replace(item, id=item.id + "again") for item in items[:5]]
    results = []
    for share in (True, False):
        with engine_of(policy(family), micro_batch_tokens=150) as engine:
            engine._share = share
            mine = engine.plan(items)
            assert (mine.shared_share > 0.25) == share and sum(len(batch.items) for batch in mine.micro_batches) == len(
                items
            )
            results.append(
                [engine.step(mine.micro_batches, Supervised().loss, totals_of(items), 1e-3) for _ in range(3)]
            )
    for ours, theirs in zip(*results, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-5) and ours.gradient_norm == pytest.approx(
            theirs.gradient_norm, rel=1e-4
        )
        assert ours.entropy == pytest.approx(theirs.entropy, abs=1e-5) and ours.tokens == theirs.tokens


@pytest.mark.parametrize("schedule", [linear, cosine])
def test_schedules_begin_above_zero_and_end_at_their_share(schedule: Any) -> None:
    rate = schedule(2.0, 50, 10, 0.1)
    values = [rate(step) for step in range(50)]
    assert (
        values[0] == pytest.approx(0.2)
        and values[9] == values[10] == pytest.approx(2.0)
        and values[49] == pytest.approx(0.2)
    )
    assert all(later <= earlier + 1e-12 for earlier, later in zip(values[10:], values[11:], strict=False))
    assert schedule(1.0, 1, 0, 1.0)(0) == 1.0 and linear(1.0, 100, 10, 1.0)(99) == 1.0


def test_totals_count_all_programs_of_the_step() -> None:
    items = programs(0, 5)
    assert totals_of(items) == Totals(5, sum(len(item.token_ids) for item in items))
