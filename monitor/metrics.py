"""What a worker does and how much of it: phases, counters, gauges. Imports no room of the project, so every room may use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Row = dict[str, Any]
Sink = Callable[[list[Row]], None]


class Recorder:
    """Collects what one worker (role `executor-3`) does and hands it to a sink every `period_s` seconds.

    Rows are plain JSON values, one of::

        {"kind": "phase", "role": .., "name": "generate", "waits_for": None, "start": t, "end": t}   seconds since the epoch
        {"kind": "count", "role": .., "name": "programs", "value": n, "time": t}                     n more since the last row
        {"kind": "gauge", "role": .., "name": "version", "value": x, "time": t}

    A phase with `waits_for` is a wait: its value names the part waited for ("executor", "learner", "buffer").
    """

    def __init__(self, role: str, sink: Sink | None = None, period_s: float = 0.5) -> None:
        self.role = role
        self._sink = sink
        self._period_s = period_s
        self._rows: list[Row] = []
        self._counts: dict[str, float] = {}
        self._gauges: dict[str, float] = {}
        self._sent_at = time.monotonic()

    @contextmanager
    def phase(self, name: str, waits_for: str | None = None) -> Iterator[None]:
        """Times what is done inside; nested phases are recorded each on their own."""
        start = time.time()
        try:
            yield
        finally:
            self._rows.append({"kind": "phase", "role": self.role, "name": name, "waits_for": waits_for, "start": start, "end": time.time()})
            self._send_when_due()

    def count(self, name: str, value: float = 1) -> None:
        """Adds to a counter."""
        self._counts[name] = self._counts.get(name, 0) + value
        self._send_when_due()

    def gauge(self, name: str, value: float) -> None:
        """Sets a value of which only the newest matters."""
        self._gauges[name] = value
        self._send_when_due()

    def flush(self) -> None:
        """Sends what has been collected."""
        now = time.time()
        rows = self._rows
        rows += [{"kind": "count", "role": self.role, "name": name, "value": value, "time": now} for name, value in self._counts.items()]
        rows += [{"kind": "gauge", "role": self.role, "name": name, "value": value, "time": now} for name, value in self._gauges.items()]
        self._rows, self._counts, self._gauges = [], {}, {}
        self._sent_at = time.monotonic()
        if self._sink is not None and rows:
            self._sink(rows)

    def _send_when_due(self) -> None:
        if time.monotonic() - self._sent_at >= self._period_s:
            self.flush()
