"""When a wait is given up: nothing of what could move has moved for too long."""

from __future__ import annotations

import time


class StopRequested(Exception):
    """The run was asked to end while something was waited for."""


class StallTimeout(Exception):
    """Nothing moved for longer than `run.stall_timeout_s`; the message names who was waited for."""


class StallClock:
    """Runs out when what it is shown has stayed the same for `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._seen: object = None
        self.restart()

    def restart(self) -> None:
        """Begins anew: whatever moves now is not in what is shown."""
        self._since = time.monotonic()

    def see(self, state: object) -> None:
        """Begins anew where `state` is another than the one shown last."""
        if state != self._seen:
            self._seen = state
            self.restart()

    @property
    def run_out(self) -> bool:
        """Whether the timeout has passed since the clock began."""
        return time.monotonic() - self._since > self._timeout_s
