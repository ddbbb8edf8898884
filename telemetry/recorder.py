"""What a worker does and how much of it: phases, counters, gauges.

Imports no room of the project, so every room may use it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Sink = Callable[[list[Row]], None]


def tell_nobody() -> None:
    """What is called where nobody listens for progress."""


def redirect_output(folder: Path, role: str) -> None:
    """From now on all that this process prints and logs goes to `folder`/ROLE.log, what its libraries write to their
    stderr included.

    On a node that does not see the run's folder nothing changes: the output stays where Ray keeps its workers' logs.
    Either way one line there, which is what Ray's dashboard shows, says where it is.
    """
    seen = folder.is_dir()
    kept = (
        f"is in {folder / role}.log"
        if seen
        else f"is here: this node does not see {folder}, where the run's other logs are"
    )
    print(f"What {role} prints and logs {kept}.", flush=True)
    if seen:
        file = os.open(folder / f"{role}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        sys.stderr.flush()
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )


class Recorder:
    """Collects what one worker (role `executor-3`) does and hands it to a sink every `period_s` seconds.

    Rows are plain JSON values, one of::

        {"kind": "phase", "role": .., "name": "generate", "waits_for": None, "start": t, "end": t}
        {"kind": "now", "role": .., "name": "wait", "waits_for": "learner", "start": t, "time": t}
        {"kind": "count", "role": .., "name": "programs", "value": n, "time": t}
        {"kind": "gauge", "role": .., "name": "version", "value": x, "time": t}

    Times are seconds since the epoch. `now` is the innermost phase that still goes on, the value of a count how many
    more there are since the last row.

    A phase with `waits_for` is a wait: its value names the part waited for ("executor", "learner", "buffer").

    A thread of its own sends the rows, so a worker that waits for minutes is still seen to wait, and a slow sink does
    not slow the worker. An exception of the sink is raised in the worker, at its next call. With `period_s` 0 every
    call sends.
    """

    def __init__(self, role: str, sink: Sink | None = None, period_s: float = 0.5) -> None:
        self.role = role
        self._sink = sink
        self._period_s = period_s
        self._rows: list[Row] = []
        self._counts: dict[str, float] = {}
        self._gauges: dict[str, float] = {}
        self._open: list[tuple[str, str | None, float]] = []
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def phase(self, name: str, waits_for: str | None = None) -> Iterator[None]:
        """Times what is done inside; nested phases are recorded each on their own."""
        opened = (name, waits_for, time.time())
        with self._lock:
            self._open.append(opened)
        try:
            self._keep_sending()
            yield
        finally:
            row = {
                "kind": "phase",
                "role": self.role,
                "name": name,
                "waits_for": waits_for,
                "start": opened[2],
                "end": time.time(),
            }
            with self._lock:
                self._open.remove(opened)
                self._rows.append(row)
        self._keep_sending()

    def count(self, name: str, value: float = 1) -> None:
        """Adds to a counter."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + value
        self._keep_sending()

    def gauge(self, name: str, value: float) -> None:
        """Sets a value of which only the newest matters."""
        with self._lock:
            self._gauges[name] = value
        self._keep_sending()

    def flush(self) -> None:
        """Sends what has been collected, now, in the calling thread. Raises what the sink raises."""
        with self._sending:
            rows = self._take()
            if self._sink is not None and rows:
                self._sink(rows)

    def close(self) -> None:
        """Sends what is left and ends the sending thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
            self._thread = None
        self.flush()

    def _take(self) -> list[Row]:
        now = time.time()
        with self._lock:
            rows = self._rows
            rows += [
                {"kind": "count", "role": self.role, "name": name, "value": value, "time": now}
                for name, value in self._counts.items()
            ]
            rows += [
                {"kind": "gauge", "role": self.role, "name": name, "value": value, "time": now}
                for name, value in self._gauges.items()
            ]
            if self._open:
                name, waits_for, start = self._open[-1]
                rows.append(
                    {
                        "kind": "now",
                        "role": self.role,
                        "name": name,
                        "waits_for": waits_for,
                        "start": start,
                        "time": now,
                    }
                )
            self._rows, self._counts, self._gauges = [], {}, {}
        return rows

    def _keep_sending(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._sink is None:
            with self._lock:  # nobody listens: keep counters and gauges (bounded by their names), drop the phases
                self._rows.clear()
            return
        if self._period_s <= 0:
            self.flush()
        elif self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._send_periodically, name=f"recorder-{self.role}", daemon=True)
            self._thread.start()

    def _send_periodically(self) -> None:
        while not self._closed.wait(self._period_s):
            try:
                self.flush()
            except Exception as error:  # raised in the worker at its next call
                self._failure = error
