"""How long the phases of a run as a whole take, over all its attempts."""

from __future__ import annotations

from collections.abc import Mapping

from rltf.telemetry.recorder import Row


class RunPhases:
    """The phases of one attempt, on the wall clock, on top of those of earlier ones."""

    def __init__(self, earlier: Mapping[str, float]) -> None:
        """`earlier`: seconds by phase of the attempts before."""
        self.seconds = {name: float(seconds) for name, seconds in earlier.items()}
        """Of the phases that have ended, by name."""
        self._name = ""
        self._since = 0.0

    def enter(self, name: str, now: float) -> Row | None:
        """The run enters a phase (`buffer.control.Phase`), or with an empty name none; the row of the one that ends so.

        Repeated calls with one name are one phase.
        """
        if name == self._name:
            return None
        ended, since = self._name, self._since
        self.seconds = self.seconds_until(now)
        self._name, self._since = name, now
        row = {"kind": "phase", "role": "run", "name": ended, "waits_for": None, "start": since, "end": now}
        return row if ended else None

    def seconds_until(self, now: float) -> dict[str, float]:
        """`seconds` with the phase that goes on."""
        if not self._name:
            return dict(self.seconds)
        return self.seconds | {self._name: self.seconds.get(self._name, 0.0) + now - self._since}
