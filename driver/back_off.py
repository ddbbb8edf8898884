"""How often a part may die, and how long to wait before it is started again."""

from __future__ import annotations

from rltf.config import RestartConfig
from rltf.driver import RunFailed

MAX_DELAY_S = 30.0
"""Longest pause before a restart."""


class BackOff:
    """Counts the deaths of one part. A part that lived for `restart.forget_s` begins anew."""

    def __init__(self, name: str, settings: RestartConfig) -> None:
        """`name`: the part in words, for the sentence that ends the run."""
        self._name = name
        self._settings = settings
        self._deaths = 0
        self._died_at = float("-inf")

    def next_delay(self, reason: str, now: float) -> float:
        """Seconds to wait before the next start. Raises RunFailed when it has died too often."""
        if now - self._died_at > self._settings.forget_s:
            self._deaths = 0
        self._deaths += 1
        self._died_at = now
        limit = self._settings.limit
        if self._deaths > limit:
            often = (
                f"{self._deaths} times, each within {self._settings.forget_s:g} s of the last"
                if limit
                else "and restart.limit is 0"
            )
            raise RunFailed(f"{self._name} died {often}: {reason}")
        return min(MAX_DELAY_S, self._settings.pause_s * 2.0 ** (self._deaths - 1))
