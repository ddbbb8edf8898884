"""The objective of RLTF (arXiv 2307.04349, Eq. 6-10): REINFORCE on coarse, fine-grained and adaptive feedback.

    L_total = L_sl + L_coarse + L_fine + L_adaptive                                                     (6)
    L_coarse   = -(R_coarse(W) - R_coarse(W_baseline)) sum_t log p(w_t)                                 (8)
    L_fine     = -alpha R_fine(W) sum_{S <= t < E} log p(w_t),  alpha = T / (E - S)                     (9)
    L_adaptive = -(R_adaptive(W) - R_adaptive(W_baseline)) sum_t log p(w_t)                            (10)

L_sl (Eq. 7) is trained in steps of its own (`learner.objectives.supervised`), alternating with these as `learner.supervised_ratio` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from buffer.records import Group, LearnerFate, Sample
from config import RltfConfig
from learner.baselines import Baseline, Baselines
from learner.objectives.base import LossResult, Prepared, Signal, Totals, TrainItem, Weights, greedy_fates, totals_of, weighted_loss
from learner.rewards import Fine, adaptive_reward, coarse_reward, fine_feedback


class Rltf:
    """The paper's objective, sections 3.3 and 3.4. What it leaves open is decided in `learner.rewards`, `spans` and `baselines`."""

    name = "rltf"
    terms = ("coarse", "fine", "adaptive")

    def __init__(self, config: RltfConfig) -> None:
        self._config = config
        self._baselines = Baselines(config.baseline)

    def prepare(self, groups: Sequence[Group]) -> Prepared:
        """Weights of every sampled program; those whose weights are all zero are not forwarded."""
        items: list[TrainItem] = []
        fates: dict[str, LearnerFate] = greedy_fates(groups)
        baselines: dict[str, list[float]] = {}
        kinds: Counter[str] = Counter()
        for group in groups:
            baseline = self._baselines.of(group)
            baselines[group.id] = list(baseline)
            for sample in group.samples:
                program = sample.program
                verdict = fine_feedback(program, sample.feedback, self._config.fine_reward)
                weights = self.weights(sample, baseline, verdict)
                kinds["no_error" if verdict is None else verdict.error_class if verdict.span else "no_line"] += 1
                fates[program.id] = "trained" if weights.any() else "no_signal"
                if weights.any():
                    items.append(TrainItem(program.id, program.prompt_ids, program.token_ids, weights))
            self._baselines.update(group)
        samples = [sample for group in groups for sample in group.samples]
        rewards = [coarse_reward(sample.feedback) for sample in samples]
        row = {"baselines": baselines, "fine": dict(kinds)}
        return Prepared(items, totals_of([sample.program for sample in samples]), fates, rewards, row)

    def weights(self, sample: Sample, baseline: Baseline, fine: Fine | None) -> Weights:
        """(3, T): the factor of log p(w_t) in -L_coarse, -L_fine and -L_adaptive."""
        feedback = sample.feedback
        length = len(sample.program.token_ids)
        weights = np.zeros((3, length), np.float32)
        if self._config.coarse:
            weights[0] = coarse_reward(feedback) - baseline.coarse
        if self._config.fine and fine is not None and fine.span is not None:
            start, end = fine.span
            weights[1, start:end] = fine.reward * length / (end - start)
        if self._config.adaptive and feedback.outcome == "failure":
            weights[2] = adaptive_reward(feedback) - baseline.adaptive
        return weights

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, signal: Signal, totals: Totals) -> LossResult:
        """Eq. 8 + 9 + 10 of one micro-batch."""
        return weighted_loss(self.terms, log_probs, signal, totals, self._config.normalise)

    def state_dict(self) -> dict[str, Any]:
        """The baselines."""
        return {"baselines": self._baselines.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the baselines are of another kind."""
        self._baselines.load_state_dict(state["baselines"])
