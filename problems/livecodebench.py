"""LiveCodeBench (Jain et al., arXiv 2403.07974), code generation: contest problems with dates, stdin and functional.

A record has question_content, question_id, contest_date, platform, difficulty, starter_code, public_test_cases and
private_test_cases (JSON texts, the private ones usually packed) and metadata (JSON text with func_name). Its files
test.jsonl, test2.jsonl, .. are the parts v1, v2, ..; a release has all parts up to its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from rltf.config import UserError, suggest
from rltf.problems.data_files import Placed, read_data
from rltf.problems.files import parse_field, unix_lines
from rltf.problems.hub import hub_rows
from rltf.problems.pickled_text import packed_text
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.python_source import imports_of
from rltf.problems.records import Format, problems_of, text
from rltf.problems.spec import Source, Spec

PARTS = 6
DIFFICULTIES = ("easy", "medium", "hard")
PLATFORMS = ("leetcode", "atcoder", "codeforces")
TIME_LIMIT_S = 6.0
"""Per test, as its own harness has it."""
_HUB = "hf://datasets/livecodebench/code_generation_lite/"
_FIELDS = (
    "question_content",
    "question_id",
    "contest_date",
    "platform",
    "difficulty",
    "starter_code",
    "public_test_cases",
    "private_test_cases",
    "metadata",
    "question_title",
    "contest_id",
)
"""The last two are of no use here."""


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of a `livecodebench` SPEC, those of its window of dates, both ends included.

    Raises UserError when a file cannot be read.
    """
    wanted = {
        "difficulty": spec.one_of("difficulty", DIFFICULTIES, ""),
        "platform": spec.one_of("platform", PLATFORMS, ""),
    }
    first, last = _day(spec, "start_date", date.min), _day(spec, "end_date", date.max)

    def chosen(rows: Iterator[Placed]) -> Iterator[Placed]:
        for place, record in rows:
            if not isinstance(record, Skipped):
                if any(value and record.get(field) != value for field, value in wanted.items()):
                    continue
                day = _date_of(record)
                if day is None:
                    record = Skipped(place, "contest_date is no date")
                elif not first <= day <= last:
                    continue
            yield place, record

    yield from problems_of(spec, chosen(_rows(spec)), Format("question_id", _FIELDS, from_record))


def _rows(spec: Spec) -> Iterator[Placed]:
    names = [f"test{number}.jsonl" if number > 1 else "test.jsonl" for number in _parts(spec)]
    if spec.path is None:
        files = [_HUB + name for name in names]
        for number, row in enumerate(hub_rows(spec, "json", data_files=files, split="train"), 1):
            yield f"row {number}", dict(row)
    elif spec.path.is_dir() and (spec.path / "test.jsonl").exists():
        for name in names:
            for place, record in read_data(spec.path / name):
                yield f"{name} {place}", record
    elif "version" in spec.options:
        raise UserError(f"{spec.text}: version chooses among the files of a folder, test.jsonl, test2.jsonl and so on")
    else:
        yield from read_data(spec.path)


def _parts(spec: Spec) -> list[int]:
    """Numbers of the parts that the option `version` names: `release_v5` and `v1_v5` name five, `v5` one."""
    version = spec.options.get("version", "release_latest")
    if version == "release_latest":
        return list(range(1, PARTS + 1))
    named = re.fullmatch(r"(release_)?v([1-9])(?:_v([1-9]))?", version)
    first, last = (1 if named[1] else int(named[2]), int(named[3] or named[2])) if named else (0, 0)
    if not named or (named[1] and named[3]) or not first <= last <= PARTS:
        known = ["release_latest", *(f"{kind}v{number}" for kind in ("release_", "") for number in range(1, PARTS + 1))]
        raise UserError(f"{spec.text}: version {version!r} is unknown; {suggest(version, known)}")
    return list(range(first, last + 1))


def _day(spec: Spec, option: str, default: date) -> date:
    written = spec.options.get(option)
    try:
        return date.fromisoformat(written) if written is not None else default
    except ValueError:
        raise UserError(f"{spec.text}: {option} must be a date such as 2024-08-31") from None


def _date_of(record: dict[str, Any]) -> date | None:
    """None for what is no date. A table may have it as a value of its own kind."""
    value = record.get("contest_date")
    try:
        return value.date() if isinstance(value, datetime) else datetime.fromisoformat(str(value)).date()
    except ValueError:
        return None


def from_record(name: str, record: dict[str, Any]) -> Problem:
    """Problem of one record. Raises ValueError with what is wrong with it."""
    public, private = _tests(record, "public_test_cases"), _tests(record, "private_test_cases")
    return Problem(
        id=name,
        question=unix_lines(text(record, "question_content")),
        starter_code=unix_lines(text(record, "starter_code", "")),
        suite=_suite(record, [*public, *private]),
        solutions=(),
        difficulty=text(record, "difficulty", "") or "unknown",
        prompt_style="apps",
        examples=tuple(range(len(public))),
    )


def _suite(record: dict[str, Any], tests: list[dict[str, str]]) -> TestSuite:
    kinds = {test["testtype"] for test in tests}
    if len(kinds) > 1 or not kinds <= {"stdin", "functional"}:
        raise ValueError(f"testtype must be stdin or functional, and one of them: {', '.join(sorted(kinds))}")
    if "functional" not in kinds:
        inputs, outputs = (tuple(test[side] for test in tests) for side in ("input", "output"))
        return TestSuite("stdin", None, inputs, outputs, time_limit_s=TIME_LIMIT_S, site="livecodebench")
    metadata = parse_field("metadata", record.get("metadata") or "{}")
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError("functional tests need metadata with func_name")
    calls = tuple([parse_field("an input", line) for line in test["input"].split("\n")] for test in tests)
    values = tuple(parse_field("an output", test["output"]) for test in tests)
    prelude = imports_of(text(record, "starter_code", ""))
    return TestSuite("call", name, calls, values, time_limit_s=TIME_LIMIT_S, site="livecodebench", prelude=prelude)


def _tests(record: dict[str, Any], field: str) -> list[dict[str, str]]:
    """Tests of a field: JSON text, or JSON text packed. Raises ValueError for anything else."""
    written = text(record, field, "[]").strip() or "[]"
    if not written.startswith("["):
        try:
            written = packed_text(written)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
    tests = parse_field(field, written)
    if not isinstance(tests, list) or not all(
        isinstance(test, dict) and all(isinstance(test.get(key), str) for key in ("input", "output", "testtype"))
        for test in tests
    ):
        raise ValueError(f"{field} must be a list of tests with input, output and testtype")
    return tests


SOURCE = Source(
    "livecodebench",
    "LiveCodeBench, a file, or the folder of its parts; a bare `livecodebench` comes from the hub",
    load,
    ("version", "start_date", "end_date", "platform", "difficulty", "ids"),
    path="FILE",
    hub=True,
)
