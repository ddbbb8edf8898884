"""Drawing the next token of each row from its logits."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 256


def choose(
    logits: Tensor, uniforms: Tensor, temperature: float, top_p: float, greedy: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Next tokens (n,) and their log-probabilities (n,) under the policy itself, temperature and nucleus not applied.

    `logits` (n, V); `uniforms` (n,) float64 in [0, 1), one per row, so that a row's draw does not depend on which other
    rows are still there; rows where `greedy` (n,) is true take the most probable token. The nucleus is the smallest set
    of most probable tokens whose probabilities, at this temperature, add up to `top_p` (Holtzman et al., arXiv
    1904.09751).
    """
    logits = logits.float()
    plain = torch.softmax(logits, dim=-1)
    tempered = plain if temperature == 1.0 else torch.softmax(logits / temperature, dim=-1)
    if top_p < 1.0:
        tokens = _draw_nucleus(tempered, uniforms, top_p)
    else:
        tokens = draw(tempered, uniforms)
    if greedy is not None:
        tokens = torch.where(greedy, logits.argmax(dim=-1), tokens)
    if temperature > 1.0:  # may draw what has no probability in single precision at temperature 1
        return tokens, torch.log_softmax(logits, dim=-1).gather(1, tokens[:, None])[:, 0]
    return tokens, plain.gather(1, tokens[:, None])[:, 0].log()


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


def _draw_nucleus(probabilities: Tensor, uniforms: Tensor, top_p: float) -> Tensor:
    ordered, indices = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
    return indices.gather(1, draw(ordered.masked_fill(before >= top_p, 0.0), uniforms)[:, None])[:, 0]
