"""Workers that do not run: why each is dead, what it waits for, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rltf.telemetry.vocabulary import few


class Absence(NamedTuple):
    """Of one worker, the learner as one."""

    waits: str
    """What its start waits for, in words."""
    since: float
    """When it died, or was to start first; seconds since the epoch."""
    died: str = ""
    """Why it is dead, in words; empty where it has not run yet."""

    def in_words(self, now: float) -> str:
        """ "dead for 89 s (its node gpu1 has died), waiting for a trainer host: none is up"."""
        for_s = f"{max(0.0, now - self.since):,.0f} s"
        return f"dead for {for_s} ({self.died}), {self.waits}" if self.died else f"{self.waits} ({for_s} so far)"


def absent_in_words(absent: Mapping[str, Absence], now: float) -> str:
    """Those that have one reason together, with the longest time of them; empty where everything runs."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, absence in absent.items():
        groups.setdefault((absence.waits, absence.died), []).append(name)
    oldest = [(names, min((absent[name] for name in names), key=lambda one: one.since)) for names in groups.values()]
    return "; ".join(f"{few(names)}: {absence.in_words(now)}" for names, absence in oldest)
