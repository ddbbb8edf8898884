"""Drawing the next token of each row from its logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rltf.config import ActorsConfig, EvaluatedConfig

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What is done to the policy's distribution before a token is drawn: penalty, temperature, top-k, top-p and min-p,
    in this order, each upon what those before it left, as `transformers` does.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    """The smallest set of most probable tokens whose probabilities add up to this (arXiv 1904.09751)."""
    top_k: int = 0
    """The k most probable tokens; 0: all."""
    min_p: float = 0.0
    """Tokens that are at least min_p times as probable as the most probable one (arXiv 2407.01082)."""
    repetition_penalty: float = 1.0
    """Logits of tokens that the prompt or the program has so far are divided by it, negative ones multiplied (CTRL,
    arXiv 1909.05858)."""

    @property
    def truncates(self) -> bool:
        """Whether some tokens cannot be drawn."""
        return self.top_p < 1.0 or self.top_k > 0 or self.min_p > 0.0

    @property
    def is_plain(self) -> bool:
        """Whether tokens are drawn from the policy's own distribution."""
        return not self.truncates and self.temperature == 1.0 and self.repetition_penalty == 1.0


PLAIN = SamplingParams()
"""The policy's own distribution."""


def sampling_params(settings: ActorsConfig | EvaluatedConfig) -> SamplingParams:
    """What is configured for training, or for evaluations of a held-out set; of greedy ones the temperature says
    nothing and is 1.
    """
    s = settings
    return SamplingParams(s.temperature or 1.0, s.top_p, s.top_k, s.min_p, s.repetition_penalty)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Next tokens of n rows."""

    tokens: Tensor
    """(n,)"""
    log_probs: Tensor
    """(n,): under the policy itself, nothing of SamplingParams applied."""
    sampled_log_probs: Tensor
    """(n,): under the distribution that it was drawn from; 0 where it was the most probable token's turn."""


_PER_COUNT = 4
"""Numbers that the generator draws for each step of its counter."""


def uniforms_of(seed: int, first: int, samples: int, length: int) -> Tensor:
    """(length, samples) float64 in [0, 1): a column for each sample from number `first` on, which depends on the seed,
    the number and `length` alone.

    The generator counts (Philox, Salmon et al., 2011), so no number before the first has to be drawn.
    """
    counts = -(-length // _PER_COUNT)
    stream = np.random.Generator(np.random.Philox(key=seed).advance(first * counts))
    return torch.from_numpy(stream.random((samples, counts * _PER_COUNT))[:, :length].T)


def choose(
    logits: Tensor, uniforms: Tensor, how: SamplingParams, greedy: Tensor | None, seen: Tensor | None = None
) -> Chosen:
    """Draws one token for each row.

    `logits` (n, V); `uniforms` (n,) float64 in [0, 1), one per row, so that a row's draw does not depend on which other
    rows are still there; rows where `greedy` (n,) is true take the most probable token. `seen` (n, V) marks the tokens
    that a repetition penalty, which greedy rows have too, is for.
    """
    logits = logits.float()
    plain = torch.softmax(logits, dim=-1)
    penalised = logits if seen is None else _penalise(logits, seen, how.repetition_penalty)
    weights = plain
    if penalised is not logits or how.temperature != 1.0:
        weights = torch.softmax(penalised / how.temperature, dim=-1)
    if how.truncates:
        weights = _truncate(weights, how)
    tokens = draw(weights, uniforms)
    if greedy is not None:
        tokens = torch.where(greedy, penalised.argmax(dim=-1), tokens)
    if weights is plain:
        log_probs = plain.gather(1, tokens[:, None])[:, 0].log()
        return Chosen(tokens, log_probs, log_probs)
    # A token may be drawn that has no probability in single precision at temperature 1.
    log_probs = torch.log_softmax(logits, dim=-1).gather(1, tokens[:, None])[:, 0]
    sampled = (weights.gather(1, tokens[:, None])[:, 0] / weights.sum(dim=-1)).log()
    return Chosen(tokens, log_probs, sampled if greedy is None else sampled.masked_fill(greedy, 0.0))


def _penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def _truncate(weights: Tensor, how: SamplingParams) -> Tensor:
    """`weights` (n, V), those that cannot be drawn set to zero; the rest does not add up to 1."""
    if how.top_k > 0 or how.top_p < 1.0:
        ordered, indices = weights.sort(dim=-1, descending=True)
        if how.top_k > 0:
            ordered[:, how.top_k :] = 0.0
        before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
        if how.top_p < 1.0:
            total = before[:, -1:] + ordered[:, -1:] if how.top_k > 0 else 1.0
            ordered.masked_fill_(before >= how.top_p * total, 0.0)
        weights = torch.zeros_like(weights).scatter_(1, indices, ordered)
    if how.min_p > 0.0:
        weights = weights.masked_fill(weights < how.min_p * weights.amax(dim=-1, keepdim=True), 0.0)
    return weights


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Index drawn in proportion to `weights` (n, V) by inverting the cumulative sum, in double precision, at `uniforms`
    (n,).

    Much faster on a CPU than torch.multinomial, which draws one random number per entry. Entries of weight zero are
    never drawn.
    """
    n, size = weights.shape
    if size <= 16 * _BLOCK:
        return _invert(weights, uniforms)
    # A large vocabulary: first a block of it, then a token of the block, so that one pass over the weights is enough.
    padded = torch.nn.functional.pad(weights, (0, -size % _BLOCK)).view(n, -1, _BLOCK)
    sums = padded.sum(dim=-1, dtype=torch.float64)
    cumulated = sums.cumsum(dim=-1)
    targets = uniforms * cumulated[:, -1]
    block = torch.searchsorted(cumulated, targets[:, None], right=True)[:, 0]
    index = torch.arange(n, device=weights.device)
    rest = (targets - cumulated[index, block] + sums[index, block]) / sums[index, block]
    return block * _BLOCK + _invert(padded[index, block], rest.clamp_(0.0, 1.0 - 2**-53))


def _invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    cumulated = weights.cumsum(dim=-1, dtype=torch.float64)
    targets = uniforms * cumulated[:, -1]
    return torch.searchsorted(cumulated, targets[:, None], right=True)[:, 0]
