"""The ledger: every program has one place or one fate, at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from rltf.buffer.keys import Keys
from rltf.buffer.lua import Scripts
from rltf.buffer.records import Purpose

PLACES: dict[Purpose, tuple[str, ...]] = {
    "train": ("queued", "executing", "waiting", "buffered"),
    "evaluation": ("queued", "executing", "waiting"),
}
FATES: dict[Purpose, tuple[str, ...]] = {
    "train": ("trained", "baseline", "no_signal", "evicted", "stale", "malformed", "dead_letter"),
    "evaluation": ("evaluated", "malformed", "dead_letter"),
}


PAIRS = (
    ("groups drawn and not finished", "in the draws of steps"),
    ("chunks of evaluations", "offered or held"),
    ("visits handed out", "pushed, with an actor, or to be handed out again"),
)
"""Numbers beside the programs' that are the same at any moment, as `scripts/ledger.lua` gives them."""


class Ledger:
    """Counters that the scripts change together with what they count."""

    def __init__(self, client: redis.Redis, scripts: dict[Purpose, Scripts], keys: dict[Purpose, Keys]) -> None:
        self._client: Any = client
        self._scripts = scripts
        self._keys = keys

    def counts(self, purpose: Purpose = "train") -> dict[str, int]:
        """Programs by place and fate, `generated` first; `waiting` is for the rest of the group. Reads one hash."""
        return _named(self._client.hgetall(self._keys[purpose].counts), purpose)

    def activity(self) -> tuple[int, ...]:
        """Numbers that change whenever a program of training or evaluation gets anywhere."""
        return tuple(count for purpose in PLACES for count in self.counts(purpose).values())

    def events(self, purpose: Purpose = "train") -> dict[str, int]:
        """What happened that is no fate: given_back, reclaimed, groups_evicted, groups_stale, chunks_reoffered."""
        fields: dict[bytes, bytes] = self._client.hgetall(self._keys[purpose].events)
        return {name.decode(): int(value) for name, value in fields.items() if name != b"begun"}

    def check(self) -> str | None:
        """None when the ledger of training and that of evaluation balance, else a sentence that says what does not.

        One script reads the counters and what the queue, the open groups and the buffer really hold, at one moment. Its
        time grows with the number of groups under way, so it is for once in a while.
        """
        for purpose in PLACES:
            problem = self._check(purpose)
            if problem:
                return f"the ledger of {purpose} does not balance: {problem}"
        return None

    def _check(self, purpose: Purpose) -> str | None:
        fields, entries, claimed, unjudged, waiting, buffered, *pairs = self._scripts[purpose].run("ledger")
        counts = _named(dict(zip(fields[::2], fields[1::2], strict=True)), purpose)
        total = sum(counts.values()) - counts["generated"]
        if total != counts["generated"]:
            parts = " + ".join(f"{value} {name}" for name, value in counts.items() if name != "generated" and value)
            return f"{counts['generated']} programs were generated, but {total} are accounted for ({parts})"
        negative = [name for name, value in counts.items() if value < 0]
        if negative:
            return f"{negative[0]} is {counts[negative[0]]}"
        measured = [
            ("queued", entries - claimed, "unclaimed entries in the queue"),
            ("executing", claimed, "claimed entries in the queue"),
            ("waiting", waiting, "samples in open groups"),
        ]
        if purpose == "train":
            measured.append(("buffered", buffered, "unfinished samples in the buffer"))
        for name, real, where in measured:
            if counts[name] != real:
                return f"{counts[name]} are counted as {name}, but there are {real} {where}"
        if unjudged != entries:
            return f"open groups wait for {unjudged} verdicts, but the queue holds {entries} programs"
        for (one, other), (left, right) in zip(PAIRS, zip(pairs[::2], pairs[1::2], strict=True), strict=True):
            if left != right:
                return f"there are {left} {one}, but {right} {other}"
        return None


def format_counts(counts: Mapping[str, int]) -> str:
    """What `Ledger.counts` gave, without zeros, for a message."""
    return ", ".join(f"{value} {name}" for name, value in counts.items() if value) or "no program yet"


def _named(fields: dict[bytes, bytes], purpose: Purpose) -> dict[str, int]:
    names = ("generated", *PLACES[purpose], *FATES[purpose])
    return {name: int(fields.get(name.encode(), 0)) for name in names}
