"""The run's mark in Redis: by it everybody sees whether the data there are this attempt's, whole, and not older than
what was seen before.

Every script looks at the attempt's token first (scripts/common.lua), so where the mark is gone, or another attempt's,
nothing is moved any more. The driver looks, several times a second, at what has to be there as well, and beats: it
counts, here and in the run's folder, so that data of an earlier time are known by their lower count. No clock is asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis

from rltf.buffer.connection import DataLost
from rltf.buffer.keys import Keys
from rltf.buffer.lua import Place, Scripts

LASTING = ("control", "totals", "senders") + tuple(
    f"{purpose}:{name}" for purpose in ("train", "evaluation") for name in ("counts", "state", "events")
)
"""Hashes that are there from a run's beginning to its end; each has a field that tells it from one that was lost and
began anew."""
_BEHIND = 1
"""Beats that the server may have lost with the last seconds before a power loss, or a replica before it took over."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What was found of a run."""

    attempt: int
    """The newest attempt that has taken charge of the data."""
    beats: int
    """Of the drivers of all attempts together."""
    holder: str
    """That attempt, its host and its folder, in words."""
    alive: str
    """The same while its driver shows life, or did within the last 40 s; else empty."""


class Marker(Place):
    """The mark of one run. Looks at nothing where the flow has no token: that of a reader, or of a test of parts."""

    def __init__(self, client: redis.Redis, scripts: Scripts, keys: Keys, token: str) -> None:
        super().__init__(client, scripts, keys)
        self._token = token
        self.beats = 0
        """Beats that are known of, to be kept with the run."""
        self._whole_at: float | None = None

    def read(self) -> Mark | None:
        """The mark; None where there is none."""
        pipe = self._client.pipeline()
        pipe.hmget(self._keys.marker, "attempt", "beats", "holder")
        pipe.get(self._keys.alive)
        (attempt, beats, holder), alive = pipe.execute()
        if None in (attempt, beats, holder):
            return None
        return Mark(int(attempt), int(beats), holder.decode(), (alive or b"").decode())

    def missing(self) -> list[str]:
        """Lasting keys that are gone, whoever's token is there.

        The driver stores the problems again when a run goes on.
        """
        pipe = self._client.pipeline()
        for name in LASTING:
            pipe.hexists(self._keys.base + name, "begun")
        return [name for name, there in zip(LASTING, pipe.execute(), strict=True) if not there]

    def take_over(self, attempt: int, holder: str, beats: int = 0) -> None:
        """This attempt takes charge of the run's data: the scripts of every other one are refused from now on.

        `beats`: those that the run's folder knows of. Problems count as stored once `mark_problems_stored` was called.
        """
        found = self.read()
        self.beats = max(beats, found.beats if found else 0)
        pipe = self._client.pipeline()
        fields = {
            "token": self._token,
            "attempt": attempt,
            "holder": holder,
            "beats": self.beats,
            "problems": 0,
            "suites": 0,
        }
        pipe.hset(self._keys.marker, mapping=fields)
        for name in LASTING:
            pipe.hset(self._keys.base + name, "begun", 1)
        pipe.execute()

    def mark_problems_stored(self) -> None:
        """All problems are in the problem store: from now on none of them may be missing."""
        numbers = {
            name: self._client.hlen(key)
            for name, key in (("problems", self._keys.problems), ("suites", self._keys.suites))
        }
        self._client.hset(self._keys.marker, mapping=numbers)

    def check(self, beat: bool = False) -> None:
        """Looks whether everything is there; `beat`: the driver's, every ten seconds or so.

        Raises DataLost with what is not, and when this process saw it last.
        """
        if not self._token:
            return
        try:
            beats, *gone = self._scripts.run("check_marker", self.beats, int(beat), *LASTING)
        except DataLost as error:
            raise DataLost(f"{error}{self._last_seen()}") from None
        if int(beats) < self.beats - _BEHIND:
            raise DataLost(
                f"Redis at {self._scripts.where} has gone back in time: what it holds of the run is older than what "
                "was seen there before "
                f"(an older copy of its files, or a replica that was behind){self._last_seen()}"
            )
        if gone:
            names = ", ".join(name.decode() for name in gone)
            raise DataLost(
                f"Redis at {self._scripts.where} has lost a part of the run's data: {names} (it evicts keys, or "
                "somebody has deleted "
                f"them){self._last_seen()}"
            )
        self.beats = max(self.beats, int(beats))
        self._whole_at = time.time()

    def release(self) -> None:
        """The driver ends: another one need not wait until its last sign of life has expired."""
        self._client.delete(self._keys.alive)

    def _last_seen(self) -> str:
        return (
            f"; all was there at {time.strftime('%H:%M:%S', time.localtime(self._whole_at))}" if self._whole_at else ""
        )
