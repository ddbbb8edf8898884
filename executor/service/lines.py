"""The lines of a request to `/grade`, and of its answer. What a client sends is checked; a bad line is one error.

    {"problem_id": "a", "problem": {..}}                 a problem of this request, a record as in a `jsonl` file
    {"problem_id": "a", "suite": {..}}                   the same as `TestSuite.to_json` writes it
    {"problem_id": "a", "code": "..", "id": 7}           a program for it, or for a problem that the service has
    {"problem": {..}, "code": ".."}                      both in one line

Every program has a line in the answer, in the order in which they are judged: `place` (its line in the request, from
1), `id` and `problem_id` if it had any, and the fields of `Feedback`, or `error`.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rltf.buffer.records import Feedback
from rltf.config import UserError, is_user_name
from rltf.executor.judge import InfrastructureFailure
from rltf.executor.labels import sanitize
from rltf.problems import jsonl
from rltf.problems.problem import Problem, TestSuite, hash_of

MAX_SUITE_BYTES = 256 << 20
"""Tests that are remembered, so that judges prepare those that come again only once."""
MAX_ID_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """A program that is to be judged."""

    place: int
    named: Mapping[str, Any]
    """`id` and `problem_id` as the line had them."""
    suite: TestSuite
    code: str


@dataclass(slots=True)
class Read:
    """What the lines of a request say."""

    programs: list[Asked] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    """Lines of the answer for those that say nothing."""


class Suites:
    """Equal tests are one object."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[TestSuite, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def one(self, suite: TestSuite) -> TestSuite:
        """The one that equals it, itself if there is none."""
        data = suite.to_json()
        key = hash_of(data)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = suite, len(data)
                self._bytes += len(data)
            self._kept.move_to_end(key)
            found = self._kept[key][0]
            while self._bytes > MAX_SUITE_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        return found


def read_lines(body: bytes, known: Mapping[str, Problem], suites: Suites) -> Read:
    """The programs of a request; `known`: problems that the service has."""
    read = Read()
    own: dict[str, TestSuite] = {}
    for place, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        named: dict[str, Any] = {}
        try:
            asked = _read_line(line, place, named, own, known, suites)
        except (ValueError, TypeError, UserError, RecursionError, MemoryError) as error:
            read.errors.append(_row({"place": place, **named, "error": sanitize(str(error)) or type(error).__name__}))
        else:
            read.programs += [asked] if asked else []
    return read


def _read_line(
    line: bytes,
    place: int,
    named: dict[str, Any],
    own: dict[str, TestSuite],
    known: Mapping[str, Problem],
    suites: Suites,
) -> Asked | None:
    """The program of a line, None for one that has none. Fills in `named`, and `own` by name."""
    record = json.loads(line.decode())
    if not isinstance(record, dict):
        raise ValueError("a line must be a JSON object")
    for name in ("id", "problem_id"):
        value = record.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > MAX_ID_CHARS:
                raise ValueError(f"{name} must be a short string or an integer")
            named[name] = value
    name, code = str(record.get("problem_id")), record.get("code")
    if record.get("suite") is not None or record.get("problem") is not None:
        suite = suites.one(_suite(record))
        if "problem_id" in named:
            own[name] = suite
        elif code is None:
            raise ValueError("a problem without code needs a problem_id, by which programs name it")
    elif "problem_id" not in named:
        raise ValueError("it names no problem: problem_id, problem or suite")
    elif name in own:
        suite = own[name]
    elif name in known:
        suite = known[name].suite
    elif code is not None:
        raise ValueError("problem_id is that of no problem: none of the request's, none that the service has")
    if code is None:
        if record.keys() <= {"id", "problem_id"}:
            raise ValueError("it has neither code nor a problem")
        return None
    if not isinstance(code, str):
        raise ValueError("code must be a string")
    return Asked(place, named, suite, code)


def _suite(record: dict[str, Any]) -> TestSuite:
    """The tests that a line has. Raises ValueError where they are none."""
    if record.get("suite") is not None:
        suite = TestSuite.from_json(json.dumps(record["suite"]).encode())
        texts = (*suite.asserts, suite.setup, suite.checker_code, suite.fn_name or "")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a field of the test suite has the wrong type")
    else:
        given = record["problem"]
        if not isinstance(given, dict):
            raise ValueError("problem must be a JSON object, as in a jsonl file")
        suite = jsonl.suite_of(given)
    if is_user_name(suite.checker):
        raise ValueError(f"checker {suite.checker!r} is of files that the service does not have; checker_code travels")
    return suite


def answer(asked: Asked, result: Feedback | InfrastructureFailure) -> bytes:
    """The line of a program that was judged, or could not be."""
    row = {"place": asked.place, **asked.named}
    if isinstance(result, Feedback):
        return _row(row | msgspec.to_builtins(result))
    return _row(row | {"error": result.reason, "of_problem": result.of_problem})


def _row(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"
