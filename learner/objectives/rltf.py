"""The objective of RLTF (arXiv 2307.04349, Eq. 6-10): REINFORCE on coarse, fine-grained and adaptive feedback.

    L_total = L_sl + L_coarse + L_fine + L_adaptive                                                     (6)
    L_coarse   = -(R_coarse(W) - R_coarse(W_baseline)) sum_t log p(w_t)                                 (8)
    L_fine     = -alpha R_fine(W) sum_{S <= t < E} log p(w_t),  alpha = T / (E - S)                     (9)
    L_adaptive = -(R_adaptive(W) - R_adaptive(W_baseline)) sum_t log p(w_t)                            (10)

L_sl (Eq. 7) is `learner.objectives.supervised`, mixed in as `learner.supervised_ratio` and `learner.supervised_mixing`
say. Where the released code departs from the paper there is a switch in the `rltf` section of the configuration;
docs/objectives.md has the table. The critic's factor, where it has one, is put on the weights afterwards
(`learner.critic`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from rltf.buffer.records import Group, Sample
from rltf.config import Config, CreditConfig, RltfConfig
from rltf.learner.baselines import Baselines, KeepsBaselines
from rltf.learner.credit import credited
from rltf.learner.objectives.base import LossInputs, LossResult, PreparedStep, Totals, Weights, prepared
from rltf.learner.objectives.surrogates import divisor_of, linear
from rltf.learner.rewards import REWARDS, FineFeedback, adaptive_reward, coarse_reward, fine_feedback, fine_weights


class Rltf(KeepsBaselines):
    """The paper's objective, sections 3.3 and 3.4.

    What it leaves open is decided in `learner.rewards`, `spans` and `baselines`.
    """

    name = "rltf"
    terms = ("coarse", "fine", "adaptive")

    def __init__(
        self, config: RltfConfig, encoder_decoder: bool, token_limit: int, credit: CreditConfig | None = None
    ) -> None:
        self._config = config
        self._credit = credit or CreditConfig()
        self._encoder_decoder = encoder_decoder
        self._token_limit = token_limit
        self.baselines = Baselines(config.baseline, [REWARDS["coarse"], REWARDS["adaptive"]])

    @classmethod
    def from_config(cls, config: Config, encoder_decoder: bool) -> Rltf:
        """The objective that the section `rltf` describes."""
        return cls(config.rltf, encoder_decoder, config.policy.max_program_tokens, config.credit)

    def prepare(self, groups: Sequence[Group]) -> PreparedStep:
        """Weights of every sampled program; those whose weights are all zero are not forwarded."""
        weights: list[Weights] = []
        rewards: list[float] = []
        baselines: dict[str, list[float]] = {}
        kinds: Counter[str] = Counter()
        for group in groups:
            coarse, adaptive = self.baselines.baseline_for(group)
            baselines[group.id] = [coarse, adaptive]
            for sample in group.samples:
                fine = fine_feedback(sample.program, sample.feedback, self._config, self._encoder_decoder)
                weights.append(self.weights(sample, (coarse, adaptive), fine))
                kinds["no_error" if fine is None else fine.error_class if fine.span else "no_line"] += 1
                rewards.append(coarse_reward(sample.feedback))
            self.baselines.update(group)
        step = prepared(groups, weights, rewards, self._config.kl)
        return replace(step, row={"baselines": baselines, "fine": dict(kinds)} | step.row)

    def weights(self, sample: Sample, baseline: tuple[float, float], fine: FineFeedback | None) -> Weights:
        """(3, T): the factor of log p(w_t) in -L_coarse, -L_fine and -L_adaptive.

        `baseline`: its coarse and its adaptive reward.
        """
        config, feedback, chosen = self._config, sample.feedback, credited(sample.program, self._credit)
        base_coarse, base_adaptive = baseline
        weights = np.zeros((3, len(chosen)), np.float32)
        failed = config.adaptive and feedback.outcome == "failure"
        if config.adaptive and config.adaptive_mode == "replace":
            # One reward R - R_b: that of a failure is the adaptive one, of the program as of the baseline.
            base_coarse = base_adaptive
        if config.coarse and not (failed and config.adaptive_mode == "replace"):
            weights[0] = chosen * (coarse_reward(feedback) - base_coarse)
        if config.fine:
            weights[1] = fine_weights(fine, chosen, config.alpha)
        if failed:
            weights[2] = chosen * (adaptive_reward(feedback) - base_adaptive)
        return weights

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """Eq. 8 + 9 + 10 of one micro-batch."""
        divisor = divisor_of(self._config.normalise, mask, totals, self._token_limit)
        return linear(self.terms, log_probs, mask, inputs, divisor, self._config)
