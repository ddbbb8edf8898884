"""What a metric's declaration says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["step", "held_out", "count", "gauge", "phase", "run"]
"""Where a metric comes from: a field of a row of metrics.jsonl or held_out.jsonl, a counter, gauge or phase of a
worker's recorder, or a number that the driver makes of all of these (`monitor.state.RunState.numbers`)."""

Place = Literal["gauge", "tensorboard", "status"]
"""Where a metric shows beside the status line and the report: as a metric of Ray, which Prometheus reads; in
TensorBoard; in what `launch.py status` prints."""

EVERYWHERE: tuple[Place, ...] = ("gauge", "tensorboard")
"""Those of most numbers."""


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of the status line."""

    rank: int
    """Where there is no room for all the highest go first; `ALWAYS` stays."""
    text: str = ""
    """A format string over the status line's numbers, left out where one of them is absent; empty: the piece tells more
    than numbers, and `monitor.status_line` words it."""
    short: str = ""
    """What stands for it where there is little room; empty: the same."""


ALWAYS = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Its name is the one on the wire; a `*` in it stands for a part that differs."""

    name: str
    meaning: str
    """A sentence."""
    unit: str = ""
    """`share`: 0 to 1; `s`: seconds; empty: a number without one."""
    by: tuple[str, ...] = ()
    """Kinds of workers whose recorders have it."""
    keys: tuple[str, ...] = ()
    """Of a mapping in a row, where they are known beforehand."""
    shows: tuple[Place, ...] = EVERYWHERE
    line: Line | None = None
    report: str = ""
    """Heading of the section of report.md that shows it."""
    busy: bool = False
    """Of a phase: whether it is generation or training, in which actors and learner are to overlap."""
