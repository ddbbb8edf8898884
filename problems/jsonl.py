"""A data set of the user's own, one JSON object per line.

Fields: id, question, starter_code, fn_name (null for stdin), inputs, outputs, and optionally solutions, difficulty,
tests (a list of assert statements; or test code: the source of a function `check(candidate)` together with
entry_point, a module for unittest or pytest, which imports the program by whatever name, or statements), judge_way
(split or together, where the tests' text is not to decide whether they share a process with the program),
setup (code that runs before a list of tests), example_tests (positions of the tests that the statement shows, from 0),
prompt_style, time_limit_s (CPU seconds per test), memory_limit_mb, checker (one of `problems.problem.CHECKERS`),
tolerance (of floats), checker_code (source of `check(input, expected, output)`, where several answers are right), site
(whose conventions programs may count on, one of `problems.problem.SITES`), interactive (a problem that is cannot be
used).
`inputs` and `outputs` follow APPS: strings for stdin; for calls the list of positional arguments, and the return value
as it is (never wrapped). `tests` go before both. A field that is not named here is not read, and told
(`problems.fields`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rltf.config import is_user_name, suggest
from rltf.problems.data_files import read_data
from rltf.problems.fields import hinted, unread
from rltf.problems.files import unix_lines
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.prompts import STYLES
from rltf.problems.python_source import function_of, imports_of, require_compiles
from rltf.problems.spec import IdFilter, Source, Spec
from rltf.problems.special_judges import INTERACTIVE, checker_source
from rltf.problems.test_code import defined, units_of, without_last

_ALWAYS = (
    "id",
    "question",
    "starter_code",
    "solutions",
    "difficulty",
    "example_tests",
    "prompt_style",
    "time_limit_s",
    "memory_limit_mb",
    "site",
    "judge_way",
    "interactive",
)
_TEXTS = (
    "question",
    "starter_code",
    "difficulty",
    "fn_name",
    "entry_point",
    "setup",
    "checker",
    "checker_code",
    "prompt_style",
    "site",
    "judge_way",
)
_COMPARED = (*_ALWAYS, "fn_name", "inputs", "outputs", "tests", "checker", "tolerance", "checker_code")
FIELDS = (*_COMPARED, "entry_point", "setup")
"""All fields that a record may have."""
_TESTED = {
    "inputs": "its tests judge it",
    "outputs": "its tests judge it",
    "checker": "its tests compare by themselves",
}
_TESTED |= {"tolerance": _TESTED["checker"], "checker_code": _TESTED["checker"]}
_TESTED |= {"fn_name": "entry_point names what its tests check"}


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of a `jsonl` SPEC. Raises UserError when the file cannot be read."""
    assert spec.path is not None, "parse_spec requires a path for jsonl"
    chosen = IdFilter(spec)
    places: dict[str, str] = {}
    for place, record in read_data(spec.path):
        if isinstance(record, Skipped):
            yield record
            continue
        fields = unread_fields(record)
        name = record.get("id")
        if (reason := _wrong_id(name)) is not None:
            yield Skipped(place, "; ".join([reason, *hinted(fields)]))
            continue
        name = str(name)
        if not (chosen(name) or chosen(name.rsplit("/", 1)[-1])):
            continue
        if fields:
            yield UnreadFields(name, place, fields)
        found = from_record(name, record, spec.judging)
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


def unread_fields(record: dict[str, Any]) -> dict[str, str]:
    """Fields that `from_record` does not look at, with hints."""
    tests = record.get("tests")
    if not tests:
        decides = dict.fromkeys(("checker", "tolerance"), "its checker_code decides")
        ignored = decides if record.get("checker_code") else {}
        return unread(record, [field for field in _COMPARED if field not in ignored], decides)
    known = (*_ALWAYS, "tests", "entry_point", *(("fn_name", "setup") if isinstance(tests, list) else ()))
    return unread(record, known, _TESTED)


def from_record(name: str, record: dict[str, Any], judging: bool = False) -> Problem | Skipped:
    """Problem of one record. Whatever is wrong with it is told in the Skipped.

    `judging`: it may be without a question, as only its tests are wanted.
    """
    try:
        if judging and not (record.get("question") or "").strip():
            record = record | {"question": f"{name} has no question"}
        for field in _TEXTS:
            if not isinstance(record.get(field), str | None):
                raise ValueError(f"{field} must be a string")
        solutions = record.get("solutions") or []
        if not isinstance(solutions, list) or not all(isinstance(program, str) for program in solutions):
            raise ValueError("solutions must be a list of programs")
        if record.get("question") is None:
            raise ValueError("it has no question")
        if not record["question"].strip():
            raise ValueError("its question is empty")  # before what else may be missing
        if record.get("interactive"):
            raise ValueError(INTERACTIVE)
        suite = _suite(record)
        if suite.kind != "stdin" and record.get("starter_code"):
            suite = replace(suite, prelude=imports_of(record["starter_code"]))
        return Problem(
            id=name,
            question=record["question"],
            starter_code=record.get("starter_code") or "",
            suite=suite,
            solutions=tuple(unix_lines(program) for program in solutions),
            difficulty=record.get("difficulty") or "unknown",
            prompt_style=_style(record, suite),
            examples=_positions(record),
        )
    except ValueError as error:
        return Skipped(name, str(error))


