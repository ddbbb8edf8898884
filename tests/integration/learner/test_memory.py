"""Gradient checkpointing changes memory and time, and no number; dropout stays off in it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from rltf.config import UserError
from rltf.learner.objectives.base import totals_of
from rltf.learner.objectives.supervised import Supervised
from rltf.policy.policy import checkpoint_layers
from tests.support.learner_engines import engine_of, programs
from tests.support.learner_parts import policy


def count(calls: Iterator[int], *_: Any) -> None:
    next(calls)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "codegen", "t5"])
def test_checkpointed_layers_train_alike(family: str) -> None:
    found, products = [], []
    for on in (False, True):
        toy = policy(family, layers=2)
        calls = itertools.count()
        for module in toy.model.modules():
            if isinstance(module, torch.nn.Linear | Conv1D):
                module.register_forward_hook(functools.partial(count, calls))
        with engine_of(toy, gradient_checkpointing=on) as engine:
            items = programs(0)
            results = [
                engine.step(engine.plan(items).micro_batches, Supervised().loss, totals_of(items), 1e-2)
                for _ in range(2)
            ]
            found.append([value for result in results for value in (result.loss, result.gradient_norm)])
        products.append(next(calls))
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert products[1] > 1.5 * products[0], "layers are computed again in the backward pass"


def test_no_layer_drops_out_in_training_mode() -> None:
    toy = policy("gpt2")
    toy.model.transformer.drop.p = 0.5
    checkpoint_layers(toy)
    assert toy.model.training and all(
        module.p == 0 for module in toy.model.modules() if isinstance(module, torch.nn.Dropout)
    )


def test_a_model_that_cannot_is_refused() -> None:
    toy = policy("gpt2")
    toy.model.supports_gradient_checkpointing = False
    with pytest.raises(UserError, match="GPT2LMHeadModel cannot do it"):
        checkpoint_layers(toy)
