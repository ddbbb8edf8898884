"""When a piece of work will be done, at the pace of its newest parts."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 32


class EtaEstimator:
    """Sees how far a piece of work is, time and again. Times are seconds on one clock, whichever."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    def update(self, time: float, done: float) -> None:
        """So much was done at that time.

        Work that is done again after a restart, or a clock that was set back, begins a new pace.
        """
        if self._seen and (done < self._seen[-1][1] or time < self._seen[-1][0]):
            self._seen.clear()
        if not self._seen or done > self._seen[-1][1]:
            self._seen.append((time, done))

    def seconds_left(self, total: float, now: float) -> float | None:
        """Seconds until `total` is done, the time since the last look taken off; None before it has moved twice.

        Once says little: steps of two kinds alternate.
        """
        if len(self._seen) < 3:
            return None
        (first, begun), (last, done) = self._seen[0], self._seen[-1]
        return max(0.0, (total - done) * (last - first) / (done - begun) - max(0.0, now - last))