def suite_of(record: dict[str, Any]) -> TestSuite:
    """The tests of a record, which may be without a question. Raises ValueError with what is wrong with it."""
    found = from_record("problem", record | {"question": "?"})
    if isinstance(found, Skipped):
        raise ValueError(found.reason)
    return found.suite


def _style(record: dict[str, Any], suite: TestSuite) -> str:
    named = record.get("prompt_style")
    if not named:
        return "mbpp" if suite.kind == "assert" and isinstance(record.get("tests"), list) else "apps"
    if named not in STYLES and not is_user_name(named):
        raise ValueError(f"prompt_style {named!r} is unknown; {suggest(named, STYLES)}")
    return str(named)


def _positions(record: dict[str, Any]) -> tuple[int, ...]:
    positions = record.get("example_tests") or []
    if not isinstance(positions, list) or not all(type(position) is int for position in positions):
        raise ValueError("example_tests must be a list of positions, counted from 0")
    return tuple(positions)


def to_record(problem: Problem) -> dict[str, Any]:
    """The record from which `from_record` makes the same problem; fields that say nothing are left out."""
    suite = problem.suite
    record: dict[str, Any] = {
        "id": problem.id,
        "question": problem.question,
        "starter_code": problem.starter_code,
        "solutions": problem.solutions,
        "difficulty": "" if problem.difficulty == "unknown" else problem.difficulty,
        "example_tests": problem.examples,
        "prompt_style": problem.prompt_style,
    }
    if suite.kind == "assert":
        record |= {"tests": suite.asserts, "setup": suite.setup, "entry_point": suite.fn_name}
    else:
        record |= {"fn_name": suite.fn_name, "inputs": suite.inputs, "outputs": suite.outputs}
    record |= {"time_limit_s": suite.time_limit_s, "memory_limit_mb": suite.memory_limit_mb}
    record["site"] = suite.site
    record |= {"judge_way": suite.way}
    record |= {"checker": "" if suite.checker == "standard" else suite.checker, "tolerance": suite.tolerance}
    record |= {"checker_code": suite.checker_code}
    return {name: value for name, value in record.items() if value not in (None, "", ())}


def _suite(record: dict[str, Any]) -> TestSuite:
    limits = {
        "time_limit_s": _number(record, "time_limit_s", float),
        "memory_limit_mb": _number(record, "memory_limit_mb", int),
    }
    limits["site"] = record.get("site") or ""
    limits |= {"checker": record.get("checker") or "standard", "tolerance": _number(record, "tolerance", float)}
    tests = record.get("tests")
    fn_name = record.get("fn_name") or None
    limits["way"] = record.get("judge_way") or ""
    if isinstance(tests, list) and tests:
        if not all(isinstance(test, str) for test in tests):
            raise ValueError("tests must be a list of assert statements, or test code")
        asserts = tuple(unix_lines(test).strip() for test in tests)
        setup = unix_lines(record.get("setup") or "")
        require_compiles("its setup", setup)
        for number, test in enumerate(asserts, 1):
            require_compiles(f"number {number} of its tests", test)
        return TestSuite("assert", record.get("entry_point") or fn_name, (), (), asserts, setup, **limits)
    if isinstance(tests, str) and tests.strip():
        require_compiles("the code of its tests", unix_lines(tests))
        return _of_code(unix_lines(tests), record.get("entry_point") or "", limits)
    if tests and not isinstance(tests, str | list):
        raise ValueError("tests must be a list of assert statements, or test code")
    if fn_name and (fn_name := function_of(fn_name)) is None:
        raise ValueError(f"fn_name {record['fn_name']!r} is no name of a function")
    inputs, outputs = record.get("inputs"), record.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise ValueError("it needs inputs and outputs (two lists), or tests")
    if code := record.get("checker_code"):
        limits |= {"checker": "standard", "tolerance": None, "checker_code": checker_source(unix_lines(code))}
    return TestSuite("call" if fn_name else "stdin", fn_name, tuple(inputs), tuple(outputs), **limits)


def _of_code(code: str, entry_point: str, limits: dict[str, Any]) -> TestSuite:
    """Tests that are a text: a module of unittest or pytest, a function `check(candidate)`, or statements."""
    function = function_of(entry_point)
    if units := units_of(code):
        return TestSuite("assert", function, (), (), units, setup=code, **limits)
    if "check" not in defined(code):
        return TestSuite("assert", function, (), (), (code.strip(),), **limits)
    if function is None:
        raise ValueError("tests with check(candidate) need entry_point, the name of the function to check")
    call = f"check({entry_point})"
    return TestSuite("assert", function, (), (), (call,), setup=without_last(code, call), **limits)


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
