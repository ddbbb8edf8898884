"""From a step's programs to each rank's micro-batches: shared beginnings computed once, equal work per rank, little
padding.

Every rank plans the whole step from the same items, so nothing has to be communicated: all agree on how many
micro-batches each makes, and ranks with fewer add empty ones, since a collective waits for every rank. The loss is one
whatever the plan.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from rltf.learner.objectives.base import LossInputs, TrainItem
from rltf.policy.log_probs import Batch, PackedRow, collate_rows, rows_of
from rltf.policy.padding import runs
from rltf.policy.policy import Policy

_OVERHEAD = 1 / 16
"""What a micro-batch costs whatever its size, as a share of the positions of a full one (measured: a million parameters
on a CPU)."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of similar length that go through the model together."""

    items: list[TrainItem]
    rows: list[tuple[list[int], PackedRow]]
    """The model's rows with the positions in `items` of the programs they hold."""
    empty: bool = False
    """Whether the items only keep this rank in step with the others: they carry no weight and are not counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One rank's share of a step."""

    micro_batches: list[MicroBatch]
    tokens: int
    """Prompt and program tokens of this rank's items, each item for itself."""
    row_tokens: int
    """Token positions of this rank's rows, where items share beginnings."""
    padded_tokens: int
    """What the forward passes compute, padding and empty micro-batches included."""

    @property
    def padding_share(self) -> float:
        """Share of computed token positions that are padding."""
        return 1.0 - self.row_tokens / self.padded_tokens if self.padded_tokens else 0.0

    @property
    def shared_share(self) -> float:
        """Share of the items' tokens that are not computed because an earlier item has the same beginning."""
        return 1.0 - self.row_tokens / self.tokens if self.tokens else 0.0


NumberedRow = tuple[list[int], PackedRow]


def plan(
    policy: Policy,
    items: Sequence[TrainItem],
    max_tokens: int,
    rank: int = 0,
    world_size: int = 1,
    share: bool = False,
) -> Plan:
    """The micro-batches of `rank`, each of at most `max_tokens` positions, padding included, where a row alone is not
    longer.

    An empty share gives only empty micro-batches, as many as the busiest rank has; no items at all give none.
    """
    if not items:
        return Plan([], 0, 0, 0)
    rows = rows_of(policy, [item.prompt_ids for item in items], [item.token_ids for item in items], max_tokens, share)
    shares = [_cut(rows_of_rank, max_tokens) for rows_of_rank in split_by_rank(rows, world_size)]
    micro_batches = [_micro_batch(items, batch) for batch in shares[rank]]
    shortest = min(items, key=lambda item: (item.tokens, item.id))
    while len(micro_batches) < max(map(len, shares)):
        idle = replace(shortest, weights=np.zeros_like(shortest.weights))
        micro_batches.append(MicroBatch([idle], rows_of(policy, [idle.prompt_ids], [idle.token_ids], 0), empty=True))
    mine = [item for batch in micro_batches for item in batch.items if not batch.empty]
    return Plan(
        micro_batches,
        tokens=sum(_tokens(policy, item) for item in mine),
        row_tokens=sum(row.tokens for batch in micro_batches for _, row in batch.rows if not batch.empty),
        padded_tokens=sum(_positions([row for _, row in batch.rows]) for batch in micro_batches),
    )


def split_by_rank(rows: Sequence[NumberedRow], world_size: int) -> list[list[NumberedRow]]:
    """Shares of nearly equal numbers of tokens: the longest first, each to the rank with the least. Deterministic."""
    shares: list[list[NumberedRow]] = [[] for _ in range(world_size)]
    load = [(0, rank) for rank in range(world_size)]
    for numbered in sorted(rows, key=lambda numbered: (-numbered[1].tokens, numbered[0])):
        tokens, rank = heapq.heappop(load)
        shares[rank].append(numbered)
        heapq.heappush(load, (tokens + numbered[1].tokens, rank))
    return shares


def tensors(
    policy: Policy, micro_batch: MicroBatch, device: torch.device | str = "cpu", mask_dtype: torch.dtype = torch.float32
) -> tuple[Batch, LossInputs]:
    """The micro-batch of B programs as the model's input and as weights (K, B, T), T the longest program."""
    items = micro_batch.items
    batch = collate_rows(policy, micro_batch.rows, [item.token_ids for item in items], device, mask_dtype)
    length = batch.targets.shape[1]
    weights = np.zeros((items[0].weights.shape[0], len(items), length), np.float32)
    for row, item in enumerate(items):
        weights[:, row, : len(item.token_ids)] = item.weights
    behaviour = _padded([item.behaviour_log_probs for item in items], length, device)
    reference = _padded([item.reference_log_probs for item in items], length, device)
    return batch, LossInputs(torch.from_numpy(weights).to(device), behaviour, reference)


def _padded(rows: Sequence[Sequence[float] | None], length: int, device: torch.device | str) -> torch.Tensor | None:
    """(B, T) with zeros behind each row; None where a row is missing."""
    values = np.zeros((len(rows), length), np.float32)
    for index, row in enumerate(rows):
        if row is None:
            return None
        values[index, : len(row)] = row
    return torch.from_numpy(values).to(device)


def _cut(rows: Sequence[NumberedRow], max_tokens: int) -> list[list[NumberedRow]]:
    """Runs of rows in the order given, longest first, each within the budget, so that the positions computed are
    fewest.

    A micro-batch counts `_OVERHEAD` of a full one for itself.
    """
    lengths = [(row.tree.size, row.encoder_tokens) for _, row in rows]
    return [list(rows[run]) for run in runs(lengths, round(_OVERHEAD * max_tokens), max_tokens)]


def _positions(rows: Sequence[PackedRow]) -> int:
    """Positions that the rows occupy together; prompts that go through a stack of their own are padded for
    themselves.
    """
    return len(rows) * (max(row.tree.size for row in rows) + max(row.encoder_tokens for row in rows))


def _micro_batch(items: Sequence[TrainItem], rows: Sequence[NumberedRow]) -> MicroBatch:
    members: list[TrainItem] = []
    renumbered: list[NumberedRow] = []
    for numbers, row in rows:
        renumbered.append((list(range(len(members), len(members) + len(numbers))), row))
        members += [items[number] for number in numbers]
    return MicroBatch(members, renumbered)


def _tokens(policy: Policy, item: TrainItem) -> int:
    """Positions that the item alone would occupy: its last token is predicted only."""
    return item.tokens - (0 if policy.is_encoder_decoder else 1)
