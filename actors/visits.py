"""Which problem each visit of the run is for: every problem once per epoch, in a seeded order that all actors agree on;
of several sets with weights each has its share of the visits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

Share = tuple[int, Sequence[str]]
"""A set's weight and the ids of its problems."""


class Visits:
    """Visit number -> problem.

    Visit numbers are handed out by the buffer, so several actors share one order without meeting.
    """

    def __init__(self, problem_ids: Sequence[str], seed: int, shares: Sequence[Share] = ()) -> None:
        """`problem_ids` in an order that is the same for every actor; `shares`: the sets that they are from, where each
        has a weight of its own. Raises ValueError when there is no problem.
        """
        if not problem_ids:
            raise ValueError("no problems to visit")
        self._sets = [_Epochs(ids, seed) for _, ids in shares] or [_Epochs(problem_ids, seed)]
        self._weights = [weight for weight, _ in shares] or [1]
        self._round = _interleaved(self._weights)

    def problem(self, visit: int) -> str:
        """The problem of visit number `visit`, counted from 0."""
        rounds, place = divmod(visit, len(self._round))
        of, within = self._round[place]
        return self._sets[of].problem(rounds * self._weights[of] + within)


class _Epochs:
    """The problems of one set, shuffled anew in each epoch."""

    def __init__(self, problem_ids: Sequence[str], seed: int) -> None:
        self._problem_ids = list(problem_ids)
        self._seed = seed
        self._epoch = -1
        self._order: list[str] = []

    def problem(self, visit: int) -> str:
        """The problem of the set's own visit number `visit`."""
        epoch, place = divmod(visit, len(self._problem_ids))
        if epoch != self._epoch:
            self._order = list(self._problem_ids)
            random.Random(f"visits {self._seed} {epoch}").shuffle(self._order)
            self._epoch = epoch
        return self._order[place]


def _interleaved(weights: Sequence[int]) -> list[tuple[int, int]]:
    """As many visits as the weights add up to: of which set each is, and which one of that set's.

    Each goes to the set that is furthest behind its share, so that any stretch of visits has the shares.
    """
    total = sum(weights)
    given = [0] * len(weights)
    visits = []
    for number in range(1, total + 1):
        of = max(range(len(weights)), key=lambda one: number * weights[one] - total * given[one])
        visits.append((of, given[of]))
        given[of] += 1
    return visits
