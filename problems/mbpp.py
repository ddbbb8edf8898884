"""MBPP (Austin et al., arXiv 2108.07732): the official JSON lines (974), the sanitized JSON array (427), and the hub.

Ids 1-10 are for few-shot prompts, 11-510 test, 511-600 validation, 601-974 training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rltf.problems.fields import unread
from rltf.problems.files import read_records, unix_lines
from rltf.problems.hub import hub_rows
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.spec import IdFilter, Source, Spec

SPLITS = ("prompt", "test", "validation", "train")
_FIELDS = (
    "task_id",
    "text",
    "prompt",
    "code",
    "test_list",
    "test_setup_code",
    "test_imports",
    "challenge_test_list",
    "source_file",
)
"""Of the official files; the last two are of no use here."""


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of an `mbpp` SPEC. Raises UserError when the file cannot be read."""
    chosen = IdFilter(spec)
    for place, record in _records(spec):
        if isinstance(record, Skipped):
            yield record
        elif isinstance(number := record.get("task_id"), bool) or not isinstance(number, str | int):
            yield Skipped(place, "it has no task_id" if number is None else "task_id must be a string or an integer")
        elif chosen(str(number)):
            if fields := unread(record, _FIELDS):
                yield UnreadFields(f"mbpp/{number}", place, fields)
            found = from_record(record)
            yield replace(found, place=place) if isinstance(found, Skipped) else found
    chosen.require_matches()


def _records(spec: Spec) -> Iterator[tuple[str, dict[str, Any] | Skipped]]:
    if spec.path is not None:
        yield from read_records(spec.path)
        return
    for split in SPLITS:
        for number, row in enumerate(hub_rows(spec, "google-research-datasets/mbpp", "full", split=split), 1):
            yield f"{split} {number}", dict(row)


def from_record(record: dict[str, Any]) -> Problem | Skipped:
    """Problem of one MBPP record; the sanitized file calls the text `prompt` and has `test_imports`."""
    name = f"mbpp/{record['task_id']}"
    text = record.get("text", record.get("prompt"))
    code, tests = record.get("code"), record.get("test_list")
    imports, setup = record.get("test_imports") or [], record.get("test_setup_code") or ""
    if not isinstance(text, str) or not isinstance(code, str) or not isinstance(setup, str):
        return Skipped(name, "text (or prompt), code and test_setup_code must be strings")
    if not all(isinstance(lines, list) and all(isinstance(line, str) for line in lines) for lines in (tests, imports)):
        return Skipped(name, "test_list and test_imports must be lists of strings")
    try:
        suite = TestSuite(
            kind="assert",
            fn_name=None,
            inputs=(),
            outputs=(),
            asserts=tuple(unix_lines(test).strip() for test in tests or ()),
            setup="\n".join(part for part in (*imports, unix_lines(setup)) if part),
        )
        return Problem(
            id=name,
            question=unix_lines(text).strip(),
            starter_code="",
            suite=suite,
            solutions=(unix_lines(code).rstrip() + "\n",),
            difficulty="unknown",
            prompt_style="mbpp",
        )
    except ValueError as error:
        return Skipped(name, str(error))


SOURCE = Source(
    "mbpp",
    "MBPP, the official or the sanitized file; a bare `mbpp` comes from the hub",
    load,
    ("ids",),
    path="FILE",
    hub=True,
)
