"""The interface of an objective: it turns groups into per-token weights, and weights and log-probabilities
into a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from rltf.buffer.records import Group, LearnerFate, Outcome, Program
from rltf.config import Config

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainItem:
    """One program to train on."""

    id: str
    """The program's id; for corpus programs a running name."""
    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    """T program tokens, at least one."""
    weights: Weights
    """(K, T): weight of each token's log-probability in each of the objective's K terms."""
    behaviour_log_probs: Sequence[float] | None = None
    """T log-probabilities under the policy that sampled the program; none for corpus programs."""
    reference_log_probs: Sequence[float] | None = None
    """T log-probabilities under the reference policy (`learner.reference`); none where there is no reference."""

    outcome: Outcome | None = None
    """What the unit tests said; none for corpus programs."""

    @property
    def tokens(self) -> int:
        """Length of prompt and program."""
        return len(self.prompt_ids) + len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a step's loss is divided by: counted over all programs of the step, on all ranks, zero weights included."""

    sequences: int
    tokens: int
    """Program tokens."""


@dataclass(frozen=True, slots=True)
class PreparedStep:
    """A step's work, the same on every rank."""

    items: list[TrainItem]
    """Programs to forward, a signal in each."""
    totals: Totals
    fates: dict[str, LearnerFate]
    """Of every program drawn, by id."""
    rewards: list[float]
    """Of every sampled program, for the metrics."""
    row: dict[str, Any] = field(default_factory=dict)
    """More for the metrics row; JSON-able."""


@dataclass(frozen=True, slots=True)
class LossInputs:
    """A micro-batch's weights, padded to (.., B, T) with zeros."""

    weights: torch.Tensor
    """(K, B, T) float32."""
    behaviour_log_probs: torch.Tensor | None = None
    """(B, T) float32."""
    reference_log_probs: torch.Tensor | None = None
    """(B, T) float32."""

    def row(self, index: int) -> LossInputs:
        """The signal of one program, B = 1."""
        part = slice(index, index + 1)
        behaviour, reference = self.behaviour_log_probs, self.reference_log_probs
        return LossInputs(
            self.weights[:, part],
            behaviour[part] if behaviour is not None else None,
            reference[part] if reference is not None else None,
        )


@dataclass(frozen=True, slots=True)
class LossResult:
    """Loss of one micro-batch: a part of the step's loss, so that the parts of all micro-batches and ranks add up to
    it.
    """

    loss: torch.Tensor
    """Scalar with gradient."""
    sums: dict[str, torch.Tensor]
    """Scalars without gradient, additive over micro-batches and ranks. Those named ``loss/TERM`` are shares of the
    loss, and ``per_token/NAME`` are sums over tokens, reported as means."""


class Objective(Protocol):
    """A reinforcement objective."""

    @property
    def name(self) -> str:
        """As in `learner.objective`."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the K terms."""

    def prepare(self, groups: Sequence[Group]) -> PreparedStep:
        """Turns the groups of one step into items. Deterministic: every rank calls it with the same groups."""

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """`log_probs` (B, T) with gradient and `mask` (B, T), true where a program token is."""

    def state_dict(self) -> dict[str, Any]:
        """What has to survive a restart; JSON-able."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the state does not fit; that of a run without an objective is empty, and changes
        nothing.
        """


class ObjectiveKind(Protocol):
    """The class of an objective that can be chosen by name (`learner.objectives.OBJECTIVES`)."""

    def from_config(self, config: Config, encoder_decoder: bool) -> Objective:
        """The objective that a configuration describes, for a policy that is an encoder-decoder or not."""


Loss = Callable[[torch.Tensor, torch.Tensor, LossInputs, Totals], LossResult]
"""An objective's `loss`."""


@torch.no_grad()
def not_finite(
    loss: Loss, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals
) -> list[int]:
    """The rows of a micro-batch whose loss, computed alone, is not a finite number."""
    rows = range(mask.shape[0])
    parts = [
        loss(log_probs[index : index + 1], mask[index : index + 1], inputs.row(index), totals).loss for index in rows
    ]
    return [index for index, part in zip(rows, parts, strict=True) if not bool(torch.isfinite(part))]


def prepared(groups: Sequence[Group], weights: Sequence[Weights], rewards: list[float], kl: float) -> PreparedStep:
    """The step of sampled programs with such weights: those without any are not forwarded, unless a divergence (`kl`)
    is counted over all. Greedy programs are compared with, not trained on.
    """
    fates: dict[str, LearnerFate] = {
        group.greedy.program.id: "baseline" for group in groups if group.greedy is not None
    }
    samples = [sample for group in groups for sample in group.samples]
    items: list[TrainItem] = []
    for sample, own in zip(samples, weights, strict=True):
        program = sample.program
        used = bool(own.any()) or (kl > 0 and len(program.token_ids) > 0)
        fates[program.id] = "trained" if used else "no_signal"
        if used:
            ids = program.prompt_ids, program.token_ids
            items.append(TrainItem(program.id, *ids, own, program.log_probs, outcome=sample.feedback.outcome))
    without = sum(not own.any() for own in weights)
    row = {"zero_advantage_share": without / max(1, len(samples))}
    return PreparedStep(items, totals_of([sample.program for sample in samples]), fates, rewards, row)


def totals_of(programs: Sequence[Program] | Sequence[TrainItem]) -> Totals:
    """Totals over the programs of a step."""
    return Totals(len(programs), sum(len(program.token_ids) for program in programs))
