"""The declared metrics by their names on the wire, and what of a row is shown where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from rltf.telemetry.declarations import EVERYWHERE, METRICS, Metric, Place, Source

_EXACT = {(source, metric.name): metric for source, metrics in METRICS.items() for metric in metrics}
_FAMILIES = [(source, metric) for (source, name), metric in _EXACT.items() if "*" in name]
_FAMILIES.sort(key=lambda family: -len(family[1].name))  # `pass@1_se` is a `pass@*_se` before it is a `pass@*`


def declared(source: Source, name: str) -> Metric | None:
    """The declaration of a metric by its name on the wire; None where there is none.

    Those of a step that have a piece in the status line are numbers of the run too.
    """
    families = (metric for of, metric in _FAMILIES if of == source and fnmatchcase(name, metric.name))
    found = _EXACT.get((source, name)) or next(families, None)
    return declared("step", name) if found is None and source == "run" else found


def meaning(source: Source, name: str) -> str:
    """What a metric means, a sentence; its name in words where it is not declared."""
    metric = declared(source, name)
    return f"{name.replace('_', ' ')}." if metric is None else metric.meaning


def rank(source: Source, name: str) -> int:
    """The rank in the status line of a declared metric that has a piece there."""
    line = _EXACT[source, name].line
    assert line is not None
    return line.rank


@cache
def busy_phases(kind: str, busy: bool = True) -> frozenset[str]:
    """Phases in which a worker of that kind generates or trains; with `busy` false the others, waits apart."""
    return frozenset(
        phase.name for phase in METRICS["phase"] if kind in phase.by and phase.busy == busy and phase.name != "wait"
    )


def numbers_of(row: Mapping[str, Any], source: Source, place: Place) -> dict[str, float]:
    """The finite numbers of a row that show at a place, by path: {"seconds": {"read": 1}} gives {"seconds/read": 1.0}.

    What is not declared shows where most numbers do.
    """
    places = {name: EVERYWHERE if (metric := declared(source, name)) is None else metric.shows for name in row}
    return dict(_flat({name: value for name, value in row.items() if place in places[name]}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)
