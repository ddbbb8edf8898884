"""What a process reported of its tests, checked: per test its end, and every answer to a question in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rltf.executor.labels import LIMITS, Verdict, line_number, runtime_error, sanitize, seconds, shortened
from rltf.executor.plaindata import NotPlain, Opaque, decode, nodes
from rltf.executor.protocol import FRAGMENT_END
from rltf.executor.together.sites import Site

MAX_FRAGMENT_BYTES = 1 << 23
MAX_FRAGMENTS = 2_000_000
MAX_NODES = 200_000
CHEATING = "Cheating"
"""Error type of programs that are found out."""
EQUAL_TO_EVERYTHING = "an object is equal to everything"
_FOUND_OUT = {-4: EQUAL_TO_EVERYTHING, -5: "it has changed what the tests call"}
UNKNOWN = Opaque
_END = FRAGMENT_END.encode()


@dataclass(slots=True)
class Answer:
    """To one question."""

    site: int
    held: bool | None
    """Whether the assertion holds; None: only Python can tell."""
    verdict: Verdict
    """What it says of the test; of an open one, that it passes."""
    raised: bool = False
    expected: Any = None
    """Of a pair: what the tests computed; an UNKNOWN where that is not plain."""


@dataclass(slots=True)
class Told:
    """Of one test."""

    answers: list[Answer] = field(default_factory=list)
    end: Verdict | None = None
    """How it came to its end; None: it did not."""
    cpu_s: float = 0.0


class Malformed(ValueError):
    """A report that no harness wrote."""


def read(report: bytes, sites: Sequence[Site], tests: int, shown: frozenset[int]) -> tuple[list[Told], bytes]:
    """Per test that began what is known of it, and what faulthandler added. `shown`: sites that report
    truths.

    Raises Malformed.
    """
    told: list[Told] = [Told()]
    start = count = 0
    while len(told) <= tests:
        stop = report.find(_END, start)
        if stop < 0:
            break
        count += 1
        if stop - start > MAX_FRAGMENT_BYTES or count > MAX_FRAGMENTS:
            raise Malformed("too much")
        _add(told[-1], report[start:stop], sites, shown)
        start = stop + len(_END)
        if report[start : start + 1] == b"\n":
            start += 1
            told.append(Told())
        elif told[-1].end is not None:
            raise Malformed("something after the end")
    if not told[-1].answers and told[-1].end is None:
        told.pop()
    return told, report[start : start + 100_000]


def _add(told: Told, data: bytes, sites: Sequence[Site], shown: frozenset[int]) -> None:
    try:
        fragment = json.loads(data)
        number = fragment[0]
        if not isinstance(number, int) or not -5 <= number < len(sites):
            raise Malformed("no such question")
        if number in _FOUND_OUT:
            told.answers.append(Answer(-1, False, Verdict("failure", CHEATING, None, _FOUND_OUT[number])))
        elif number < 0:
            told.end, told.cpu_s = _end(fragment)
        elif len(fragment) > 2:
            _, _, *rest = fragment
            told.answers.append(Answer(number, False, _raised(rest), raised=True))
        else:
            told.answers.append(_answer(number, sites[number], fragment[1], number in shown))
    except Malformed:
        raise
    except (ValueError, TypeError, IndexError, RecursionError, NotPlain) as error:
        raise Malformed(str(error)) from None


def _end(fragment: list[Any]) -> tuple[Verdict, float]:
    number, cpu_us, *rest = fragment
    cpu_s = seconds(cpu_us)
    if number == -3:
        name, line, message = rest
        return Verdict("compile_error", sanitize(name, 100), line_number(line), sanitize(message), cpu_s), cpu_s
    return (_raised(rest) if rest else Verdict("pass")), cpu_s


def _raised(rest: list[Any]) -> Verdict:
    name, line, message, kind, inside = rest
    if name == "AssertionError" and not inside:
        return Verdict("failure", None, None, sanitize(message))
    error_type = LIMITS.get(kind, name) if isinstance(kind, str) else name
    return runtime_error(error_type, line_number(line), message)


def _answer(number: int, site: Site, data: Any, shown: bool) -> Answer:
    if site.kind == "value" and not shown:
        return _compared(number, site, data)
    if site.kind == "pair" and isinstance(data, list):
        return _pair(number, site, data)
    if not isinstance(data, bool):
        raise Malformed("not a truth")
    return Answer(number, data, Verdict("pass") if data else _failure(site))


def _compared(number: int, site: Site, data: Any) -> Answer:
    assert site.compare is not None
    most = 1000 + 10 * nodes(site.expected) if site.compare.name == "==" else MAX_NODES
    try:
        given = decode(data, most)
    except NotPlain:
        return Answer(number, False, _failure(site, "a value larger than allowed"))
    if isinstance(given, Opaque):
        return Answer(number, None, Verdict("pass"))
    try:
        held = site.compare.holds(given, site.expected)
    except Exception as error:
        # The two do not go together; Python says so in the test, too.
        return Answer(number, False, runtime_error(type(error).__name__, None, str(error)), raised=True)
    return Answer(number, held, Verdict("pass") if held else _failure(site, shortened(given)))


def _pair(number: int, site: Site, data: list[Any]) -> Answer:
    assert site.compare is not None
    left, right, equal, anything = data
    given, expected = decode(left, MAX_NODES), decode(right, MAX_NODES)
    if not isinstance(equal, bool) or not isinstance(anything, bool):
        raise Malformed("not a truth")
    if anything:
        return Answer(number, False, Verdict("failure", CHEATING, None, EQUAL_TO_EVERYTHING))
    plain = not isinstance(given, Opaque) and not isinstance(expected, Opaque)
    wanted = site.compare.wanted == (site.compare.name == "==")
    if not plain:
        held = equal == wanted
        return Answer(number, None if held else False, Verdict("pass") if held else _failure(site), expected=expected)
    held = (given == expected) == wanted
    verdict = Verdict("pass") if held else _failure(site, shortened(given))
    return Answer(number, held, verdict, expected=expected)


def _failure(site: Site, given: str = "") -> Verdict:
    if site.message:
        return Verdict("failure", None, None, sanitize(site.message))
    if not given:
        return Verdict("failure", None, None, "an assertion does not hold")
    if site.kind != "value" or site.compare is None or site.compare.name not in ("==", "close", "is"):
        return Verdict("failure", None, None, sanitize(f"an assertion does not hold, got {given}"))
    return Verdict("failure", None, None, sanitize(f"expected {shortened(site.expected)}, got {given}"))
