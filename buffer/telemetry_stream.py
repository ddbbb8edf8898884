"""Measurements and finished samples on their way to the driver: bounded, read by position, what is lost is counted.

The driver may stop for a while and goes on where it was; `status` may read beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from rltf.buffer.groups import Fields, archived_of, read_fields
from rltf.buffer.lua import Place
from rltf.buffer.records import Archived

Row = dict[str, Any]
Item = TypeVar("Item")

_rows = msgspec.msgpack.Decoder(list[Row])

MAX_ROWS = 50_000
"""Recorder rows kept for a reader that stopped: about a quarter of an hour of ten workers, 10 MB."""
MAX_STEP_ROWS = 2_000
"""Step rows kept; they name their samples, so a row has some kilobytes."""


@dataclass(frozen=True, slots=True)
class StreamSlice(Generic[Item]):
    """What came after a position."""

    items: list[Item]
    position: int
    """Where to go on."""
    lost: int
    """Items after the position asked for that were dropped before they were read, or are no rows."""


class TelemetryStream(Place):
    """Recorder rows and learner step rows in, both and the archive out."""

    def append(self, rows: list[Row]) -> None:
        """Adds recorder rows (plain values); fits Recorder's sink."""
        self._send("rows", rows, MAX_ROWS)

    def append_step(self, row: Row) -> None:
        """Adds the metrics of one learner step."""
        self._send("steps", [row], MAX_STEP_ROWS)

    def _send(self, stream: str, rows: list[Row], kept: int) -> None:
        if not rows:
            return
        self._messages.send("append", stream, len(rows), msgspec.msgpack.encode(rows), kept)

    def rows(self, position: int = 0, count: int = 1000) -> StreamSlice[Row]:
        """Recorder rows after `position`, from at most `count` messages. Reading removes nothing."""
        return self._read(self._keys.rows, position, count)

    def steps(self, position: int = 0, count: int = 1000) -> StreamSlice[Row]:
        """Step rows after `position`, at most `count`. Reading removes nothing."""
        return self._read(self._keys.steps, position, count)

    def _read(self, key: str, position: int, count: int) -> StreamSlice[Row]:
        entries = self._client.xrange(key, f"({position}-0", "+", count=count)
        items: list[Row] = []
        lost, end = 0, position
        for entry_id, fields in entries:
            last, size = int(entry_id.split(b"-")[0]), int(fields[b"n"])
            # An entry may reach back before a position that lies inside it; only what is after the position counts.
            lost += max(0, last - size - end)
            rows = _rows_of(fields[b"data"])
            if len(rows) == size:
                items += rows[max(0, end - (last - size)) :]
            else:
                lost += last - max(end, last - size)
            end = last
        return StreamSlice(items, end, lost)

    def positions(self) -> dict[str, int]:
        """How far `rows`, `steps` and samples (`archived`) reach."""
        rows, steps, samples = self._client.hmget(self._keys.totals, "rows", "steps", "archived")
        return {"rows": int(rows or 0), "steps": int(steps or 0), "samples": int(samples or 0)}

    def archive_length(self) -> int:
        """Samples with a known fate that wait for the driver; the oldest of too many are lost (`archived`)."""
        return int(self._client.hget(self._keys.totals, "archive_held") or 0)

    def archived(self, position: int = 0, count: int = 64) -> StreamSlice[Archived]:
        """Programs whose fate is known, from at most `count` groups after `position`.

        Asking for what follows a position confirms that everything before it is written: it is deleted. So there is one
        reader. Beyond `buffer.archive_capacity` and a held-out evaluation the oldest are lost, which the next call
        counts.
        """
        if position:
            self._scripts.run("drained", position)
        entries = self._client.xrange(self._keys.archive, f"({position}-0", "+", count=count)
        groups = read_fields(self._client, [fields[b"key"] for _, fields in entries])
        items: list[Archived] = []
        lost, end = 0, position
        for (entry_id, fields), group in zip(entries, groups, strict=True):
            last, size = int(entry_id.split(b"-")[0]), int(fields[b"n"])
            lost += last - size - end
            # None: dropped between the two reads because the archive is full; or something outside the flow has written
            # here.
            members = _members(fields[b"key"], group)
            items += members or []
            lost += size if members is None else 0
            end = last
        return StreamSlice(items, end, lost)

    def under_way(self, count: int = 64) -> Iterator[StreamSlice[Archived]]:
        """Training programs that have a place and no fate, `count` groups at a time: what is left when the workers have
        ended.

        A group that cannot be read is counted as one program lost.
        """
        group_ids = [*self._client.smembers(self._keys.open)]
        group_ids += [*self._client.zrange(self._keys.buffer, 0, -1), *self._client.zrange(self._keys.drawn, 0, -1)]
        for first in range(0, len(group_ids), count):
            keys = [self._keys.group(name.decode()).encode() for name in group_ids[first : first + count]]
            found = [_members(key, group) for key, group in zip(keys, read_fields(self._client, keys), strict=True)]
            yield StreamSlice([row for rows in found for row in rows or []], 0, found.count(None))


def _members(key: bytes, group: Fields) -> list[Archived] | None:
    """All members of a group; None when it cannot be read."""
    try:
        return archived_of(key, group)
    except (KeyError, msgspec.MsgspecError):
        return None


def _rows_of(data: bytes) -> list[Row]:
    """The rows of one message; none when it holds anything else."""
    try:
        return _rows.decode(data)
    except msgspec.MsgspecError:
        return []
