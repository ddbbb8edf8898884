"""The critic of CodeRL (arXiv 2207.01780, Eq.

10): a classifier of outcomes whose probability of the true one weighs each token's reward.

    q_t = softmax(h_t)[u],  h_t = W_2 relu(W_1 s_t),   L_critic = -log softmax(max_t h_t)[u]

s_t is the model's state that predicts token t, u the program's outcome. The released code of RLTF multiplies its
rewards by q_t. A critic is trained beforehand on the samples of a run and frozen afterwards.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rltf.buffer.records import Outcome, Sample
from rltf.config import PolicyConfig, UserError, first_line, saving
from rltf.learner.batching import Plan, plan, tensors
from rltf.learner.objectives.base import TrainItem
from rltf.policy.checksums import has_checksums, refuse_damaged, write_checksums
from rltf.policy.log_probs import predicted_logits
from rltf.policy.policy import Policy, build_policy, make_spec

OUTCOME_CLASSES: tuple[Outcome, ...] = ("compile_error", "runtime_error", "failure", "pass")
"""The classes, in the order of the head's outputs."""
HIDDEN = 128
FILE = "critic.safetensors"
FACTS = "critic.json"


class Critic:
    """A language model of whatever shape whose head is a classifier of outcomes."""

    def __init__(self, policy: Policy, max_tokens: int, device: torch.device | str = "cpu") -> None:
        """Takes `policy` over and gives it a fresh head; `max_tokens` is the size of a micro-batch."""
        self.policy = policy
        self._max_tokens = max_tokens
        self._device = device
        width = policy.model.get_output_embeddings().weight.shape[1]
        head = torch.nn.Sequential(
            torch.nn.Linear(width, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, len(OUTCOME_CLASSES))
        )
        policy.model.set_output_embeddings(head)
        policy.model.to(device)

    def logits(self, items: Sequence[TrainItem]) -> list[Tensor]:
        """(T_i, 4) of each item, h_t of every token, in float32."""
        found: dict[str, Tensor] = {}
        for micro_batch in plan(self.policy, items, self._max_tokens).micro_batches:
            batch, _ = tensors(self.policy, micro_batch, self._device)
            rows = predicted_logits(self.policy.model, batch)[batch.sources].float()
            for item, part in zip(
                micro_batch.items, rows.split([len(item.token_ids) for item in micro_batch.items]), strict=True
            ):
                found[item.id] = part
        return [found[item.id] for item in items]

    def loss(self, items: Sequence[TrainItem]) -> Tensor:
        """L_critic, averaged over the items, which all have outcomes."""
        pooled = torch.stack([rows.amax(dim=0) for rows in self.logits(items)])
        return torch.nn.functional.cross_entropy(pooled, self._classes(items))

    @torch.no_grad()
    def accuracy(self, items: Sequence[TrainItem]) -> float:
        """Share of items whose most probable outcome is the true one."""
        pooled = torch.stack([rows.amax(dim=0) for rows in self.logits(items)])
        return float((pooled.argmax(dim=1) == self._classes(items)).float().mean())

    @torch.no_grad()
    def weigh(self, mine: Plan, terms: Sequence[bool]) -> Plan:
        """The same plan with the weights of the `terms` that are true multiplied by q_t, of the items that have an
        outcome.
        """
        items = {item.id: item for batch in mine.micro_batches for item in batch.items if item.outcome is not None}
        if not items:
            return mine
        factors: dict[str, np.ndarray] = {}
        for item, rows in zip(items.values(), self.logits(list(items.values())), strict=True):
            assert item.outcome is not None
            factors[item.id] = rows.softmax(dim=1)[:, OUTCOME_CLASSES.index(item.outcome)].cpu().numpy()
        rows_of = np.array([[weighted] for weighted in terms])

        def weighed(item: TrainItem) -> TrainItem:
            if item.outcome is None:
                return item
            weights = item.weights.copy()
            weights[: len(terms)] *= np.where(rows_of, factors[item.id], np.float32(1.0)).astype(np.float32)
            return replace(item, weights=weights)

        return replace(
            mine, micro_batches=[replace(batch, items=list(map(weighed, batch.items))) for batch in mine.micro_batches]
        )

    def save(self, folder: Path, facts: dict[str, Any]) -> None:
        """Writes shape, tokenizer, weights and `facts`, with their checksums (policy.checksums).

        Raises config.DiskFailure.
        """
        with saving(folder):
            self._write(folder, facts)

    def _write(self, folder: Path, facts: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.policy.model.config.save_pretrained(folder)
        self.policy.tokenizer.save_pretrained(folder)
        save_file({name: value.contiguous() for name, value in self.policy.model.named_parameters()}, folder / FILE)
        (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
        write_checksums(folder)

    def _classes(self, items: Sequence[TrainItem]) -> Tensor:
        return torch.tensor(
            [OUTCOME_CLASSES.index(item.outcome) for item in items if item.outcome is not None], device=self._device
        )


def check_critic(folder: Path, policy: Policy) -> Policy:
    """The critic's shape, without its weights.

    Raises UserError when there is none or a damaged one, or it reads other tokens than `policy` writes.
    """
    if not has_checksums(folder) and not (folder / FILE).is_file():
        raise UserError(
            f"rltf.critic {folder}: there is no critic in this folder (no {FILE}); the command train-critic makes one"
        )
    refuse_damaged(folder, "rltf.critic")
    spec = policy.spec
    lengths = {"max_prompt_tokens": spec.max_prompt_tokens, "max_program_tokens": spec.max_program_tokens}
    own = build_policy(make_spec(PolicyConfig.model_validate({"model": str(folder)} | lengths), []), weights=False)
    if own.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise UserError(f"rltf.critic {folder}: its tokenizer is not the policy's")
    return own


@torch.no_grad()
def load_critic(folder: Path, policy: Policy, max_tokens: int, device: torch.device | str = "cpu") -> Critic:
    """A critic that `Critic.save` wrote, frozen.

    Raises UserError as `check_critic`, and when its weights are another shape's.
    """
    own = check_critic(folder, policy)
    critic = Critic(own, max_tokens, device)
    try:
        found, targets = load_file(folder / FILE), dict(own.model.named_parameters())
    except (OSError, SafetensorError) as error:
        raise UserError(f"rltf.critic {folder / FILE} cannot be read: {first_line(error)}") from error
    odd = sorted(set(found) ^ set(targets))
    if odd:
        raise UserError(
            f"rltf.critic {folder}: {len(odd)} weights are not those of the critic's shape, the first is {odd[0]}"
        )
    for name, target in targets.items():
        target.requires_grad_(False).copy_(found[name])
    return critic


def default_device() -> str:
    """The GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def items_of(samples: Sequence[Sample]) -> list[TrainItem]:
    """What a critic learns from: programs of at least one token, with their outcomes."""
    return [
        TrainItem(
            sample.program.id,
            sample.program.prompt_ids,
            sample.program.token_ids,
            np.zeros((1, len(sample.program.token_ids)), np.float32),
            outcome=sample.feedback.outcome,
        )
        for sample in samples
        if sample.program.token_ids
    ]


@dataclass(frozen=True, slots=True)
class CriticReport:
    """What the training of a critic came to."""

    programs: int
    steps: int
    loss: float
    """Mean over the last tenth of the steps, in nats."""
    accuracy: float
    """On programs that were not trained on."""
    majority: float
    """Share of these programs that have the commonest outcome: what a critic that knows nothing gets."""


def train_critic(
    critic: Critic,
    items: Sequence[TrainItem],
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    advance: Callable[[int], None] = lambda number: None,
) -> CriticReport:
    """Trains on nine tenths of `items`, drawn at random, and tries the rest. Raises UserError when there are too few.

    `advance` is called with the number of steps that were taken since its last call.
    """
    if len(items) < 20:
        raise UserError(f"a critic needs at least 20 programs with feedback to learn from, there are {len(items)}")
    rng = random.Random(f"{seed}:critic")
    shuffled = rng.sample(list(items), len(items))
    held_out, trained = shuffled[: len(items) // 10], shuffled[len(items) // 10 :]
    optimizer = torch.optim.AdamW(critic.policy.model.parameters(), lr=learning_rate)
    losses = []
    for _ in range(steps):
        loss = critic.loss(rng.sample(trained, min(batch_size, len(trained))))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(critic.policy.model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        advance(1)
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the critic's loss of step {len(losses)} is not finite")
    recent = losses[-max(1, steps // 10) :]
    commonest = max(sum(item.outcome == outcome for item in held_out) for outcome in OUTCOME_CLASSES)
    return CriticReport(
        len(items), steps, sum(recent) / len(recent), critic.accuracy(held_out), commonest / len(held_out)
    )
