"""The lines of a run folder's files as they have to be for their readers; a line that is not is left out and counted.

What a reader does not look at is not looked at here either: rows have more keys than these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from rltf.config import first_line
from rltf.telemetry.recorder import Row

_Time = Annotated[float, Meta(ge=0.0, le=1e11)]
"""Seconds since the epoch, of which a date can be made."""
_Seconds = Annotated[float, Meta(ge=-1e11, le=1e11)]
"""Below zero where the clock was set back meanwhile."""
_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Counts = dict[str, _Count]
_Outcomes = dict[Literal["pass", "failure", "runtime_error", "compile_error"], _Count]
_Age = Annotated[str, Meta(pattern=r"^\d{1,9}(-|$)")]


def _require(row: Struct, keys: Sequence[str]) -> None:
    for key in keys:
        if getattr(row, key) is UNSET:
            raise ValueError(f"it has no {key}")


class StepRow(Struct):
    """A line of metrics.jsonl."""

    step: _Count
    time: _Time | UnsetType = UNSET
    objective: str | UnsetType = UNSET
    outcomes: _Outcomes | None | UnsetType = UNSET
    error_types: _Counts | UnsetType = UNSET
    ages: dict[_Age, _Count] | UnsetType = UNSET
    pass_rate: float | UnsetType = UNSET
    staleness: float | UnsetType = UNSET
    loss: float | UnsetType = UNSET
    gradient_norm: float | UnsetType = UNSET
    learning_rate: float | UnsetType = UNSET
    version: int | UnsetType = UNSET
    sample_ids: list[str] | UnsetType = UNSET
    rewards: list[float] | UnsetType = UNSET
    fingerprints: dict[str, str] | UnsetType = UNSET


class HeldOutRow(Struct):
    """A line of held_out.jsonl."""

    label: str
    step: _Count
    seconds: _Seconds
    tasks: _Count
    samples: _Count
    share: Annotated[float, Meta(ge=0.0, le=1.0)] = msgspec.field(name="pass@1")
    set: str | UnsetType = UNSET
    time: _Time | UnsetType = UNSET
    missing: _Count | UnsetType = UNSET
    outcomes: _Outcomes | UnsetType = UNSET
    error_types: _Counts | UnsetType = UNSET


class EventRow(Struct):
    """A line of events.jsonl."""

    time: _Time
    event: str
    attempt: _Count | UnsetType = UNSET
    step: _Count | None | UnsetType = UNSET
    part: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    host: str | UnsetType = UNSET
    offers: dict[str, float] | UnsetType = UNSET
    count: _Count | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raises ValueError when a key that goes with the event is not there."""
        told = ("part", "reason")
        needed = {
            "started": ("attempt",),
            "resumed": ("attempt",),
            "died": told,
            "restarted": told,
            "imbalance": ("reason",),
            "scaled": ("part", "reason", "count"),
            "host_left": ("host", "reason"),
            "host_joined": ("host", "offers"),
        }
        _require(self, needed.get(self.event, ()))


class TelemetryRow(Struct):
    """A line of telemetry/."""

    kind: str
    role: str
    name: str
    waits_for: str | None | UnsetType = UNSET
    start: _Time | UnsetType = UNSET
    end: _Time | UnsetType = UNSET
    time: _Time | UnsetType = UNSET
    value: float | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raises ValueError when a key that goes with the kind is not there."""
        needed = {"phase": ("waits_for", "start", "end"), "count": ("value", "time")}
        _require(self, needed.get(self.kind, ()))


class _Letter(Struct):
    id: str
    fate: str
    reason: str


class _Program(Struct):
    verdict: str
    text: str


class _Example(Struct):
    question: str
    before: _Program
    after: _Program


class Result(Struct):
    """result.json."""

    warnings: list[str] = []
    seconds: dict[str, float] = {}
    steps: _Count = 0
    samples: _Count = 0
    versions: _Count = 0
    ledger: _Counts | None = None
    ledger_checks: _Count | None = None
    imbalance: str | None = None
    buffer_events: _Counts | None = None
    dead_letters: list[_Letter] = []
    examples: list[_Example] = []
    attempts: _Count = 0
    finished: bool = False
    stopped_early: str = ""


class _Position(Struct):
    rows: _Count = 0
    steps: _Count = 0
    samples: _Count = 0


class ProgressFile(Struct):
    """progress.json."""

    position: _Position = msgspec.field(default_factory=_Position)
    lost: _Position = msgspec.field(default_factory=_Position)
    graded: _Count = 0
    kept: _Count = 0
    ledger_checks: _Count = 0
    rl_seconds: _Seconds = 0.0
    phase_seconds: dict[str, float] = {}


def read_object(data: bytes, kind: type[Struct]) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises ValueError, with the reason in one line, unless it is one that `kind` describes.
    """
    try:
        text = data.decode("utf-8")
        found = json.loads(text)  # unlike msgspec it takes NaN, which a loss may be
        msgspec.convert(found, kind)
        if "\\ud" in text.lower():
            json.dumps(found, ensure_ascii=False).encode("utf-8")  # half a character could not be shown
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (ValueError, msgspec.ValidationError) as error:
        raise ValueError(first_line(error)) from None
    for key, value in found.items():
        if key.startswith(("pass@", "max@")) and not isinstance(value, int | float):
            raise ValueError(f"its {key} is no number")
    return dict(found)


def readable(lines: Iterable[bytes], kind: type[Struct], refused: Callable[[int, str], None]) -> Iterable[Row]:
    """The rows of those lines that are as `kind` says; of each other one that is not empty its number, from 1, and why
    not.
    """
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            yield read_object(line, kind)
        except ValueError as error:
            refused(number, str(error))
