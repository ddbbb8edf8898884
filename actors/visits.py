"""Which problem each visit of the run is for: every problem once per epoch, in a seeded order that all actors
agree on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


class Visits:
    """Visit number -> problem.

    Visit numbers are handed out by the buffer, so several actors share one order without meeting.
    """

    def __init__(self, problem_ids: Sequence[str], seed: int) -> None:
        """`problem_ids` in an order that is the same for every actor. Raises ValueError when there is none."""
        if not problem_ids:
            raise ValueError("no problems to visit")
        self._problem_ids = list(problem_ids)
        self._seed = seed
        self._epoch = -1
        self._order: list[str] = []

    def problem(self, visit: int) -> str:
        """The problem of visit number `visit`, counted from 0."""
        epoch, place = divmod(visit, len(self._problem_ids))
        if epoch != self._epoch:
            self._order = list(self._problem_ids)
            random.Random(f"visits {self._seed} {epoch}").shuffle(self._order)
            self._epoch = epoch
        return self._order[place]
