"""A data set of the user's own, one JSON object per line.

Fields: id, question, starter_code, fn_name (null for stdin), inputs, outputs, and optionally solutions, difficulty, tests (a list of
assert statements, or the source of a function `check(candidate)` together with entry_point), time_limit_s (CPU seconds per test),
memory_limit_mb, checker (standard, tokens or apps_compat), tolerance (of floats). `inputs` and `outputs` follow APPS: strings for
stdin; for calls the list of positional arguments, and the return value as it is (never wrapped). A field that is not named here is
ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from problems.files import read_records, unix_lines
from problems.problem import Problem, Skipped, TestSuite
from problems.spec import Spec, parse_ids


def load(spec: Spec) -> Iterator[Problem | Skipped]:
    """Problems of a `jsonl` SPEC. Raises UserError when the file cannot be read."""
    assert spec.path is not None, "parse_spec requires a path for jsonl"
    chosen = parse_ids(spec)
    for place, record in read_records(spec.path):
        if isinstance(record, Skipped):
            yield record
            continue
        name = record.get("id")
        if not isinstance(name, str | int) or name == "" or not _is_utf8(str(name)):
            yield Skipped(place, "it has no id")
        elif chosen(str(name)) or chosen(str(name).rsplit("/", 1)[-1]):
            yield from_record(str(name), record)


def _is_utf8(text: str) -> bool:
    return text == text.encode(errors="replace").decode()


def from_record(name: str, record: dict[str, Any]) -> Problem | Skipped:
    """Problem of one record. Whatever is wrong with it is told in the Skipped."""
    try:
        for field in ("question", "starter_code", "difficulty", "fn_name", "entry_point"):
            if not isinstance(record.get(field), str | None):
                raise ValueError(f"{field} must be a string")
        solutions = record.get("solutions") or []
        if not isinstance(solutions, list) or not all(isinstance(program, str) for program in solutions):
            raise ValueError("solutions must be a list of programs")
        if not record.get("question"):
            raise ValueError("it has no question")
        return Problem(
            id=name,
            question=record["question"],
            starter_code=record.get("starter_code") or "",
            suite=_suite(record),
            solutions=tuple(unix_lines(program) for program in solutions),
            difficulty=record.get("difficulty") or "unknown",
            prompt_style="mbpp" if isinstance(record.get("tests"), list) else "apps",
        )
    except ValueError as error:
        return Skipped(name, str(error))


def _suite(record: dict[str, Any]) -> TestSuite:
    limits = {"time_limit_s": _number(record, "time_limit_s", float), "memory_limit_mb": _number(record, "memory_limit_mb", int)}
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
    except OverflowError:  # infinity is no integer, and an integer may be larger than every float
        raise ValueError(f"{field} is out of all bounds") from None
