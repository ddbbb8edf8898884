"""Log-probabilities of program tokens given their prompts, for both families; what the learner differentiates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from policy.policy import Policy

_ENTROPY_ELEMENTS = 1 << 24  # most numbers of a temporary softmax


@dataclass(frozen=True)
class Batch:
    """A micro-batch of B programs; T is the longest one's number of tokens.

    Decoder-only: `inputs` has `input_ids` (B, P + T - 1), prompts padded on the left so that every program begins in column P
    and the last T positions predict its tokens. Encoder-decoder: prompts padded on the right, `decoder_input_ids` (B, T).
    """

    inputs: dict[str, Any]
    """Keyword arguments of the model's forward."""
    targets: Tensor
    """(B, T) program token ids, padding where `mask` is false."""
    mask: Tensor
    """(B, T) true at program tokens."""


@dataclass(frozen=True)
class LogProbs:
    """Results of `token_log_probs`, all (B, T)."""

    values: Tensor
    """log p(token | prompt, earlier tokens), float32, differentiable; 0 outside `mask`."""
    entropy: Tensor
    """Entropy in nats of the distribution that each token was drawn from, without gradient; 0 outside `mask`."""
    mask: Tensor


def collate(policy: Policy, prompts: list[list[int]], programs: list[list[int]], device: torch.device | str = "cpu") -> Batch:
    """Pads prompts and programs of token ids into one batch. Raises ValueError when they differ in number or one is empty."""
    if len(prompts) != len(programs) or not prompts or not all(prompts) or not all(programs):
        raise ValueError(f"need as many prompts as programs, none empty: {len(prompts)} prompts, {len(programs)} programs")
    targets, mask = pad(programs, policy.pad_id, left=False)
    prompt_ids, prompt_mask = pad(prompts, policy.pad_id, left=not policy.is_encoder_decoder)
    inputs: dict[str, Any]
    if policy.is_encoder_decoder:
        start = torch.full((len(programs), 1), policy.decoder_start_id, dtype=torch.long)
        inputs = {
            "input_ids": prompt_ids,
            "attention_mask": prompt_mask.long(),
            "decoder_input_ids": torch.cat([start, targets[:, :-1]], dim=1),
        }
    else:
        attention = torch.cat([prompt_mask, mask[:, :-1]], dim=1).long()
        inputs = {
            "input_ids": torch.cat([prompt_ids, targets[:, :-1]], dim=1),
            "attention_mask": attention,
            # Models with absolute positions would count the padding on the left.
            "position_ids": position_ids(attention),
            "logits_to_keep": targets.shape[1],
        }
    inputs = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
    return Batch(inputs=inputs | {"use_cache": False}, targets=targets.to(device), mask=mask.to(device))


def token_log_probs(model: Any, batch: Batch, entropy: bool = True) -> LogProbs:
    """One forward pass of `model` (the module itself, or a DeepSpeed engine around it).

    Only program positions go through the language-model head, so prompts cost no vocabulary-sized tensor. With `entropy`
    false the entropies are zeros.
    """
    logits = model(**batch.inputs).logits
    size, length = batch.targets.shape
    flat = logits.reshape(size * length, -1).float()
    values = -F.cross_entropy(flat, batch.targets.reshape(-1), reduction="none").view(size, length)
    values = values.masked_fill(~batch.mask, 0.0)
    entropies = torch.zeros_like(values, requires_grad=False)
    if entropy:
        entropies = _entropy(flat.detach()).view(size, length).masked_fill(~batch.mask, 0.0)
    return LogProbs(values=values, entropy=entropies, mask=batch.mask)


def position_ids(attention_mask: Tensor) -> Tensor:
    """(B, L) positions that count attended tokens from 0; padding has position 0."""
    return (attention_mask.long().cumsum(dim=1) - 1).clamp_(min=0)


def pad(rows: list[list[int]], pad_id: int, left: bool) -> tuple[Tensor, Tensor]:
    """(N, longest) ids padded on one side, and the mask that is true at ids."""
    longest = max(len(row) for row in rows)
    if left:
        ids = [[pad_id] * (longest - len(row)) + row for row in rows]
        lengths = torch.tensor([longest - len(row) for row in rows])
        return torch.tensor(ids), torch.arange(longest)[None, :] >= lengths[:, None]
    ids = [row + [pad_id] * (longest - len(row)) for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    return torch.tensor(ids), torch.arange(longest)[None, :] < lengths[:, None]


@torch.no_grad()
def _entropy(logits: Tensor) -> Tensor:
    """(N,) entropies of (N, V) logits, a slice at a time so that no second full-size tensor lives."""
    rows = max(1, _ENTROPY_ELEMENTS // logits.shape[-1])
    parts = []
    for part in logits.split(rows):
        log_p = F.log_softmax(part, dim=-1)
        parts.append(-(log_p.exp() * log_p).sum(dim=-1))
    return torch.cat(parts)
