"""The samples of a run on disk: Parquet files that any tool for tables reads, a row per program, all of them together
bounded in bytes.

    samples/part-000000.parquet    compressed with zstd, oldest rows first; columns as in `monitor.sample_columns`
            _dropped.json          what the bound has cost: programs, and the number of the oldest part that is kept

docs/replay.md says what they are for. Pages have checksums, and each part says how many programs were written before
it: what is damaged or missing is noticed, and what is whole is read (`MissingSamples`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from rltf.buffer.records import Archived
from rltf.config import atomic_write, first_line
from rltf.monitor.sample_columns import ENCODINGS, REPEATED, RecordedSample, samples_of, table_of

ROWS_PER_PART = 4096
"""Parts are merged up to so many programs."""
SMALL_PARTS = 16
"""Small parts that may lie behind each other before they are merged: one is written every few seconds."""
_ROWS_AT_ONCE = 512
_PART = re.compile(r"part-(\d{6,})\.parquet")
_BEFORE = b"programs_before"
"""Key in a part's metadata: how many programs all earlier parts have, those that are deleted too."""
_DAMAGE = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError)
"""What reading a damaged part may raise."""


class SampleWriter:
    """Appends programs whose fate is known.

    What is added is on the disk when the call returns: the buffer may then forget it.

    Each call writes a part of its own under a temporary name, synchronises and renames it, so a reader sees whole parts
    and a crash leaves the ones before. When `SMALL_PARTS` small ones lie behind each other they become one: the merged
    part replaces the first, then the others go; a crash in between leaves programs twice, which readers pass over. When
    all parts together have more than `max_bytes` the oldest are deleted, whole and counted; the newest stays.
    """

    def __init__(self, folder: Path, max_bytes: int, kept: int = 0) -> None:
        """Goes on with the parts that `folder` has; `kept`: programs that are known to have been written, if some may
        be missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._dropped, self._oldest = _dropped(folder)
        for number in _numbers(folder):
            if number < self._oldest:  # the driver was killed before it deleted it
                _path(folder, number).unlink()
        self._ranges = {number: _range_of(_path(folder, number)) for number in _numbers(folder)}
        """Of each part how many programs were written before it, and how many it has; a damaged one has none."""
        self._next = max(self._ranges, default=self._oldest - 1) + 1
        self.kept = max(kept, self._dropped, *(before + rows for before, rows in self._ranges.values()), 0)
        """Programs written by all attempts together, those that are deleted too."""

    def add(self, archived: Iterable[Archived]) -> None:
        """Writes them. Raises OSError when the disk is full or gone."""
        archived = list(archived)
        if not archived:
            return
        self._write(self._next, table_of(archived), self.kept)
        self._next += 1
        self.kept += len(archived)
        small: list[int] = []
        for number in sorted(self._ranges, reverse=True):
            if not 0 < self._ranges[number][1] < ROWS_PER_PART:
                break
            small.insert(0, number)
        if len(small) >= SMALL_PARTS or sum(self._ranges[number][1] for number in small) >= ROWS_PER_PART:
            self._merge(small)
        self._keep_within_bound()

    def _write(self, number: int, table: pa.Table, before: int) -> None:
        table = table.replace_schema_metadata({_BEFORE: str(before)})
        with atomic_write(_path(self._folder, number), durable=True) as temporary:
            pq.write_table(
                table,
                temporary,
                compression="zstd",
                use_dictionary=REPEATED,
                column_encoding=ENCODINGS,
                write_page_checksum=True,
            )
        self._ranges[number] = before, table.num_rows

    def _merge(self, numbers: Sequence[int]) -> None:
        if len(numbers) < 2:
            return
        tables: list[pa.Table] = []
        for number in numbers:
            try:
                tables.append(_opened(_path(self._folder, number)).read())
            except _DAMAGE:  # it stays as it is, and what is written from now on lies behind it
                self._ranges[number] = self._ranges[number][0], 0
                return
        self._write(numbers[0], pa.concat_tables(tables, promote_options="default"), self._ranges[numbers[0]][0])
        for number in numbers[1:]:
            _path(self._folder, number).unlink()
            del self._ranges[number]

    def _keep_within_bound(self) -> None:
        sizes = {number: _path(self._folder, number).stat().st_size for number in sorted(self._ranges)}
        while len(sizes) > 1 and sum(sizes.values()) > self._max_bytes:
            number = min(sizes)
            del sizes[number]
            self._dropped, self._oldest = self._dropped + self._ranges.pop(number)[1], min(sizes)
            with atomic_write(self._folder / "_dropped.json") as temporary:
                temporary.write_text(json.dumps({"programs": self._dropped, "oldest_part": self._oldest}) + "\n")
            _path(self._folder, number).unlink()


@dataclass
class MissingSamples:
    """What a reading of samples/ did not find."""

    parts: dict[str, str] = field(default_factory=dict)
    """Damaged ones, with the reason."""
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each part that was read: how many programs were written before it, and how many of its own were read."""

    def in_words(self, folder: Path, kept: int) -> str:
        """A sentence, empty when nothing is lost. `kept`: how many programs were written in all, if that is known."""
        expected, missing = dropped_samples(folder), 0
        for _, (before, rows) in sorted(self.ranges.items()):
            missing += max(0, before - expected)
            expected = max(expected, before + rows)
        missing += max(0, kept - expected)
        if not self.parts and not missing:
            return ""
        number = f"{missing:,} programs of {folder} are lost" if missing else f"programs of {folder} are lost"
        damaged = "; ".join(f"{name} is damaged: {reason}" for name, reason in self.parts.items())
        return f"{number}: {damaged or 'parts of it are missing'}"


