"""Any table: a data set of the hub, or files, whose columns the SPEC names by the fields of `jsonl`.

`hf:owner/name,split=train,question=prompt,tests=test_list`; a column that has a field's own name needs no mention, and
`inputs=input_output.inputs` looks into a column of objects or of JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rltf.config import UserError, suggest
from rltf.problems import jsonl
from rltf.problems.data_files import Placed, read_data
from rltf.problems.fields import hinted
from rltf.problems.files import parse_field
from rltf.problems.hub import hub_rows
from rltf.problems.problem import Problem, Skipped
from rltf.problems.spec import IdFilter, Source, Spec

FIELDS = tuple(field for field in jsonl.FIELDS if field not in ("checker", "tolerance"))
"""Those that a SPEC may name a column for; the other two are options of the SPEC itself."""
_LISTS = ("inputs", "outputs", "solutions", "example_tests")
_TEXTS = ("question", "starter_code", "difficulty", "fn_name", "entry_point", "setup", "site", "checker_code")


def load_hub(spec: Spec) -> Iterator[Problem | Skipped]:
    """Problems of an `hf` SPEC. Raises UserError when the hub gives no data, and for a column that is not there."""
    split = spec.options.get("split", "train")
    rows = hub_rows(spec, str(spec.path), spec.options.get("config"), split=split)
    yield from _problems(spec, ((f"row {number}", dict(row)) for number, row in enumerate(rows, 1)))


def load_files(spec: Spec) -> Iterator[Problem | Skipped]:
    """Problems of a `parquet` SPEC. Raises UserError when a file cannot be read, and for a column that is not there."""
    assert spec.path is not None, "parse_spec requires a path"
    yield from _problems(spec, read_data(spec.path, spec.options.get("split", "")))


def _problems(spec: Spec, rows: Iterator[Placed]) -> Iterator[Problem | Skipped]:
    columns = {field: spec.options[field] for field in FIELDS if field in spec.options}
    chosen = IdFilter(spec)
    for number, (place, row) in enumerate(rows, 1):
        if isinstance(row, Skipped):
            yield row
            continue
        for column in columns.values():
            if (top := column.partition(".")[0]) not in row:
                raise UserError(f"{spec.text}: there is no column {top!r}; {suggest(top, list(map(str, row)))}")
        name = str(number)
        try:
            record = {field: _converted(field, row.get(field)) for field in jsonl.FIELDS if field not in columns}
            record |= {field: _converted(field, _looked_up(row, column)) for field, column in columns.items()}
            name = str(number if record["id"] in (None, "") else record["id"])
            if chosen(name) or chosen(name.rsplit("/", 1)[-1]):
                found = jsonl.from_record(name, record, spec.judging)
                if isinstance(found, Skipped):
                    rest = {key: value for key, value in row.items() if key not in columns.values()}
                    reasons = [found.reason, *hinted(jsonl.unread_fields(rest))]
                    found = replace(found, reason="; ".join(reasons), place=place)
                yield found
        except ValueError as error:
            yield Skipped(name, str(error), place)
    chosen.require_matches()


def _looked_up(row: dict[str, Any], column: str) -> Any:
    """Value of a column, or of what lies inside it. Raises ValueError where the path leads nowhere."""
    top, *inner = column.split(".")
    value = row[top]
    for key in inner:
        if isinstance(value, str):
            value = parse_field(column, value)
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            value = [item.get(key) for item in value]
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            raise ValueError(f"{column}: there is no {key}")
    return value


def _converted(field: str, value: Any) -> Any:
    """The value as `jsonl` has it: lists also from JSON text, one program or test also for a list of them."""
    if field in _LISTS and isinstance(value, str):
        if value.lstrip().startswith("[") or field != "solutions":
            return parse_field(field, value) if value.strip() else None
        return [value]
    if field == "tests" and isinstance(value, str):
        if value.lstrip().startswith("["):
            return parse_field(field, value)
        return value if "def check(" in value else [value]
    if field in _TEXTS and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


HUB = Source(
    "hf",
    "any table of the hub, with the same options",
    load_hub,
    ("split", "config", "ids", "checker", "tolerance", *FIELDS),
    path="OWNER/NAME",
)
FILES = Source(
    "parquet",
    "any table in files, Parquet or another kind; each field of a `jsonl` line is an option that names its column",
    load_files,
    ("split", "ids", "checker", "tolerance", *FIELDS),
    path="FILE",
)
