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

    Decoder-only: `inputs` has `input_ids` (B, L), prompt and program together padded on the left to the longest of these sums, so that
    a long prompt and a long program cost nothing beside each other unless they belong together; the last T positions then hold all
    that predict program tokens. Encoder-decoder: prompts padded on the right, `decoder_input_ids` (B, T).
    """

    inputs: dict[str, Any]
    """Keyword arguments of the model's forward."""
    targets: Tensor
    """(B, T) program token ids, padding where `mask` is false."""
    mask: Tensor
    """(B, T) true at program tokens."""
    predictors: Tensor
    """(number of program tokens,) index of each token's logits in the (B, T) that the model returns, both flattened."""


@dataclass(frozen=True)
class LogProbs:
    """Results of `token_log_probs`, all (B, T)."""

    values: Tensor
    """log p(token | prompt, earlier tokens), differentiable, in the model's number format but at least float32; 0 outside `mask`."""
    entropy: Tensor
    """Entropy in nats of the distribution that each token was drawn from, without gradient; 0 outside `mask`."""
    mask: Tensor


def collate(policy: Policy, prompts: list[list[int]], programs: list[list[int]], device: torch.device | str = "cpu") -> Batch:
    """Pads prompts and programs of token ids into one batch. Raises ValueError when they differ in number or one is empty."""
    if len(prompts) != len(programs) or not prompts or not all(prompts) or not all(programs):
        raise ValueError(f"need as many prompts as programs, none empty: {len(prompts)} prompts, {len(programs)} programs")
    targets, mask = pad(programs, policy.pad_id, left=False)
    inputs: dict[str, Any]
    size, length = targets.shape
    if policy.is_encoder_decoder:
        prompt_ids, prompt_mask = pad(prompts, policy.pad_id, left=False)
        start = torch.full((size, 1), policy.decoder_start_id, dtype=torch.long)
        inputs = {
            "input_ids": prompt_ids,
            "attention_mask": prompt_mask.long(),
            "decoder_input_ids": torch.cat([start, targets[:, :-1]], dim=1),
        }
        predictors = mask
    else:
        rows = [prompt + program[:-1] for prompt, program in zip(prompts, programs, strict=True)]
        input_ids, attention = pad(rows, policy.pad_id, left=True)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention.long(),
            # Models with absolute positions would count the padding on the left.
            "position_ids": position_ids(attention),
            "logits_to_keep": length,
        }
        predictors = mask.flip(1)
    inputs = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
    return Batch(
        inputs=inputs | {"use_cache": False},
        targets=targets.to(device),
        mask=mask.to(device),
        predictors=predictors.flatten().nonzero().squeeze(1).to(device),
    )


def token_log_probs(model: Any, batch: Batch, entropy: bool = True) -> LogProbs:
    """One forward pass of `model` (the module itself, or a DeepSpeed engine around it).

    Only program positions go through the language-model head, so prompts cost no vocabulary-sized tensor. With `entropy`
    false the entropies are zeros.
    """
    logits = model(**batch.inputs).logits
    # Padding, and with it most of a batch of unlike programs, costs no vocabulary-sized row from here on.
    flat = logits.reshape(batch.mask.numel(), -1).index_select(0, batch.predictors)
    flat = flat.float() if flat.itemsize < 4 else flat
    found = -F.cross_entropy(flat, batch.targets[batch.mask], reduction="none")
    values = torch.zeros(batch.mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(batch.mask, found)
    entropies = torch.zeros_like(values, requires_grad=False)
    if entropy:
        entropies = entropies.masked_scatter(batch.mask, _entropy(flat.detach()))
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
