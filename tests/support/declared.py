"""What of a run's files is not declared as a metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rltf.monitor.run_folder import RunFolder
from rltf.telemetry.declarations import Source
from rltf.telemetry.metrics import declared
from rltf.telemetry.vocabulary import kind_of


def undeclared(source: Source, rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Fields of rows, and keys of mappings whose keys are declared."""
    found = set()
    for row in rows:
        for name, value in row.items():
            metric = declared(source, name)
            if metric is None:
                found.add(name)
            elif metric.keys:
                found |= {f"{name}/{key}" for key in value if key not in metric.keys}
    return found


def undeclared_in(folder: RunFolder) -> set[str]:
    """Names of a whole run: of its steps, its held-out evaluations, and all that its workers recorded."""
    found = undeclared("step", folder.steps()) | undeclared("held_out", folder.held_out())
    for row in folder.telemetry():
        metric = declared(row["kind"], row["name"])
        if metric is None or kind_of(row["role"]) not in metric.by:
            found.add(f"{row['kind']} {row['name']} of {row['role']}")
    return found
