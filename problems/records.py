"""From a data set's records to problems: what the loaders of published formats have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rltf.problems.data_files import Placed, read_data
from rltf.problems.fields import hinted, unread
from rltf.problems.hub import hub_rows
from rltf.problems.problem import Problem, Skipped, UnreadFields
from rltf.problems.spec import IdFilter, Spec


@dataclass(frozen=True, slots=True)
class Format:
    """A published format."""

    id_field: str
    """The field with the record's name, a string or an integer."""
    fields: Collection[str]
    """All fields that it has; others are told."""
    make: Callable[[str, dict[str, Any]], Problem]
    """The problem from its id and the record. Raises ValueError with the reason why there is none."""
    prefix: str = ""
    """What stands before the name in a problem's id."""


def problems_of(spec: Spec, rows: Iterable[Placed], form: Format) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of the records that the option `ids` chooses; it is compared with the last part of their names."""
    chosen = IdFilter(spec)
    for place, record in rows:
        if isinstance(record, Skipped):
            yield record
            continue
        name = record.get(form.id_field)
        if name is None or name == "":
            yield Skipped(place, f"it has no {form.id_field}")
        elif isinstance(name, bool) or not isinstance(name, str | int):
            yield Skipped(place, f"{form.id_field} must be a string or an integer")
        elif chosen(str(name).rsplit("/", 1)[-1]):
            fields = unread(record, form.fields)
            if fields:
                yield UnreadFields(f"{form.prefix}{name}", place, fields)
            try:
                yield form.make(f"{form.prefix}{name}", record)
            except ValueError as error:
                yield Skipped(f"{form.prefix}{name}", "; ".join([str(error), *hinted(fields)]), place)
    chosen.require_matches()


def rows_of(spec: Spec, hub: str, *splits: str, config: str | None = None) -> Iterator[Placed]:
    """Records of the SPEC's files, without a path those of a hub's data set, split by split."""
    if spec.path is not None:
        yield from read_data(spec.path)
        return
    for split in splits:
        within = f"{split} " if len(splits) > 1 else ""
        for number, row in enumerate(hub_rows(spec, hub, config, split=split), 1):
            yield f"{within}row {number}", dict(row)


def text(record: dict[str, Any], field: str, default: str | None = None) -> str:
    """A field of text. Raises ValueError for another value, and for none where there is no default."""
    value = record.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise ValueError(f"it has no {field}" if value is None else f"{field} must be a string")
    return value


def texts(record: dict[str, Any], field: str) -> list[str]:
    """A list of texts, empty where the field is absent. Raises ValueError for another value."""
    value = record.get(field)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{field} must be a list of strings")
    return value
