"""Sequences of different lengths in batches that compute little padding."""

from __future__ import annotations

import math
from collections.abc import Sequence


def runs(lengths: Sequence[tuple[int, ...]], overhead: int, most: float = math.inf) -> list[slice]:
    """Cuts sequences, in the order given, into runs such that the positions that padded batches of them compute, and
    `overhead` for each, are fewest; of several such cuts the one with the shortest last run.

    Args:
        lengths: of each sequence, per stack of the model that it goes through.
        overhead: what one more batch costs, in positions.
        most: positions of a batch of more than one sequence.

    """
    best: list[tuple[int, int]] = [(0, 0)]  # for the first n sequences: least cost, and where their last run begins
    for end in range(1, len(lengths) + 1):
        longest = lengths[end - 1]
        found = best[end - 1][0] + sum(longest) + overhead, end - 1
        for start in range(end - 2, -1, -1):
            longest = tuple(map(max, longest, lengths[start]))
            positions = (end - start) * sum(longest)
            if positions > most:
                break
            cost = best[start][0] + positions + overhead
            if cost < found[0]:
                found = cost, start
        best.append(found)
    cut: list[slice] = []
    end = len(lengths)
    while end:
        start = best[end][1]
        cut.append(slice(start, end))
        end = start
    return cut[::-1]
