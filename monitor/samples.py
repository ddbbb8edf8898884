"""The samples of a run on disk: Parquet files that any tool for tables reads, a row per program, all of them together
bounded in bytes.

    samples/part-000000.parquet    compressed with zstd, oldest rows first; columns as in `COLUMNS`
            _dropped.json          what the bound has cost: programs, and the number of the oldest part that is kept

docs/replay.md says what they are for. Pages have checksums, and each part says how many programs were written before
it: what is damaged or missing is noticed, and what is whole is read (`Lost`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rltf.buffer.columns import Floats, Ints
from rltf.buffer.records import (
    Archived,
    Fate,
    Feedback,
    Malformed,
    Program,
    Sample,
    TestResult,
    VersionRun,
    decode_feedback,
    decode_program,
)
from rltf.config import first_line, gone_on_failure, writing

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

_INTS, _FLOATS = pa.list_(pa.int32()), pa.list_(pa.float32())
_TEST = pa.struct([("outcome", pa.string()), ("error_type", pa.string()), ("cpu_s", pa.float64())])
COLUMNS = pa.schema(
    [
        ("id", pa.string()), ("group_id", pa.string()), ("problem_id", pa.string()),
        ("fate", pa.string()), ("step", pa.int64()), ("reason", pa.string()), ("malformed", pa.binary()),
        # The program; `text` is null where there is none.
        ("purpose", pa.string()), ("label", pa.string()), ("greedy", pa.bool_()), ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("temperature", pa.float64()), ("top_p", pa.float64()),
        ("prompt_ids", _INTS), ("token_ids", _INTS), ("offsets", _INTS), ("log_probs", _FLOATS),
        ("versions", _INTS), ("version_starts", _INTS),
        # What the tests said; `outcome` is null where they said nothing.
        ("outcome", pa.string()), ("error_type", pa.string()), ("line", pa.int64()), ("message", pa.string()),
        ("passed", pa.int64()), ("run", pa.int64()), ("tests", pa.list_(_TEST)),
        ("cpu_s", pa.float64()), ("wall_s", pa.float64()), ("memory_mb", pa.float64()),
        ("problem_hash", pa.string()), ("time_limit_s", pa.float64()), ("memory_limit_mb", pa.int64()),
        ("checker", pa.string()),
        ("executor_version", pa.string()), ("executor", pa.string()),
    ]
)  # fmt: skip
"""Names as in `buffer.records`; versions and version_starts are the program's runs of policy versions, malformed what
came in its place."""

# Dictionaries of numbers would cost more time than everything else; the bytes of a float by themselves compress better.
_REPEATED = [
    field.name
    for field in COLUMNS
    if field.type == pa.string() and field.name not in ("id", "text", "message", "reason")
]
_ENCODINGS = {"log_probs.list.element": "BYTE_STREAM_SPLIT"}

_OF_ROW = ("id", "group_id", "problem_id", "fate", "step", "reason")
_OF_PROGRAM = ("purpose", "label", "greedy", "text", "finish_reason", "temperature", "top_p")
_OF_FEEDBACK = (
    "outcome", "error_type", "line", "message", "passed", "run", "cpu_s", "wall_s", "memory_mb", "problem_hash",
    "time_limit_s",
    "memory_limit_mb", "checker", "executor_version", "executor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeptSample:
    """A program, its feedback and what became of it: one row."""

    id: str
    group_id: str
    problem_id: str
    fate: Fate
    step: int | None = None
    """Learner step that used it, the last of them."""
    reason: str = ""
    """Why it was dead-lettered or malformed; of one under way what it was used for so far."""
    program: Program | None = None
    feedback: Feedback | None = None
    """None when it never got one."""
    raw: bytes = b""
    """What came in the program's place when it is malformed."""

    @classmethod
    def of(cls, archived: Archived) -> KeptSample:
        """The same with its records decoded; what does not decode is kept as it came."""
        program = feedback = None
        raw = b""
        try:
            program = decode_program(archived.program)
            if (program.id, program.group_id, program.problem_id) != (
                archived.id,
                archived.group_id,
                archived.problem_id,
            ):
                raise Malformed(f"it is program {program.id}, not {archived.id}")
        except Malformed:
            program, raw = None, archived.program
        try:
            feedback = decode_feedback(archived.feedback) if archived.feedback else None
        except Malformed:
            raw += archived.feedback
        a = archived
        return cls(a.id, a.group_id, a.problem_id, a.fate, a.step, a.reason, program, feedback, raw)

    @classmethod
    def undecoded(cls, archived: Archived) -> KeptSample:
        """The same with its records as they came."""
        a = archived
        return cls(a.id, a.group_id, a.problem_id, a.fate, a.step, a.reason, raw=a.program + a.feedback)

    @property
    def sample(self) -> Sample | None:
        """The sample; None when it is malformed or never got its feedback."""
        return Sample(program=self.program, feedback=self.feedback) if self.program and self.feedback else None


