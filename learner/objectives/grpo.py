"""Group-relative policy optimisation (arXiv 2402.03300): the advantage of a program over its group, clipped importance ratios.

    A_i = (r_i - mean(r)) / (sd(r) + 1e-4),  ratio_t = p(w_t) / p_sampler(w_t)
    L   = -1/N sum_i sum_t min(ratio_t A_i, clip(ratio_t, 1 - low, 1 + high) A_i)

over the N program tokens of the step, with separate bounds below and above (arXiv 2503.14476) and no KL term.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from buffer.records import Feedback, Group, LearnerFate
from config import GrpoConfig
from learner.objectives.base import LossResult, Prepared, Signal, Totals, TrainItem, greedy_fates, totals_of
from learner.rewards import binary_reward, pass_ratio


def advantages(rewards: Sequence[float]) -> list[float]:
    """(r - mean) / (sd + 1e-4) with the sample standard deviation (n - 1); zeros where all rewards are equal or there is but one."""
    if len(set(rewards)) < 2:
        return [0.0] * len(rewards)
    mean, deviation = float(np.mean(rewards)), float(np.std(rewards, ddof=1))
    return [(reward - mean) / (deviation + 1e-4) for reward in rewards]


class Grpo:
    """Group-normalised advantage with a ratio clip; a group whose programs earned the same teaches nothing and is not forwarded."""

    name = "grpo"
    terms = ("policy",)

    def __init__(self, config: GrpoConfig) -> None:
        self._config = config

    def prepare(self, groups: Sequence[Group]) -> Prepared:
        """Programs with an advantage, with the log-probabilities that they were sampled with."""
        items: list[TrainItem] = []
        fates: dict[str, LearnerFate] = greedy_fates(groups)
        rewards: list[float] = []
        for group in groups:
            earned = [self._reward(sample.feedback) for sample in group.samples]
            rewards += earned
            for sample, advantage in zip(group.samples, advantages(earned), strict=True):
                program = sample.program
                signal = advantage != 0.0 and len(program.token_ids) > 0
                fates[program.id] = "trained" if signal else "no_signal"
                if signal:
                    weights = np.full((1, len(program.token_ids)), advantage, np.float32)
                    items.append(TrainItem(program.id, program.prompt_ids, program.token_ids, weights, program.log_probs))
        return Prepared(items, totals_of([sample.program for group in groups for sample in group.samples]), fates, rewards)

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, signal: Signal, totals: Totals) -> LossResult:
        """The clipped surrogate of one micro-batch, divided by the step's program tokens."""
        if signal.behaviour_log_probs is None:
            raise ValueError("grpo needs the log-probabilities that the programs were sampled with")
        advantage = signal.weights[0]
        # Zero where there is no token: a padded position must add neither to the loss nor, as an infinity times zero, to the gradient.
        log_ratio = torch.where(mask, log_probs - signal.behaviour_log_probs, 0.0)
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - self._config.clip_low, 1.0 + self._config.clip_high)
        surrogate = torch.minimum(ratio * advantage, clipped * advantage)
        loss = -surrogate.sum() / max(1, totals.tokens)
        with torch.no_grad():
            bound = (surrogate < ratio * advantage) & mask
            # k3 of http://joschu.net/blog/kl-approx.html, of the sampling policy from the trained one.
            divergence = torch.where(mask, ratio - 1.0 - log_ratio, 0.0).sum()
            sums = {"loss/policy": loss.detach(), "per_token/clip_share": bound.sum().float(), "per_token/kl_to_sampler": divergence}
        return LossResult(loss, sums)

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept between steps."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when there is state: it belongs to another objective."""
        if state:
            raise ValueError(f"grpo keeps no state, found {sorted(state)}")

    def _reward(self, feedback: Feedback) -> float:
        return binary_reward(feedback) if self._config.reward == "binary" else pass_ratio(feedback)
