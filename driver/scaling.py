"""How many executors a run needs: the work queue's lag against what the learner waits for.

Pure: told what is seen, it says what is wanted. A pool grows at once by at most its own size, and shrinks a little at a
time after a pause, so that it does not swing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LAG_S = 10.0
"""Seconds that the queue would take to be drained, above which the pool grows."""
LEARNER_WAITS = 0.1
"""Share of its time that the learner waits for executors, above which it grows as well."""
GROW_EVERY_S = 10.0
"""Between two steps up: those who were started last are to have an effect first."""
IDLE_S = 30.0
"""So long the queue has been empty before the pool shrinks, and so long between two steps down."""
SHRINK = 0.5
"""What is left of it after one step down."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The pool and its queue."""

    queued: int
    """Programs that wait for an executor."""
    graded_per_second: float
    """By all executors."""
    running: int
    """Executors that run, of those that are wanted."""
    learner_waits: float
    """Share of its time that the learner waits for executors."""


class ExecutorScaling:
    """Between a minimum and a maximum."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self.wanted = least
        self._grew_at = float("-inf")
        self._busy_at = float("-inf")
        """When the queue was last not empty, or the pool last changed."""

    def set(self, count: int) -> None:
        """So many, whatever the load: by hand."""
        self.least = self.most = self.wanted = count

    def update(self, seen: Seen, now: float) -> int:
        """How many executors are wanted. `now`: seconds on a clock that nobody sets."""
        if self._busy_at == float("-inf") or seen.queued:
            self._busy_at = now
        lag_s = seen.queued / seen.graded_per_second if seen.graded_per_second else (math.inf if seen.queued else 0.0)
        late = seen.queued > 0 and (lag_s > LAG_S or seen.learner_waits > LEARNER_WAITS)
        if late and self.wanted < self.most and seen.running == self.wanted and now - self._grew_at >= GROW_EVERY_S:
            needed = math.ceil(self.wanted * min(2.0, lag_s / LAG_S)) if lag_s > LAG_S else 0
            self.wanted = min(self.most, max(needed, self.wanted + 1))
            self._grew_at = now
        elif now - self._busy_at >= IDLE_S and self.wanted > self.least:
            self.wanted = max(self.least, int(self.wanted * SHRINK))
            self._busy_at = now
        return self.wanted