class SampleWriter:
    """Appends programs whose fate is known.

    What is added is on the disk when the call returns: the buffer may then forget it.

    Each call writes a part of its own under a temporary name, synchronises and renames it, so a reader sees whole parts
    and a crash leaves the ones before. When `SMALL_PARTS` small ones lie behind each other they become one: the merged
    part replaces the first, then the others go; a crash in between leaves programs twice, which readers pass over. When
    all parts together have more than `most_bytes` the oldest are deleted, whole and counted; the newest stays.
    """

    def __init__(self, folder: Path, most_bytes: int, kept: int = 0) -> None:
        """Goes on with the parts that `folder` has; `kept`: programs that are known to have been written, if some may
        be missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._most_bytes = most_bytes
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
        self._write(self._next, _table_of(archived), self.kept)
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
        final = _path(self._folder, number)
        temporary = self._folder / "_part.tmp"  # readers of a whole folder leave names with an underscore out
        table = table.replace_schema_metadata({_BEFORE: str(before)})
        with writing(final), gone_on_failure(temporary):
            pq.write_table(
                table,
                temporary,
                compression="zstd",
                use_dictionary=_REPEATED,
                column_encoding=_ENCODINGS,
                write_page_checksum=True,
            )
            _synchronise(temporary)
            os.replace(temporary, final)
            _synchronise(self._folder)
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
        self._write(numbers[0], pa.concat_tables(tables), self._ranges[numbers[0]][0])
        for number in numbers[1:]:
            _path(self._folder, number).unlink()
            del self._ranges[number]

    def _keep_within_bound(self) -> None:
        sizes = {number: _path(self._folder, number).stat().st_size for number in sorted(self._ranges)}
        while len(sizes) > 1 and sum(sizes.values()) > self._most_bytes:
            number = min(sizes)
            del sizes[number]
            self._dropped, self._oldest = self._dropped + self._ranges.pop(number)[1], min(sizes)
            temporary = self._folder / "_dropped.tmp"
            with writing(temporary), gone_on_failure(temporary):
                temporary.write_text(json.dumps({"programs": self._dropped, "oldest_part": self._oldest}) + "\n")
                os.replace(temporary, self._folder / "_dropped.json")
            _path(self._folder, number).unlink()


@dataclass
class Lost:
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


def read_samples(folder: Path, lost: Lost | None = None) -> Iterator[KeptSample]:
    """Every program with its fate, in the order in which the fates were known, what is still under way last; each once.

    Parts may be written and merged meanwhile. One that is damaged is read as far as it goes; `lost` is told.
    """
    lost = lost or Lost()
    seen: set[str] = set()
    under_way: dict[str, KeptSample] = {}
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
                        for sample in _samples_of(batch):
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


def _synchronise(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- to columns and back


def _table_of(archived: Sequence[Archived]) -> pa.Table:
    rows = [KeptSample.of(each) for each in archived]
    try:
        return _columns(rows)
    except (pa.ArrowException, OverflowError, ValueError):
        # A number that no column can hold, from a worker gone wrong or a server that was tampered with.
        return _columns(
            [row if _fits(row) else KeptSample.undecoded(each) for row, each in zip(rows, archived, strict=True)]
        )


def _fits(row: KeptSample) -> bool:
    try:
        _columns([row])
    except (pa.ArrowException, OverflowError, ValueError):
        return False
    return True


def _columns(rows: Sequence[KeptSample]) -> pa.Table:
    found: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _OF_ROW}
    found["malformed"] = [row.raw or None for row in rows]
    programs, feedbacks = [row.program for row in rows], [row.feedback for row in rows]
    found |= {name: [getattr(program, name, None) for program in programs] for name in _OF_PROGRAM}
    found |= {name: [getattr(feedback, name, None) for feedback in feedbacks] for name in _OF_FEEDBACK}
    arrays = {name: pa.array(values, COLUMNS.field(name).type) for name, values in found.items()}
    for name in ("prompt_ids", "token_ids", "offsets"):
        arrays[name] = _lists([getattr(program, name, ()) for program in programs], np.int32)
    arrays["log_probs"] = _lists([program.log_probs if program else () for program in programs], np.float32)
    runs = [program.versions if program else [] for program in programs]
    arrays["versions"] = _lists([[run.version for run in each] for each in runs], np.int32)
    arrays["version_starts"] = _lists([[run.first_token for run in each] for each in runs], np.int32)
    tests = [feedback.tests if feedback else [] for feedback in feedbacks]
    flat = [test for each in tests for test in each]
    parts = [pa.array([getattr(test, field.name) for test in flat], field.type) for field in _TEST]
    arrays["tests"] = pa.ListArray.from_arrays(_starts(tests), pa.StructArray.from_arrays(parts, fields=list(_TEST)))
    return pa.Table.from_arrays([arrays[name] for name in COLUMNS.names], schema=COLUMNS)


def _lists(rows: Sequence[Sequence[float]], kind: type[np.generic]) -> pa.ListArray:
    """Lists of numbers as one column, copied a list at a time."""
    values = np.concatenate([np.asarray(row, kind) for row in rows])
    return pa.ListArray.from_arrays(_starts(rows), pa.array(values))


def _starts(rows: Sequence[Sequence[Any]]) -> pa.Array:
    return pa.array(np.cumsum([0, *map(len, rows)]), pa.int32())


def _samples_of(batch: pa.RecordBatch) -> Iterator[KeptSample]:
    nested = {"prompt_ids", "token_ids", "offsets", "log_probs", "versions", "version_starts", "tests"}
    plain = {name: batch.column(name).to_pylist() for name in COLUMNS.names if name not in nested}
    lists = {name: _parts(batch.column(name), lambda column: column.to_numpy()) for name in sorted(nested - {"tests"})}
    tests = _parts(batch.column("tests"), lambda column: column.to_pylist())
    for index in range(batch.num_rows):
        row = {name: values[index] for name, values in plain.items()}
        program = feedback = None
        if row["text"] is not None:
            facts: dict[str, Any] = {name: row[name] for name in ("id", "group_id", "problem_id", *_OF_PROGRAM)}
            facts |= {name: Ints(lists[name][index].tobytes()) for name in ("prompt_ids", "token_ids", "offsets")}
            facts["log_probs"] = Floats(lists["log_probs"][index].tobytes())
            facts["versions"] = list(
                map(VersionRun, lists["versions"][index].tolist(), lists["version_starts"][index].tolist())
            )
            program = Program(**facts)
        if row["outcome"] is not None:
            results = [TestResult(**test) for test in tests[index]]
            feedback = Feedback(**{name: row[name] for name in _OF_FEEDBACK}, tests=results)
        yield KeptSample(
            **{name: row[name] for name in _OF_ROW}, program=program, feedback=feedback, raw=row["malformed"] or b""
        )


def _parts(column: pa.ListArray, convert: Callable[[pa.Array], Any]) -> list[Any]:
    """The value of each row, converted all at once."""
    offsets = column.offsets.to_pylist()
    values = convert(column.values.slice(offsets[0], offsets[-1] - offsets[0]))
    return [values[start - offsets[0] : end - offsets[0]] for start, end in pairwise(offsets)]
