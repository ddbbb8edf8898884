"""From a step's programs to each rank's micro-batches: equal work per rank, little padding, one loss whatever the sizes.

Every rank plans the whole step from the same items, so nothing has to be communicated: all agree on how many micro-batches each
makes, and ranks with fewer add empty ones, since a collective waits for every rank.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from learner.objectives.base import Signal, TrainItem
from policy.log_probs import Batch, collate
from policy.policy import Policy


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Programs of similar length that go through the model together."""

    items: list[TrainItem]
    empty: bool = False
    """Whether the items only keep this rank in step with the others: they carry no weight and are not counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One rank's share of a step."""

    micro_batches: list[MicroBatch]
    tokens: int
    """Prompt and program tokens of this rank's items."""
    padded_tokens: int
    """What the forward passes compute, padding and empty micro-batches included."""

    @property
    def padding_share(self) -> float:
        """Share of computed token positions that are padding."""
        return 1.0 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0


def split_by_rank(items: Sequence[TrainItem], world_size: int) -> list[list[TrainItem]]:
    """Shares of nearly equal numbers of tokens: the longest first, each to the rank with the least. Deterministic."""
    shares: list[list[TrainItem]] = [[] for _ in range(world_size)]
    load = [(0, rank) for rank in range(world_size)]
    for item in sorted(items, key=lambda item: (-item.tokens, item.id)):
        tokens, rank = heapq.heappop(load)
        shares[rank].append(item)
        heapq.heappush(load, (tokens + item.tokens, rank))
    return shares


def plan(items: Sequence[TrainItem], micro_batch_size: int, rank: int = 0, world_size: int = 1, encoder_decoder: bool = False) -> Plan:
    """The micro-batches of `rank`: its share sorted by length and cut into runs of at most `micro_batch_size`, the longest first.

    An empty share gives only empty micro-batches, as many as the busiest rank has; no items at all give none.
    """
    shares = split_by_rank(items, world_size)
    counts = [-(-len(share) // micro_batch_size) for share in shares]
    share = shares[rank]
    size = -(-len(share) // counts[rank]) if share else 0  # evenly filled rather than full ones and a remnant
    micro_batches = [MicroBatch(share[start : start + size]) for start in range(0, len(share), size)] if share else []
    shortest = min(items, key=lambda item: (item.tokens, item.id), default=None)
    while shortest is not None and len(micro_batches) < max(counts):
        idle = replace(shortest, weights=np.zeros_like(shortest.weights))
        micro_batches.append(MicroBatch([idle], empty=True))
    padded = sum(len(batch.items) * _width(batch.items, encoder_decoder) for batch in micro_batches)
    return Plan(micro_batches, sum(item.tokens for item in share), padded)


def tensors(policy: Policy, micro_batch: MicroBatch, device: torch.device | str = "cpu") -> tuple[Batch, Signal]:
    """The micro-batch of B programs as the model's input and as weights (K, B, T), T the longest program."""
    items = micro_batch.items
    batch = collate(policy, [list(item.prompt_ids) for item in items], [list(item.token_ids) for item in items], device)
    length = batch.targets.shape[1]
    weights = np.zeros((items[0].weights.shape[0], len(items), length), np.float32)
    for row, item in enumerate(items):
        weights[:, row, : len(item.token_ids)] = item.weights
    behaviour = _padded([item.behaviour_log_probs for item in items], length, device)
    reference = _padded([item.reference_log_probs for item in items], length, device)
    return batch, Signal(torch.from_numpy(weights).to(device), behaviour, reference)


def _padded(rows: Sequence[Sequence[float] | None], length: int, device: torch.device | str) -> torch.Tensor | None:
    """(B, T) with zeros behind each row; None where a row is missing."""
    values = np.zeros((len(rows), length), np.float32)
    for index, row in enumerate(rows):
        if row is None:
            return None
        values[index, : len(row)] = row
    return torch.from_numpy(values).to(device)


def _width(items: Sequence[TrainItem], encoder_decoder: bool) -> int:
    """Positions that one row occupies: prompt and program together, or each padded for itself where they go through stacks of their own."""
    if encoder_decoder:
        return max(len(item.prompt_ids) for item in items) + max(len(item.token_ids) for item in items)
    return max(item.tokens for item in items)
