"""Value and gradient of every surrogate and guard in float32, however far two policies are apart, against the formulas
token by token.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from rltf.config import GrpoConfig, Guards, PpoClipConfig, RltfConfig
from rltf.learner.objectives.base import LossInputs, Totals
from rltf.learner.objectives.grpo import Grpo
from rltf.learner.objectives.mixed import Mixed
from rltf.learner.objectives.ppo_clip import PpoClip
from rltf.learner.objectives.surrogates import clipped, divergence_from, linear

APART = [
    -1e30,
    -300.0,
    -104.0,
    -88.0,
    -3.0,
    -0.25,
    -1e-4,
    0.0,
    1e-6,
    0.1,
    0.25,
    2.0,
    88.5,
    88.9,
    104.0,
    300.0,
    709.0,
    1000.0,
    1e30,
]
"""log p - log p_sampler."""
ADVANTAGES = [-2.0, -1e-3, 0.0, 1e-3, 1.0]
LARGEST = float(torch.finfo(torch.float32).max)
ONE = torch.ones(1, 1, dtype=torch.bool)


def exponential(number: float) -> float:
    return math.exp(number) if number < 709.7 else math.inf


def tokens(apart: float) -> tuple[torch.Tensor, float]:
    """log p with gradient, and log p_sampler, so that their difference is `apart` exactly in float32."""
    log_p, sampler = (min(apart, 0.0), min(-apart, 0.0)) if apart else (-1.0, -1.0)
    log_p, sampler = float(torch.tensor(log_p)), float(torch.tensor(sampler))
    return torch.tensor([[log_p]], requires_grad=True), sampler


def check(loss: torch.Tensor, log_probs: torch.Tensor, value: float, slope: float) -> None:
    loss.backward()
    assert log_probs.grad is not None
    for found, expected in ((float(loss.detach()), value), (float(log_probs.grad), slope)):
        if abs(expected) < LARGEST:
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
        else:  # no number of float32: the step is given up with the program's name
            assert not -LARGEST < found < LARGEST and found * expected > 0


def clipped_part(ratio: float, advantage: float, low: float, high: float, cap: float | None) -> tuple[float, float]:
    """min(r A, clip(r) A) and its derivative by log r."""
    if advantage == 0:
        return 0.0, 0.0
    capped = ratio if cap is None else min(ratio, cap)
    within = min(max(capped, 1 - low), 1 + high)
    if within * advantage < capped * advantage:
        return within * advantage, 0.0
    return capped * advantage, 0.0 if capped < ratio else ratio * advantage


@pytest.mark.parametrize("cap", [None, 0.5, 2.0, 1e9])
def test_clipped(cap: float | None) -> None:
    for apart, advantage in itertools.product(APART, ADVANTAGES):
        log_probs, sampler = tokens(apart)
        signal = LossInputs(torch.tensor([[[advantage]]]), torch.tensor([[sampler]]))
        result = clipped(["policy"], log_probs, ONE, signal, 4.0, Guards(importance_cap=cap), 0.2, 0.28)
        advantage = float(torch.tensor(advantage))
        value, slope = clipped_part(exponential(log_probs.item() - sampler), advantage, 0.2, 0.28, cap)
        check(result.loss, log_probs, -value / 4, -slope / 4)
        share = float(result.sums["loss/policy"])
        assert (
            share == pytest.approx(-value / 4, rel=1e-6, abs=1e-12)
            or not math.isfinite(value)
            and share == result.loss.item()
        )


@pytest.mark.parametrize("cap", [None, 0.5, 2.0, 1e9])
def test_linear(cap: float | None) -> None:
    for apart, weight in itertools.product(APART, ADVANTAGES):
        log_probs, sampler = tokens(apart)
        log_p = log_probs.item()
        signal = LossInputs(torch.tensor([[[weight]]]), torch.tensor([[sampler]]))
        result = linear(["policy"], log_probs, ONE, signal, 4.0, Guards(importance_cap=cap))
        factor = float(torch.tensor(weight)) * (1.0 if cap is None else min(cap, exponential(log_p - sampler)))
        check(result.loss, log_probs, -factor * log_p / 4, -factor / 4)


@pytest.mark.parametrize("weight", [1e-4, 1.0])
def test_divergences(weight: float) -> None:
    for apart in APART:
        log_probs, other = tokens(apart)
        signal = LossInputs(torch.zeros(1, 1, 1), torch.tensor([[other]]), torch.tensor([[other]]))
        away = log_probs.item() - other
        value = (math.expm1(-away) if -away < 709.7 else math.inf) + away
        result = linear(["policy"], log_probs, ONE, signal, 4.0, Guards(kl=weight))
        check(
            result.loss,
            log_probs,
            weight * value / 4,
            (-math.expm1(-away) if -away < 709.7 else -math.inf) * weight / 4,
        )
        backwards = (math.expm1(away) if away < 709.7 else math.inf) - away
        assert float(divergence_from(log_probs.detach(), ONE, signal)) == pytest.approx(backwards, rel=1e-6, abs=1e-15)


def test_a_token_far_off_changes_nothing_of_the_others_and_padding_nothing_at_all() -> None:
    """Log-probabilities of a padded position may be anything; so may those of a token whose gradient the clip makes
    zero.
    """
    mask = torch.tensor([[True, True, True], [True, False, False]])
    behaviour = torch.tensor([[-1.0, -200.0, -1.0], [-0.5, -1e30, 0.0]])
    weights = torch.tensor([[[1.0, 1.0, -1.0], [-2.0, 0.0, 0.0]]])
    near = torch.tensor([[-0.9, -0.1, -1.2], [-0.6, 0.0, 0.0]])
    for objective, is_still in (
        (Grpo(GrpoConfig(kl=0.1), RltfConfig(), False, 8), False),  # the divergence pulls
        (PpoClip(PpoClipConfig(importance_cap=3.0), RltfConfig(), False, 8), True),
        (Mixed(Grpo(GrpoConfig(), RltfConfig(), False, 8), _NoCorpus(), 1.0, "token_mean", 8), True),
    ):
        found = []
        for padded in (0.0, -1e30):
            log_probs = near.masked_fill(~mask, padded).requires_grad_()
            several = torch.cat([weights, torch.zeros_like(weights)]) if isinstance(objective, Mixed) else weights
            result = objective.loss(log_probs, mask, LossInputs(several, behaviour, near * 0.5), Totals(2, 4))
            result.loss.backward()
            assert log_probs.grad is not None and torch.isfinite(result.loss) and torch.isfinite(log_probs.grad).all()
            assert not log_probs.grad[~mask].any()
            assert log_probs.grad[0, 0] != 0 and bool(log_probs.grad[0, 1] == 0) == is_still
            found.append((float(result.loss.detach()), log_probs.grad[mask].tolist()))
        assert found[0] == found[1]


class _NoCorpus:
    def next(self) -> tuple[list, Totals]:
        return [], Totals(0, 0)
