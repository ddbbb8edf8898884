"""Who worked on what and who waited for whom: phases of telemetry rows turned into spans, shares and overlaps."""

from __future__ import annotations

import heapq
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rltf.telemetry.metrics import busy_phases
from rltf.telemetry.recorder import Row
from rltf.telemetry.vocabulary import PRODUCTS, Product, kind_of


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one role's time spent in one phase (seconds since the epoch)."""

    start: float
    end: float
    name: str
    waits_for: str | None

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


Timeline = dict[str, list[Span]]
"""Spans of each role, disjoint and in order."""


def timeline(rows: Iterable[Row]) -> Timeline:
    """Spans of each role from telemetry rows.

    Where phases are nested, each instant belongs to the innermost: the one begun last.
    """
    phases: dict[str, list[Span]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "phase" and row["end"] > row["start"]:
            phases[row["role"]].append(Span(row["start"], row["end"], row["name"], row["waits_for"]))
    return {role: _innermost(spans) for role, spans in sorted(phases.items(), key=lambda item: _order(item[0]))}


def _order(role: str) -> tuple[int, str, int]:
    kinds = ("run", "learner", "actor", "executor")
    kind, number = kind_of(role), role.rpartition("-")[2]
    return (kinds.index(kind) if kind in kinds else len(kinds), kind, int(number) if number.isdigit() else 0)


def _innermost(phases: Sequence[Span]) -> list[Span]:
    """Sweeps over the borders of possibly nested phases; at each instant the one begun last wins."""
    phases = sorted(phases, key=lambda span: (span.start, -span.end))
    borders = sorted({border for span in phases for border in (span.start, span.end)})
    spans: list[Span] = []
    open_: list[tuple[float, int]] = []
    begun = 0
    for start, end in zip(borders, borders[1:], strict=False):
        while begun < len(phases) and phases[begun].start <= start:
            heapq.heappush(open_, (-phases[begun].start, -begun))
            begun += 1
        while open_ and phases[-open_[0][1]].end <= start:
            heapq.heappop(open_)
        if not open_:
            continue
        inner = phases[-open_[0][1]]
        last = spans[-1] if spans else None
        if last is not None and last.end == start and (last.name, last.waits_for) == (inner.name, inner.waits_for):
            spans[-1] = Span(last.start, end, last.name, last.waits_for)
        else:
            spans.append(Span(start, end, inner.name, inner.waits_for))
    return spans


def clipped(spans: Iterable[Span], begin: float, end: float) -> list[Span]:
    """The parts of the spans between two times."""
    cut = (Span(max(span.start, begin), min(span.end, end), span.name, span.waits_for) for span in spans)
    return [span for span in cut if span.end > span.start]


@dataclass
class Shares:
    """Where the seconds of all workers of one kind went within a window; all values in worker seconds."""

    workers: int = 0
    total: float = 0.0
    working: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By phase."""
    waiting: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By the part waited for."""

    @property
    def unaccounted(self) -> float:
        """Time outside every phase."""
        return max(0.0, self.total - sum(self.working.values()) - sum(self.waiting.values()))


def shares(spans: Timeline, begin: float, end: float) -> dict[str, Shares]:
    """Shares of each kind of worker between two times, the run as a whole left out."""
    kinds: dict[str, Shares] = {}
    for role, role_spans in spans.items():
        if role == "run":
            continue
        share = kinds.setdefault(kind_of(role), Shares())
        share.workers += 1
        share.total += end - begin
        for span in clipped(role_spans, begin, end):
            if span.waits_for is None:
                share.working[span.name] += span.seconds
            else:
                share.waiting[span.waits_for] += span.seconds
    return kinds


def training_window(spans: Timeline) -> tuple[float, float] | None:
    """From the first training program's begin to the end of the learner's last step; None when there was no
    such time.
    """
    work = [
        (kind_of(role), span) for role, role_spans in spans.items() for span in role_spans if span.waits_for is None
    ]
    starts = [span.start for kind, span in work if span.name in busy_phases(kind)]
    ends = [span.end for kind, span in work if kind == "learner" and span.name in busy_phases(kind)]
    if not starts or not ends or max(ends) <= min(starts):
        return None
    return min(starts), max(ends)


def overlap(spans: Timeline, begin: float, end: float) -> float | None:
    """Share of the learner's training time (0 to 1) during which at least one actor generated; None when it did not
    train.

    Only work on training programs and steps counts, neither waiting nor what is declared as other work. With several
    learner workers, training time is when any of them worked.
    """
    training = _union(spans, "learner", begin, end)
    generating = _union(spans, "actor", begin, end)
    total = sum(stop - start for start, stop in training)
    if not total:
        return None
    common, i, j = 0.0, 0, 0
    while i < len(training) and j < len(generating):
        common += max(0.0, min(training[i][1], generating[j][1]) - max(training[i][0], generating[j][0]))
        if training[i][1] < generating[j][1]:
            i += 1
        else:
            j += 1
    return common / total


def _union(spans: Timeline, kind: str, begin: float, end: float) -> list[tuple[float, float]]:
    """Times at which any worker of the kind worked on training programs or steps, disjoint and in order."""
    other_work = busy_phases(kind, busy=False)
    work = sorted(
        (span.start, span.end)
        for role, role_spans in spans.items()
        if kind_of(role) == kind
        for span in clipped(role_spans, begin, end)
        if span.waits_for is None and span.name not in other_work
    )
    merged: list[tuple[float, float]] = []
    for start, stop in work:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def binned(spans: Iterable[Span], edges: np.ndarray) -> Mapping[tuple[str, str | None], np.ndarray]:
    """Share of each bin (edges: N+1 times; values: N shares, 0 to 1) that went into each (phase, part waited for)."""
    width = np.diff(edges)
    bins: dict[tuple[str, str | None], np.ndarray] = defaultdict(lambda: np.zeros(len(width)))
    for span in clipped(spans, float(edges[0]), float(edges[-1])):
        key = ("wait", span.waits_for) if span.waits_for is not None else (span.name, None)
        first = min(int(np.searchsorted(edges, span.start, "right")) - 1, len(width) - 1)
        last = min(int(np.searchsorted(edges, span.end, "left")), len(width))
        low = np.maximum(edges[first:last], span.start)
        high = np.minimum(edges[first + 1 : last + 1], span.end)
        bins[key][first:last] += (high - low) / width[first:last]
    return bins


class Counts:
    """What workers made (`PRODUCTS`), row by row as plain numbers: all rows of a long run at once would be too many."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str], tuple[array[float], array[float]]] = {
            (product.kind, product.counter): (array("d"), array("d")) for product in PRODUCTS
        }

    def reading(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows; what they count is noted as they pass."""
        for row in rows:
            if row["kind"] == "count" and (points := self._points.get((kind_of(row["role"]), row["name"]))) is not None:
                points[0].append(row["time"])
                points[1].append(row["value"])
            yield row

    def per_second(self, product: Product, edges: np.ndarray) -> np.ndarray:
        """Rates in each bin, all workers of a kind together. (N+1 edges in seconds since the epoch give N rates.)"""
        times, values = self._points[product.kind, product.counter]
        totals, _ = np.histogram(np.asarray(times), bins=edges, weights=np.asarray(values))
        return np.asarray(totals / np.diff(edges))
