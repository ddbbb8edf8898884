"""DeepSpeed engines on small policies, and what several tests train with them, in one process or in several."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rltf.learner.batching import plan, tensors
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.engine import TrainingEngine
from rltf.learner.objectives.base import LossInputs, LossResult, Totals, TrainItem, totals_of
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.world import World
from rltf.policy.log_probs import token_log_probs
from rltf.policy.policy import Policy
from tests.support.learner_parts import learner_config, policy

STEPS = 5


@contextmanager
def engine_of(toy: Policy, **fields: Any) -> Iterator[TrainingEngine]:
    engine = TrainingEngine(toy, learner_config(**fields), World())
    try:
        yield engine
    finally:
        engine.close()


def programs(seed: int, number: int = 13) -> list[TrainItem]:
    rng = random.Random(seed)
    lengths = [(rng.randint(2, 20), rng.randint(1, 30)) for _ in range(number)]
    pairs = [([rng.randrange(4, 260) for _ in range(p)], [rng.randrange(4, 260) for _ in range(t)]) for p, t in lengths]
    items = Supervised().items(pairs, "c")
    return [
        TrainItem(item.id, item.prompt_ids, item.token_ids, item.weights * rng.uniform(-0.2, 1.0)) for item in items
    ]


def train(engine: TrainingEngine, steps: int = STEPS) -> list[tuple[float, float]]:
    """Loss and gradient norm of each step.

    (Adam's steps, and clipped gradients, would look the same at any scale of the gradient.)
    """
    found = []
    for step in range(steps):
        items = programs(step)
        mine = engine.plan(items)
        result = engine.step(mine.micro_batches, Supervised().loss, totals_of(items), 1e-3)
        found.append((result.loss, result.gradient_norm))
        assert set(result.seconds) == {"collate", "forward", "backward", "step"} and min(result.seconds.values()) > 0
        assert (
            result.tokens == totals_of(items).tokens
            and result.gradient_norm > 0
            and 0 < result.entropy < math.log(270) + 1e-3
        )
    return found


@functools.cache
def plainly() -> list[tuple[float, float]]:
    """The same training in plain torch, all programs of a step in one batch."""
    toy = policy()
    optimizer = torch.optim.AdamW(toy.model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    history = []
    for step in range(STEPS):
        items = programs(step)
        batch, signal = tensors(toy, plan(toy, items, 10_000).micro_batches[0])
        found = token_log_probs(toy.model, batch)
        loss = Supervised().loss(found.values, found.mask, signal, totals_of(items)).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(toy.model.parameters(), 1.0)
        optimizer.step()
        history.append((float(loss.detach()), float(norm)))
    return history


def no_gradient(log_probs: torch.Tensor, mask: torch.Tensor, signal: LossInputs, totals: Totals) -> LossResult:
    """A loss of zero whose gradient is no number."""
    return LossResult((log_probs - log_probs.detach()).abs().sqrt().sum(), {})


def poisoned(engine: TrainingEngine) -> str:
    """What ends a step in which one program's loss is infinite, its gradient a number; asserts that no weight has
    changed.
    """
    items = programs(0)

    def loss(log_probs: torch.Tensor, mask: torch.Tensor, signal: LossInputs, totals: Totals) -> LossResult:
        result = Supervised().loss(log_probs, mask, signal, totals)
        return LossResult(result.loss + (math.inf if bool((signal.weights == 77.0).any()) else 0.0), result.sums)

    items[4] = replace(items[4], id="poison", weights=np.full_like(items[4].weights, 77.0))
    before = {(kind, name): value.clone() for kind, name, value in engine.state().tensors()}
    with pytest.raises(FloatingPointError) as caught:
        engine.step(engine.plan(items).micro_batches, loss, totals_of(items), 1e-3)
    for kind, name, value in engine.state().tensors():
        torch.testing.assert_close(value, before[kind, name], rtol=0, atol=0)
    return str(caught.value)


def steep(engine: TrainingEngine) -> str:
    """What ends a step in which every loss is a number and the gradient is not."""
    items = programs(0)
    with pytest.raises(FloatingPointError) as caught:
        engine.step(engine.plan(items).micro_batches, no_gradient, totals_of(items), 1e-3)
    return str(caught.value)


def steps(engine: TrainingEngine, first: int, last: int) -> None:
    for step in range(first, last):
        items = programs(step)
        mine = engine.plan(items)
        engine.step(mine.micro_batches, Supervised().loss, totals_of(items), 1e-3)


def weights(engine: TrainingEngine) -> dict[tuple[str, str], torch.Tensor]:
    return {(kind, name): value.clone() for kind, name, value in engine.state().tensors()}


def same_again(engine: TrainingEngine, checkpoints: CheckpointWriter) -> None:
    """Two steps on, and two on from the newest checkpoint, by new engines at the same world size and stage, differ in
    no bit.
    """
    world, stage = engine.world, engine._zero
    found = []
    for resumes in (False, True):
        if resumes:
            saved = checkpoints.newest()
            assert saved is not None
            ours = policy(seed=7)
            saved.load_model(ours)
            engine = TrainingEngine(ours, learner_config(zero_stage=stage), world)
            engine.reset_optimizer((0.9, 0.95), 0.0)
            saved.load_optimizer(engine.state())
        steps(engine, 20, 22)
        found.append(weights(engine))
        engine.close()
    assert found[0].keys() == found[1].keys() and len(found[0]) > 20
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), key