def read_samples(folder: Path, lost: MissingSamples | None = None) -> Iterator[RecordedSample]:
    """Every program with its fate, in the order in which the fates were known, what is still under way last; each once.

    Parts may be written and merged meanwhile. One that is damaged is read as far as it goes; `lost` is told.
    """
    lost = lost or MissingSamples()
    seen: set[str] = set()
    under_way: dict[str, RecordedSample] = {}
    """Of the end of each attempt; a later one may know the fate."""
    done: set[int] = set()
    while waiting := sorted(set(_numbers(folder)) - done):
        oldest = _dropped(folder)[1]
        for number in waiting:
            done.add(number)
            if number < oldest:
                continue
            before, rows = _range_of(_path(folder, number))[0], 0
            try:
                with _opened(_path(folder, number)) as file:
                    for batch in file.iter_batches(_ROWS_AT_ONCE):
                        for sample in samples_of(batch):
                            rows += 1
                            if sample.fate == "under_way":
                                under_way[sample.id] = sample
                            elif sample.id not in seen:  # a driver that was killed between two writes reads some again
                                seen.add(sample.id)
                                yield sample
            except FileNotFoundError:  # merged into an earlier one meanwhile, which has to be read again
                done -= {earlier for earlier in done if earlier < number}
                break
            except _DAMAGE as error:
                lost.parts[_path(folder, number).name] = first_line(error)
            if rows:
                lost.ranges[number] = before, rows
    yield from (sample for sample in under_way.values() if sample.id not in seen)


def dropped_samples(folder: Path) -> int:
    """Programs that were deleted because of the bound."""
    return _dropped(folder)[0]


def kept_rows(folder: Path) -> int:
    """About how many programs are kept, for a measure of progress; a part that cannot be read counts as none."""
    rows = 0
    for number in _numbers(folder):
        with suppress(OSError, pa.ArrowException):
            rows += pq.read_metadata(_path(folder, number)).num_rows
    return rows


def _dropped(folder: Path) -> tuple[int, int]:
    """Programs deleted, and the number of the oldest part that is kept."""
    file = folder / "_dropped.json"
    if not file.exists():
        return 0, 0
    try:
        facts = msgspec.json.decode(file.read_bytes(), type=dict[str, int])
        return facts["programs"], facts["oldest_part"]
    except (OSError, msgspec.DecodeError, KeyError):  # as if nothing had been deleted: then so much is missing
        return 0, 0


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)


def _range_of(path: Path) -> tuple[int, int]:
    """How many programs were written before the part, and how many it has; none of one that cannot be read."""
    try:
        found = pq.read_metadata(path)
        return int((found.metadata or {}).get(_BEFORE, 0)), found.num_rows
    except _DAMAGE:
        return 0, 0


def _numbers(folder: Path) -> list[int]:
    found = (_PART.fullmatch(path.name) for path in folder.glob("part-*.parquet"))
    return sorted(int(match.group(1)) for match in found if match)


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"
