"""A row of the record of samples: a program, its feedback and what became of it, as columns of a table and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

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

_INTS, _FLOATS = pa.list_(pa.int32()), pa.list_(pa.float32())
_TEST = pa.struct([("outcome", pa.string()), ("error_type", pa.string()), ("cpu_s", pa.float64())])
COLUMNS = pa.schema(
    [
        ("id", pa.string()), ("group_id", pa.string()), ("problem_id", pa.string()),
        ("fate", pa.string()), ("step", pa.int64()), ("reason", pa.string()), ("malformed", pa.binary()),
        # The program; `text` is null where there is none.
        ("purpose", pa.string()), ("label", pa.string()), ("greedy", pa.bool_()), ("text", pa.string()),
        ("lead", pa.string()), ("spans", _INTS), ("has_program", pa.bool_()),
        ("finish_reason", pa.string()), ("end_tokens", pa.int64()),
        ("temperature", pa.float64()), ("top_p", pa.float64()), ("top_k", pa.int64()), ("min_p", pa.float64()),
        ("repetition_penalty", pa.float64()),
        ("prompt_ids", _INTS), ("token_ids", _INTS), ("offsets", _INTS), ("log_probs", _FLOATS),
        ("sampled_log_probs", _FLOATS),
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
REPEATED = [
    field.name
    for field in COLUMNS
    if field.type == pa.string() and field.name not in ("id", "text", "lead", "message", "reason")
]
ENCODINGS = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in ("log_probs", "sampled_log_probs")}

_OF_ROW = ("id", "group_id", "problem_id", "fate", "step", "reason")
_OF_PROGRAM = (
    "purpose", "label", "greedy", "text", "lead", "has_program", "finish_reason", "end_tokens", "temperature", "top_p",
    "top_k", "min_p", "repetition_penalty",
)  # fmt: skip
_LATER = {"lead": "", "has_program": True, "end_tokens": 0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Columns of a program that records of earlier versions do not have, and what they mean there."""
_LATER_LISTS = ("spans", "sampled_log_probs")
"""The same, empty there."""
_COUNTS = ("spans", "prompt_ids", "token_ids", "offsets")
_LOG_PROBS = ("log_probs", "sampled_log_probs")
_OF_FEEDBACK = (
    "outcome", "error_type", "line", "message", "passed", "run", "cpu_s", "wall_s", "memory_mb", "problem_hash",
    "time_limit_s",
    "memory_limit_mb", "checker", "executor_version", "executor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordedSample:
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
    def from_archived(cls, archived: Archived) -> RecordedSample:
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
    def undecoded(cls, archived: Archived) -> RecordedSample:
        """The same with its records as they came."""
        a = archived
        return cls(a.id, a.group_id, a.problem_id, a.fate, a.step, a.reason, raw=a.program + a.feedback)

    @property
    def sample(self) -> Sample | None:
        """The sample; None when it is malformed or never got its feedback."""
        return Sample(program=self.program, feedback=self.feedback) if self.program and self.feedback else None


def table_of(archived: Sequence[Archived]) -> pa.Table:
    """A table with `COLUMNS`, a row per program; what no column can hold is kept as it came."""
    rows = [RecordedSample.from_archived(each) for each in archived]
    try:
        return _columns(rows)
    except (pa.ArrowException, OverflowError, ValueError):
        # A number that no column can hold, from a worker gone wrong or a server that was tampered with.
        return _columns(
            [row if _fits(row) else RecordedSample.undecoded(each) for row, each in zip(rows, archived, strict=True)]
        )


def _fits(row: RecordedSample) -> bool:
    try:
        _columns([row])
    except (pa.ArrowException, OverflowError, ValueError):
        return False
    return True


def _columns(rows: Sequence[RecordedSample]) -> pa.Table:
    found: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _OF_ROW}
    found["malformed"] = [row.raw or None for row in rows]
    programs, feedbacks = [row.program for row in rows], [row.feedback for row in rows]
    found |= {name: [getattr(program, name, None) for program in programs] for name in _OF_PROGRAM}
    found |= {name: [getattr(feedback, name, None) for feedback in feedbacks] for name in _OF_FEEDBACK}
    arrays = {name: pa.array(values, COLUMNS.field(name).type) for name, values in found.items()}
    for name in _COUNTS:
        arrays[name] = _lists([getattr(program, name, ()) for program in programs], np.int32)
    for name in _LOG_PROBS:
        arrays[name] = _lists([getattr(program, name, ()) for program in programs], np.float32)
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


def samples_of(batch: pa.RecordBatch) -> Iterator[RecordedSample]:
    """The rows of a piece of such a table. Raises whatever the columns of a damaged one lead to."""
    batch = _completed(batch)
    nested = {*_COUNTS, *_LOG_PROBS, "versions", "version_starts", "tests"}
    plain = {name: batch.column(name).to_pylist() for name in COLUMNS.names if name not in nested}
    lists = {name: _parts(batch.column(name), lambda column: column.to_numpy()) for name in sorted(nested - {"tests"})}
    tests = _parts(batch.column("tests"), lambda column: column.to_pylist())
    for index in range(batch.num_rows):
        row = {name: values[index] for name, values in plain.items()}
        program = feedback = None
        if row["text"] is not None:
            facts: dict[str, Any] = {name: row[name] for name in ("id", "group_id", "problem_id", *_OF_PROGRAM)}
            facts |= {name: value for name, value in _LATER.items() if facts[name] is None}
            facts |= {name: Ints(lists[name][index].tobytes()) for name in _COUNTS}
            facts |= {name: Floats(lists[name][index].tobytes()) for name in _LOG_PROBS}
            facts["versions"] = list(
                map(VersionRun, lists["versions"][index].tolist(), lists["version_starts"][index].tolist())
            )
            program = Program(**facts)
        if row["outcome"] is not None:
            results = [TestResult(**test) for test in tests[index]]
            feedback = Feedback(**{name: row[name] for name in _OF_FEEDBACK}, tests=results)
        yield RecordedSample(
            **{name: row[name] for name in _OF_ROW}, program=program, feedback=feedback, raw=row["malformed"] or b""
        )


def _completed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the columns that earlier versions did not write, empty."""
    for name in (*_LATER, *_LATER_LISTS):
        if name not in batch.schema.names:
            batch = batch.append_column(name, pa.nulls(batch.num_rows, COLUMNS.field(name).type))
    return batch


def _parts(column: pa.ListArray, convert: Callable[[pa.Array], Any]) -> list[Any]:
    """The value of each row, converted all at once."""
    offsets = column.offsets.to_pylist()
    values = convert(column.values.slice(offsets[0], offsets[-1] - offsets[0]))
    return [values[start - offsets[0] : end - offsets[0]] for start, end in pairwise(offsets)]
