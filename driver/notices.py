"""Deaths and restarts of a run's parts: kept among its events, and told to whoever looks at it."""

from __future__ import annotations

import time
from typing import Any

from rltf.monitor.run_folder import RunFolder
from rltf.telemetry.console import warn


class Notices:
    """Of one attempt; `restarted` is called by other threads too."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._restarts: list[str] = []

    def died(self, name: str, reason: str) -> None:
        """A part has died."""
        self._folder.add_event({"time": time.time(), "event": "died", "part": name, "reason": reason})
        warn(f"{name} is dead: {reason}")

    def restarted(self, name: str, reason: str, facts: dict[str, Any]) -> None:
        """A part that died for `reason` runs again; `facts` go into the event. It is told by `tell_restarts`."""
        self._folder.add_event({"time": time.time(), "event": "restarted", "part": name, "reason": reason} | facts)
        more = f" after step {facts['step']}" if "step" in facts else ""
        self._restarts.append(f"{name} died and goes on{more}: {reason}")

    def tell_restarts(self) -> bool:
        """Tells of the restarts since the last call; whether there were any."""
        told = bool(self._restarts)
        while self._restarts:
            warn(self._restarts.pop(0))
        return told
