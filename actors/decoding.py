"""One token for every row: the two ways the engine runs a model, with a shared prefix and with `transformers`
caches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from rltf.actors.fused_step import FusedStep
from rltf.actors.shared_prefix import GeneratedKV, GeneratedKVCache, RowGrid, SharedPrefix
from rltf.policy.log_probs import pad, position_ids
from rltf.policy.padding import runs
from rltf.policy.policy import Policy

_PASS_TOKENS = {"cpu": 64, "cuda": 4096}
"""By kind of device, what one more pass of the model costs, in token positions."""


def similar(lengths: Sequence[int], overhead: int) -> list[list[int]]:
    """The numbers of sequences in batches of similar lengths, longest first, so that the positions that padded batches
    compute, and `overhead` for each batch, are fewest.
    """
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    return [sorted(order[run]) for run in runs([(lengths[number],) for number in order], overhead)]


class Decoding(ABC):
    """The state of one batch: rows are completions still being written, in an order that `drop_finished` may change."""

    def __init__(self, policy: Policy, device: torch.device) -> None:
        self._policy = policy
        self._model: Any = policy.model
        self._device = device
        self._cache: Any = None
        self._encoder_states: Any = None
        self._mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
        """What is attended to. One of four dimensions is handed through as it is: no mask is built per token."""
        self._more: dict[str, Any] = {}
        """More arguments of the model."""

    @abstractmethod
    def prefill(self, prompts: list[list[int]], per_prompt: int) -> Tensor:
        """Computes each prompt once; returns the first logits of all rows, (G * per_prompt, V), a prompt's rows
        together.
        """

    @abstractmethod
    def step(self, tokens: Tensor, index: int) -> Tensor:
        """Feeds each row's token number `index` (n,); returns the next logits (n, V)."""

    @abstractmethod
    def drop_finished(self, ended: Tensor) -> Tensor:
        """Drops rows where `ended` (n,) is true; returns the rows that remain, in their new order."""

    def _pad(self, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
        ids, mask = pad(prompts, self._policy.pad_id, left=not self._policy.is_encoder_decoder)
        return ids.to(self._device), mask.to(self._device)

    def _encode(self, ids: Tensor, mask: Tensor) -> Any:
        return self._model.get_encoder()(input_ids=ids, attention_mask=mask.long()).last_hidden_state

    def _decode(self, tokens: Tensor, positions: Tensor | None) -> Tensor:
        inputs: dict[str, Any] = {"input_ids": tokens, "position_ids": positions}
        if self._policy.is_encoder_decoder:
            states = BaseModelOutput(last_hidden_state=self._encoder_states)
            inputs = {"decoder_input_ids": tokens, "encoder_outputs": states}
        logits: Tensor = self._model(
            **inputs, **self._more, attention_mask=self._mask, past_key_values=self._cache, use_cache=True
        ).logits
        return logits[:, -1]

    def _start(self, rows: int) -> Tensor:
        return torch.full((rows, 1), self._policy.decoder_start_id, dtype=torch.long, device=self._device)


class SharedPrefixDecoding(Decoding):
    """Prompt keys and values once per prompt, own tokens in a preallocated block (see `actors.shared_prefix`)."""

    def __init__(self, policy: Policy, device: torch.device, own: GeneratedKV, fused: FusedStep | None = None) -> None:
        super().__init__(policy, device)
        self._own = own
        self._fused = fused
        config = policy.model.config
        self._layers = getattr(config, "num_decoder_layers", None) or config.num_hidden_layers

    def prefill(self, prompts: list[list[int]], per_prompt: int) -> Tensor:
        """See Decoding."""
        ids, mask = self._pad(prompts)
        count = len(prompts) * per_prompt
        bias = None
        if not bool(mask.all()):
            bias = torch.zeros(mask.shape, device=self._device, dtype=self._model.dtype).masked_fill_(
                ~mask, float("-inf")
            )[:, None, None]
        prompt_of_row = torch.arange(len(prompts), device=self._device).repeat_interleave(per_prompt)
        self._rows = RowGrid(prompt_of_row, len(prompts), bias)
        self._own.start(count)
        cache = GeneratedKVCache(self._own, self._layers)
        if self._policy.is_encoder_decoder:
            self._encoder_states = self._encode(ids, mask)
            self._cache = EncoderDecoderCache(cache, DynamicCache())
            self._prefix = SharedPrefix(self._rows, [], [])
            self._more = {"prefix": self._prefix, "decoder_attention_mask": self._mask}
            return self._decode(self._start(count), None)
        self._cache = cache
        keys, values, logits = self._read_prompts(ids, mask)
        self._prefix = SharedPrefix(self._rows, keys, values)
        self._more = {"prefix": self._prefix}
        self._next_position = mask.sum(dim=1)[prompt_of_row]
        return logits.index_select(0, prompt_of_row)

    def _read_prompts(self, ids: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Per layer the (G, key heads, P, width) keys and values of padded prompts (G, P), and the logits after them
        (G, V); what stands at padding is not looked at.
        """
        longest = ids.shape[1]
        keys: list[Tensor] = []
        values: list[Tensor] = []
        logits: Tensor | None = None
        for members in similar(mask.sum(dim=1).tolist(), _PASS_TOKENS.get(self._device.type, _PASS_TOKENS["cuda"])):
            chosen = torch.tensor(members, device=self._device)
            start = longest - int(mask[chosen].sum(dim=1).max())
            cache = DynamicCache()
            part = mask[chosen, start:]
            found = self._model(
                input_ids=ids[chosen, start:],
                attention_mask=part.long(),
                position_ids=position_ids(part),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            if len(members) == len(ids):
                return [one.keys for one in cache.layers], [one.values for one in cache.layers], found
            if logits is None:
                logits = found.new_empty(len(ids), found.shape[1])
                like = cache.layers[0].keys
                shape = len(ids), like.shape[1], longest, like.shape[3]
                keys = [like.new_zeros(shape) for _ in cache.layers]
                values = [like.new_zeros(shape) for _ in cache.layers]
            logits[chosen] = found
            for layer, one in enumerate(cache.layers):
                keys[layer][chosen, :, start:] = one.keys
                values[layer][chosen, :, start:] = one.values
        assert logits is not None
        return keys, values, logits

    def step(self, tokens: Tensor, index: int) -> Tensor:
        """See Decoding."""
        if self._policy.is_encoder_decoder:
            return self._decode(tokens[:, None], None)
        if self._fused is not None:
            return self._fused(tokens, self._next_position + index, self._own, self._prefix)
        return self._decode(tokens[:, None], self._next_position[:, None] + index)

    def drop_finished(self, ended: Tensor) -> Tensor:
        """See Decoding. The last rows move into the places of ended ones."""
        alive = torch.nonzero(~ended)[:, 0]
        n = alive.numel()
        kept = torch.arange(n, device=self._device)
        holes = torch.nonzero(ended[:n])[:, 0]
        sources = alive[n - holes.numel() :]
        kept[holes] = sources
        if n == 0:
            return kept
        self._own.drop(sources, holes, n)
        rows = self._rows
        rows.prompt_of_row = rows.prompt_of_row[kept]
        if not self._policy.is_encoder_decoder:
            self._next_position = self._next_position[kept]
        self._drop_prompts()
        rows.arrange()
        return kept

    def _drop_prompts(self) -> None:
        """Forgets prompts of which no sample is left, once they are a quarter: copying the others has a price too."""
        rows = self._rows
        used = torch.unique(rows.prompt_of_row)
        if used.numel() > 0.75 * rows.prompts:
            return
        number = torch.zeros(rows.prompts, dtype=torch.long, device=self._device)
        number[used] = torch.arange(used.numel(), device=self._device)
        rows.prompt_of_row = number[rows.prompt_of_row]
        rows.prompts = used.numel()
        if rows.prompt_bias is not None:
            rows.prompt_bias = rows.prompt_bias[used]
        self._prefix.prompt_keys = [keys[used] for keys in self._prefix.prompt_keys]
        self._prefix.prompt_values = [values[used] for values in self._prefix.prompt_values]
        if self._policy.is_encoder_decoder:
            self._encoder_states = self._encoder_states[used]
            self._cache.cross_attention_cache.batch_select_indices(used)


class PlainDecoding(Decoding):
    """Any model: the prompt's cache is repeated for each of its samples, finished rows are selected away."""

    def prefill(self, prompts: list[list[int]], per_prompt: int) -> Tensor:
        """See Decoding."""
        ids, mask = self._pad(prompts)
        config = self._model.config
        rows = torch.arange(len(prompts), device=self._device).repeat_interleave(per_prompt)
        if self._policy.is_encoder_decoder:
            self._encoder_states = self._encode(ids, mask)[rows]
            self._mask = mask.long()[rows]
            self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            return self._decode(self._start(len(rows)), None)
        self._cache = DynamicCache(config=config)
        output = self._model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=position_ids(mask),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache.batch_repeat_interleave(per_prompt)
        self._mask = mask.long()[rows]
        self._next_position = mask.sum(dim=1)[rows]
        first: Tensor = output.logits[:, -1][rows]
        return first

    def step(self, tokens: Tensor, index: int) -> Tensor:
        """See Decoding."""
        if self._policy.is_encoder_decoder:
            return self._decode(tokens[:, None], None)
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        return self._decode(tokens[:, None], self._next_position[:, None] + index)

    def drop_finished(self, ended: Tensor) -> Tensor:
        """See Decoding."""
        kept = torch.nonzero(~ended)[:, 0]
        if not kept.numel():
            return kept
        self._cache.batch_select_indices(kept)
        self._mask = self._mask[kept]
        if self._policy.is_encoder_decoder:
            self._encoder_states = self._encoder_states[kept]
        else:
            self._next_position = self._next_position[kept]
        return kept
