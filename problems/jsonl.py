"""A data set of the user's own, one JSON object per line.

Fields: id, question, starter_code, fn_name (null for stdin), inputs, outputs, and optionally solutions, difficulty,
tests (a list of assert statements, or the source of a function `check(candidate)` together with entry_point),
time_limit_s (CPU seconds per test), memory_limit_mb, checker (standard, tokens or apps_compat), tolerance (of floats).
`inputs` and `outputs` follow APPS: strings for stdin; for calls the list of positional arguments, and the return value
as it is (never wrapped). `tests` go before both. A field that is not named here is not read, and told
(`problems.fields`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rltf.problems.fields import hinted, unread
from rltf.problems.files import read_records, unix_lines
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.spec import IdFilter, Source, Spec

_ALWAYS = ("id", "question", "starter_code", "solutions", "difficulty", "time_limit_s", "memory_limit_mb")
_COMPARED = (*_ALWAYS, "fn_name", "inputs", "outputs", "tests", "checker", "tolerance")
_TESTED = {
    "inputs": "its tests judge it",
    "outputs": "its tests judge it",
    "checker": "its tests compare by themselves",
}
_TESTED |= {"tolerance": _TESTED["checker"], "fn_name": "entry_point names what its tests check"}


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of a `jsonl` SPEC. Raises UserError when the file cannot be read."""
    assert spec.path is not None, "parse_spec requires a path for jsonl"
    chosen = IdFilter(spec)
    places: dict[str, str] = {}
    for place, record in read_records(spec.path):
        if isinstance(record, Skipped):
            yield record
            continue
        fields = _unread(record)
        name = record.get("id")
        if (reason := _wrong_id(name)) is not None:
            yield Skipped(place, "; ".join([reason, *hinted(fields)]))
            continue
        name = str(name)
        if not (chosen(name) or chosen(name.rsplit("/", 1)[-1])):
            continue
        if fields:
            yield UnreadFields(name, place, fields)
        found = from_record(name, record)
        if isinstance(found, Skipped):
            yield replace(found, reason="; ".join([found.reason, *hinted(fields)]), place=place)
        elif places.setdefault(name, place) != place:
            yield Skipped(name, f"the id occurs twice, the one of {places[name]} is used", place)
        else:
            yield found
    chosen.require_matches()


def _wrong_id(name: Any) -> str | None:
    if name is None or name == "":
        return "it has no id"
    if isinstance(name, bool) or not isinstance(name, str | int):
        return "id must be a string or an integer"
    return None if _is_utf8(str(name)) else "id must be text that UTF-8 can hold"


def _is_utf8(text: str) -> bool:
    return text == text.encode(errors="replace").decode()


def _unread(record: dict[str, Any]) -> dict[str, str]:
    """Fields that `from_record` does not look at, with hints."""
    tests = record.get("tests")
    if not tests:
        return unread(record, _COMPARED)
    known = (*_ALWAYS, "tests", "entry_point", *(("fn_name",) if isinstance(tests, list) else ()))
    return unread(record, known, _TESTED)


def from_record(name: str, record: dict[str, Any]) -> Problem | Skipped:
    """Problem of one record. Whatever is wrong with it is told in the Skipped."""
    try:
        for field in ("question", "starter_code", "difficulty", "fn_name", "entry_point", "checker"):
            if not isinstance(record.get(field), str | None):
                raise ValueError(f"{field} must be a string")
        solutions = record.get("solutions") or []
        if not isinstance(solutions, list) or not all(isinstance(program, str) for program in solutions):
            raise ValueError("solutions must be a list of programs")
        if record.get("question") is None:
            raise ValueError("it has no question")
        if not record["question"].strip():
            raise ValueError("its question is empty")  # before what else may be missing
        suite = _suite(record)
        return Problem(
            id=name,
            question=record["question"],
            starter_code=record.get("starter_code") or "",
            suite=suite,
            solutions=tuple(unix_lines(program) for program in solutions),
            difficulty=record.get("difficulty") or "unknown",
            prompt_style="mbpp" if suite.kind == "assert" and isinstance(record.get("tests"), list) else "apps",
        )
    except ValueError as error:
        return Skipped(name, str(error))


def _suite(record: dict[str, Any]) -> TestSuite:
    limits = {
        "time_limit_s": _number(record, "time_limit_s", float),
        "memory_limit_mb": _number(record, "memory_limit_mb", int),
    }
    limits |= {"checker": record.get("checker") or "standard", "tolerance": _number(record, "tolerance", float)}
    tests = record.get("tests")
    fn_name = record.get("fn_name") or None
    if isinstance(tests, list) and tests:
        if not all(isinstance(test, str) for test in tests):
            raise ValueError("tests must be a list of assert statements, or the source of check(candidate)")
        asserts = tuple(unix_lines(test).strip() for test in tests)
        return TestSuite("assert", record.get("entry_point") or fn_name, (), (), asserts, **limits)
    if isinstance(tests, str) and tests.strip():
        entry_point = record.get("entry_point")
        if not entry_point or not entry_point.isidentifier():
            raise ValueError("tests with check(candidate) need entry_point, the name of the function to check")
        return TestSuite("assert", entry_point, (), (), (f"check({entry_point})",), setup=unix_lines(tests), **limits)
    if tests and not isinstance(tests, str | list):
        raise ValueError("tests must be a list of assert statements, or the source of check(candidate)")
    inputs, outputs = record.get("inputs"), record.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise ValueError("it needs inputs and outputs (two lists), or tests")
    return TestSuite("call" if fn_name else "stdin", fn_name, tuple(inputs), tuple(outputs), **limits)


def _number(record: dict[str, Any], field: str, kind: type[float] | type[int]) -> Any:
    value = record.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{field} must be a number")
    try:
        return kind(value)
    except (
        OverflowError,
        ValueError,
    ):  # infinity and NaN are no integers, and an integer may be larger than every float
        raise ValueError(f"{field} is out of all bounds") from None


SOURCE = Source("jsonl", "your own, one JSON object per line", load, ("ids", "checker", "tolerance"), path="FILE")
