"""Programs as the model's input, each in a row of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rltf.policy.log_probs import Batch, collate_rows, rows_of
from rltf.policy.policy import Policy


def collate(policy: Policy, prompts: Sequence[Sequence[int]], programs: Sequence[Sequence[int]]) -> Batch:
    """Raises ValueError when prompts and programs differ in number or one is empty."""
    return collate_rows(policy, rows_of(policy, prompts, programs, max_tokens=0), programs)
