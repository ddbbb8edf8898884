"""Log-probabilities of program tokens given their prompts, for both families; what the learner differentiates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rltf.policy.policy import Policy
from rltf.policy.prefix_tree import PrefixTree, build_trees
from rltf.policy.tree_attention import NAME

_SLICE_ELEMENTS = 1 << 22
"""Most logits that are in float32 at the same time."""


@dataclass(frozen=True)
class Batch:
    """A micro-batch of B programs; T is the longest one's number of tokens, N the number of all their tokens.

    The model's rows are trees in which programs share their beginnings (`policy.prefix_tree`), padded on the right;
    without sharing each row is one program. Decoder-only: a row is a prompt and what follows it. Encoder-decoder:
    prompts are the encoder's rows, the trees the decoder's.
    """

    inputs: dict[str, Any]
    """Keyword arguments of the model's forward."""
    targets: Tensor
    """(B, T) program token ids, padding where `mask` is false."""
    mask: Tensor
    """(B, T) true at program tokens."""
    predictors: Tensor
    """(n,) positions whose logits are needed, in the model's rows flattened; n <= N where programs share beginnings."""
    sources: Tensor
    """(N,) for each program token, program by program, the index in `predictors` of the position that predicts it."""


@dataclass(frozen=True)
class LogProbs:
    """Results of `token_log_probs`, all (B, T)."""

    values: Tensor
    """log p(token | prompt, earlier tokens), differentiable, in the model's number format but at least float32; 0
    outside `mask`."""
    entropy: Tensor
    """Entropy in nats of the distribution that each token was drawn from, without gradient; 0 outside `mask`."""
    mask: Tensor


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One row of the model: a prompt and a tree of programs for it."""

    prompt: Sequence[int]
    """Encoder-decoder: what the encoder reads. Decoder-only: the root path of the tree, part of it."""
    tree: PrefixTree

    encoder_tokens: int
    """Length of the prompt where a stack of its own reads it, else 0."""

    @property
    def tokens(self) -> int:
        """Positions that the row computes."""
        return self.tree.size + self.encoder_tokens


def rows_of(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    programs: Sequence[Sequence[int]],
    max_tokens: int,
    share: bool = False,
) -> list[tuple[list[int], PackedRow]]:
    """Rows with the numbers of the programs they hold: with `share` programs of one prompt as trees of at most
    `max_tokens` positions.

    Raises ValueError when they differ in number or one is empty.
    """
    if len(prompts) != len(programs) or not prompts or not all(map(len, prompts)) or not all(map(len, programs)):
        raise ValueError(
            f"need as many prompts as programs, none empty: {len(prompts)} prompts, {len(programs)} programs"
        )
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt), []).append(number)
    rows = []
    for prompt, numbers in groups.items():
        before = (policy.decoder_start_id,) if policy.is_encoder_decoder else prompt
        sequences = [(*before, *programs[number][:-1]) for number in numbers]
        apart = len(prompt) if policy.is_encoder_decoder else 0
        for members, tree in build_trees(sequences, max_tokens - apart, share):
            rows.append(([numbers[member] for member in members], PackedRow(prompt, tree, apart)))
    return rows


def collate_rows(
    policy: Policy,
    rows: Sequence[tuple[Sequence[int], PackedRow]],
    programs: Sequence[Sequence[int]],
    device: torch.device | str = "cpu",
    mask_dtype: torch.dtype = torch.float32,
) -> Batch:
    """The batch of `programs`, numbered as in `rows`; `mask_dtype` is the number format of attention scores.

    Raises ValueError when rows are shared but the model counts positions by itself.
    """
    targets, mask = pad(list(map(list, programs)), policy.pad_id)
    trees = [row.tree for _, row in rows]
    ids, _ = pad([tree.tokens.tolist() for tree in trees], policy.pad_id)
    width = ids.shape[1]
    shared = any(len(tree.paths) > 1 for tree in trees)
    if shared and policy.is_encoder_decoder and policy.model.config._attn_implementation != NAME:
        raise ValueError(
            "rows of an encoder-decoder can be shared only after policy.tree_attention.patch_attention(model, device)"
        )
    depths, _ = pad([tree.depths.tolist() for tree in trees], 0)
    places: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)] * len(programs)
    for index, (members, row) in enumerate(rows):
        for number, path in zip(members, row.tree.paths, strict=True):
            places[number] = index * width + path[len(path) - len(programs[number]) :]
    predictors, sources = np.unique(np.concatenate(places), return_inverse=True)
    inputs: dict[str, Any]
    # Rows without sharing need no mask: what follows a token, padding included, is not attended to.
    tree_inputs = {"position_ids": depths, "attention_mask": _tree_mask(trees, width, mask_dtype)} if shared else {}
    if policy.is_encoder_decoder:
        prompt_ids, prompt_mask = pad([list(row.prompt) for _, row in rows], policy.pad_id)
        inputs = {"input_ids": prompt_ids, "attention_mask": prompt_mask.long(), "decoder_input_ids": ids}
        if shared:
            inputs |= {"decoder_attention_mask": tree_inputs["attention_mask"], "tree_depths": depths}
    else:
        inputs = {"input_ids": ids, **tree_inputs}
    inputs = {name: value.to(device) for name, value in inputs.items()}
    return Batch(
        inputs=inputs | {"use_cache": False},
        targets=targets.to(device),
        mask=mask.to(device),
        predictors=torch.from_numpy(predictors).to(device),
        sources=torch.from_numpy(sources).to(device),
    )


def token_log_probs(model: Any, batch: Batch, entropy: bool = True) -> LogProbs:
    """One forward pass of `model` (the module itself, or a DeepSpeed engine around it).

    Only positions that predict a program token go through the language-model head, so prompts and padding cost no
    vocabulary-sized row. With `entropy` false the entropies are zeros.
    """
    logits = predicted_logits(model, batch)
    found, entropies = _Chosen.apply(logits, batch.sources, batch.targets[batch.mask], entropy)
    values = torch.zeros(batch.mask.shape, dtype=found.dtype, device=found.device)
    return LogProbs(
        values=values.masked_scatter(batch.mask, found),
        entropy=values.masked_scatter(batch.mask, entropies),
        mask=batch.mask,
    )


def predicted_logits(model: Any, batch: Batch) -> Tensor:
    """(n, V) outputs of the model's head at `batch.predictors` alone."""

    def needed(head: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = arguments[0]
        return (hidden.flatten(0, 1).index_select(0, batch.predictors).unsqueeze(0),)

    hook = model.get_output_embeddings().register_forward_pre_hook(needed)
    try:
        logits: Tensor = model(**batch.inputs).logits
    finally:
        hook.remove()
    return logits.squeeze(0)


class _Chosen(torch.autograd.Function):
    """Log-probabilities (N,) of chosen tokens and entropies (N,) from logits (n, V), a slice at a time in float32.

    No float32 copy of all logits lives in either direction: the backward pass computes the softmax of a slice again.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, sources: Tensor, targets: Tensor, entropy: bool) -> tuple[Tensor, Tensor]:
        norms, entropies = [], []
        with torch.autocast(logits.device.type, enabled=False):
            for part in logits.split(_slice(logits)):
                numbers = _wide(part)
                top = numbers.amax(dim=-1, keepdim=True)
                parts = (numbers - top).exp_()
                size = parts.sum(dim=-1)
                norms.append(top.squeeze(1) + size.log())
                if entropy:  # H = log Z - sum p x
                    entropies.append(norms[-1] - parts.mul_(numbers).sum(dim=-1) / size)
            norm = torch.cat(norms)
            chosen = _wide(logits[sources, targets]) - norm[sources]
            spread = torch.cat(entropies)[sources] if entropy else torch.zeros_like(chosen)
        ctx.save_for_backward(logits, sources, targets, norm)
        ctx.mark_non_differentiable(spread)
        return chosen, spread

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        logits, sources, targets, norm = ctx.saved_tensors
        order = sources.argsort()
        sources, targets, gradient = sources[order], targets[order], gradient[order]
        total = torch.zeros_like(norm).index_add_(0, sources, gradient)
        result = torch.empty_like(logits)
        rows = _slice(logits)
        starts = list(range(0, logits.shape[0], rows))
        bounds = torch.searchsorted(sources, torch.tensor([*starts, logits.shape[0]], device=sources.device)).tolist()
        for start, first, last in zip(starts, bounds, bounds[1:], strict=False):
            part = slice(start, start + rows)
            numbers = torch.sub(logits[part], norm[part, None]).exp_().mul_(-total[part, None])
            numbers.index_put_(
                (sources[first:last] - start, targets[first:last]), gradient[first:last], accumulate=True
            )
            result[part] = numbers
        return result, None, None, None


def _wide(numbers: Tensor) -> Tensor:
    """In at least float32."""
    return numbers.float() if numbers.itemsize < 4 else numbers


def _slice(logits: Tensor) -> int:
    """Rows of logits that are handled together."""
    return max(1, _SLICE_ELEMENTS // logits.shape[-1])


def _tree_mask(trees: Sequence[PrefixTree], width: int, dtype: torch.dtype) -> Tensor:
    """(B, 1, width, width) what is added to attention scores: 0 at a node's ancestors and itself.

    Padding attends to itself alone.
    """
    allowed = np.broadcast_to(np.eye(width, dtype=np.bool_), (len(trees), width, width)).copy()
    for index, tree in enumerate(trees):
        allowed[index, : tree.size, : tree.size] = tree.attends()
    mask = torch.full((len(trees), 1, width, width), torch.finfo(dtype).min, dtype=dtype)
    return mask.masked_fill_(torch.from_numpy(allowed)[:, None], 0.0)


def position_ids(attention_mask: Tensor) -> Tensor:
    """(B, L) positions that count attended tokens from 0; padding has position 0."""
    return (attention_mask.long().cumsum(dim=1) - 1).clamp_(min=0)


def pad(rows: list[list[int]], pad_id: int, left: bool = False) -> tuple[Tensor, Tensor]:
    """(N, longest) ids padded on one side, and the mask that is true at ids."""
    longest = max(len(row) for row in rows)
    if left:
        ids = [[pad_id] * (longest - len(row)) + row for row in rows]
        lengths = torch.tensor([longest - len(row) for row in rows])
        return torch.tensor(ids), torch.arange(longest)[None, :] >= lengths[:, None]
    ids = [row + [pad_id] * (longest - len(row)) for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    return torch.tensor(ids), torch.arange(longest)[None, :] < lengths[:, None]
