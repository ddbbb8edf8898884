"""Attention in which all samples of a prompt share one copy of the prompt's keys and values.

Decoding one token at a time is bound by reading keys and values, and n samples of a prompt would read the same ones n
times. Here the queries of a prompt's samples are gathered and meet its keys in one matrix product; only a sample's own
tokens are read per sample. It is plugged in through the attention interface of `transformers`; model classes stay as
they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rltf.policy.tree_attention import plug_in

NAME = "shared_prefix"
FAMILIES = frozenset({"llama", "qwen2", "gpt2", "t5"})
"""Model types whose attention goes through the interface and attends to all earlier tokens; others use `transformers`
caches."""


_SHORT = 12  # tokens; measured on a CPU with heads 32 wide


class RowGrid:
    """Which prompt each row belongs to. Rows are samples that are still being written, prompts are numbered 0 to G - 1.

    Queries travel between rows (n, ...) and a padded grid (G, m, ...), m being the most rows of one prompt.
    """

    def __init__(self, prompt_of_row: Tensor, prompts: int, prompt_bias: Tensor | None) -> None:
        """`prompt_of_row` (n,); `prompt_bias` (G, 1, 1, P), 0 at tokens and -inf at padding, or None without
        padding.
        """
        self.prompt_of_row = prompt_of_row
        self.prompts = prompts
        self.prompt_bias = prompt_bias
        self.width = 1
        self.row_of_slot = self.slot_of_row = prompt_of_row
        self.regular = False
        self.arrange()

    def arrange(self) -> None:
        """Lays the grid out anew after `prompt_of_row` has changed."""
        n = self.prompt_of_row.shape[0]
        counts = torch.bincount(self.prompt_of_row, minlength=self.prompts)
        self.width = int(counts.max())
        order = torch.argsort(self.prompt_of_row, stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(n, device=order.device) - (counts.cumsum(0) - counts)[self.prompt_of_row[order]]
        self.slot_of_row = self.prompt_of_row * self.width + rank
        self.row_of_slot = torch.zeros(self.prompts * self.width, dtype=torch.long, device=order.device)
        self.row_of_slot[self.slot_of_row] = torch.arange(n, device=order.device)
        # A full grid whose rows lie in order needs no gathering, only another view.
        self.regular = n == self.prompts * self.width and bool((order == torch.arange(n, device=order.device)).all())

    def to_grid(self, rows: Tensor) -> Tensor:
        """(n, ...) to (G, m, ...); slots without a row repeat row 0."""
        grid = rows if self.regular else rows.index_select(0, self.row_of_slot)
        return grid.view(self.prompts, self.width, *rows.shape[1:])

    def to_rows(self, grid: Tensor) -> Tensor:
        """(G, m, ...) to (n, ...)."""
        flat = grid.flatten(0, 1)
        return flat if self.regular else flat.index_select(0, self.slot_of_row)


class GeneratedKV:
    """Keys and values of the tokens that each row has written: one block of memory for all layers, appended to in
    place.

    A finished row is overwritten by the last one, so that dropping it moves one row and not all of them.
    """

    def __init__(self, layers: int) -> None:
        self.length = 0
        self.rows = 0
        self._layers = layers
        self._block: Tensor | None = None  # (layers, 2, rows, heads, tokens, head width)

    def start(self, rows: int) -> None:
        """Empties it for a new batch of rows."""
        self.length, self.rows = 0, rows

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds one token's (n, heads, 1, width) keys and values; returns views of all, (n, heads, tokens, width)."""
        if layer == 0:
            self._make_room(keys)
        assert self._block is not None
        block = self._block[layer]
        block[0, : self.rows, :, self.length] = keys[:, :, 0]
        block[1, : self.rows, :, self.length] = values[:, :, 0]
        end = self.length + 1
        if layer == self._layers - 1:
            self.length = end
        return block[0, : self.rows, :, :end], block[1, : self.rows, :, :end]

    def drop(self, sources: Tensor, holes: Tensor, rows: int) -> None:
        """Moves rows `sources` into `holes` and keeps the first `rows`."""
        if self._block is not None and sources.numel():
            used = self._block[:, :, :, :, : self.length]
            used[:, :, holes] = used[:, :, sources]
        self.rows = rows

    def _make_room(self, like: Tensor) -> None:
        rows, heads, _, width = like.shape
        block = self._block
        fits = (
            block is not None
            and block.shape[2] >= rows
            and (block.shape[3], block.shape[5], block.dtype, block.device) == (heads, width, like.dtype, like.device)
        )
        if block is not None and fits and block.shape[4] > self.length:
            return
        # Grown in steps: rows of keys that lie close together are read faster than rows with room for the longest
        # program.
        tokens = 32 * (self.length // 32 + 1)
        larger = like.new_empty(
            self._layers, 2, max(rows, block.shape[2]) if fits and block is not None else rows, heads, tokens, width
        )
        if self.length and block is not None:
            larger[:, :, :rows, :, : self.length] = block[:, :, :rows, :, : self.length]
        self._block = larger


class GeneratedKVLayer(CacheLayerMixin):
    """One layer's view of `GeneratedKV`, as `transformers` asks for it."""

    is_sliding = False
    is_croppable = False

    def __init__(self, own: GeneratedKV, layer: int) -> None:
        super().__init__()
        self.is_initialized = True
        self._own, self._layer = own, layer

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: memory is taken on the first append."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends one token per row."""
        return self._own.append(self._layer, key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Tokens attended to, and the first one's index."""
        return self._own.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens each row has written."""
        return self._own.length

    def get_max_length(self) -> int:
        """No maximum."""
        return -1


class GeneratedKVCache(Cache):
    """The cache handed to the model while decoding."""

    def __init__(self, own: GeneratedKV, layers: int) -> None:
        super().__init__(layers=[GeneratedKVLayer(own, layer) for layer in range(layers)])


class SharedPrefix:
    """What attention needs beside its arguments: the grid of rows and, for decoder-only models, the prompts' keys and
    values.
    """

    def __init__(self, rows: RowGrid, prompt_keys: list[Tensor], prompt_values: list[Tensor]) -> None:
        """`prompt_keys`, `prompt_values`: per layer (G, heads, P, width); empty for an encoder-decoder, whose cache has
        them.
        """
        self.rows = rows
        self.prompt_keys = prompt_keys
        self.prompt_values = prompt_values


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    prefix: SharedPrefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function registered with `transformers`; without a `prefix` it is torch's scaled dot-product
    attention.

    Shapes: query (n, heads, 1, width), key and value (n or G, key heads, tokens, width); returns (n, 1, heads, width).
    """
    if prefix is None:
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            position_bias=position_bias,
            **kwargs,
        )
        return result
    n, heads, _, width = query.shape
    scale = width**-0.5 if scaling is None else scaling
    # Query heads that share a key head are treated as so many more queries.
    queries = query.reshape(n, key.shape[1], heads // key.shape[1], width)
    if scale != 1.0:
        queries = queries * scale
    if prefix.prompt_keys:
        layer = module.layer_idx
        context = joint_attention(
            queries, key, value, prefix.prompt_keys[layer], prefix.prompt_values[layer], prefix.rows
        )
    elif getattr(module, "is_causal", True):
        own = _scores(queries, key)
        if position_bias is not None:
            own = own + position_bias.view(1, key.shape[1], -1, position_bias.shape[-1])
        context = _mix(torch.softmax(own, dim=-1), value)
    else:
        rows = prefix.rows
        weights = torch.softmax(_prompt_scores(queries, key, rows), dim=-1)
        context = rows.to_rows(_from_grid(torch.matmul(weights, value), rows.width))
    return context.reshape(n, 1, heads, width), None


def _prompt_scores(queries: Tensor, prompt_keys: Tensor, rows: RowGrid) -> Tensor:
    """(n, key heads, r, width) queries against (G, key heads, P, width) keys: (G, key heads, m * r, P)."""
    grid = rows.to_grid(queries).transpose(1, 2).flatten(2, 3)
    scores = torch.matmul(grid, prompt_keys.transpose(2, 3))
    return scores if rows.prompt_bias is None else scores.add_(rows.prompt_bias)


def _from_grid(grid: Tensor, width: int) -> Tensor:
    """(G, key heads, m * r, x) to (G, m, key heads, r, x)."""
    return grid.unflatten(2, (width, -1)).transpose(1, 2)


def joint_attention(
    queries: Tensor, keys: Tensor, values: Tensor, prompt_keys: Tensor, prompt_values: Tensor, rows: RowGrid
) -> Tensor:
    """Attention over a row's prompt and its own tokens under one softmax: (n, key heads, r, width).

    `queries` (n, key heads, r, width), scaled; own `keys`, `values` (n, key heads, t, width); prompts' (G, key heads,
    P, width).
    """
    length = prompt_keys.shape[2]
    prompt = rows.to_rows(_from_grid(_prompt_scores(queries, prompt_keys, rows), rows.width))
    weights = torch.softmax(torch.cat([prompt, _scores(queries, keys)], dim=-1), dim=-1)
    grid = rows.to_grid(weights[..., :length]).transpose(1, 2).flatten(2, 3)
    context = rows.to_rows(_from_grid(torch.matmul(grid, prompt_values), rows.width))
    return context + _mix(weights[..., length:], values)


def _scores(queries: Tensor, keys: Tensor) -> Tensor:
    """(n, key heads, r, t). Products too small for torch's fast batched kernel are faster written out."""
    if queries.shape[2] == 1 and keys.shape[2] <= _SHORT:
        return (queries * keys).sum(dim=-1).unsqueeze(2)
    return torch.matmul(queries, keys.transpose(2, 3))


def _mix(weights: Tensor, values: Tensor) -> Tensor:
    """(n, key heads, r, width)."""
    if weights.shape[2] == 1 and values.shape[2] <= _SHORT:
        return (weights.transpose(2, 3) * values).sum(dim=2, keepdim=True)
    return torch.matmul(weights, values)


def patch_attention(model: Any) -> None:
    """Makes `model` attend through `attention`, which is torch's own wherever no `prefix` is passed."""
    plug_in(model, NAME, attention, sdpa_mask)
