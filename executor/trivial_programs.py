"""Programs that solve nothing: the empty one and those that give one value whatever they are asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rltf.executor.suites import ReadySuite

TEXTS: tuple[Any, ...] = (
    "0",
    "1",
    "-1",
    "2",
    "YES",
    "NO",
    "Yes",
    "No",
    "yes",
    "no",
    "True",
    "False",
    "Possible",
    "Impossible",
)
VALUES: tuple[Any, ...] = (None, 0, 1, -1, True, False, "", [], {}, 0.0)
"""What a policy may hit upon without having understood anything."""


@dataclass(frozen=True, slots=True)
class TrivialProgram:
    """A program that gives one value."""

    shown: str
    """What to call it."""
    value: Any
    """What it prints or returns."""
    program: str


def trivial_programs(ready: ReadySuite) -> Iterator[TrivialProgram]:
    """The empty program, the usual values, and the one that most tests expect if more than one test expects it."""
    if ready.mode == "stdin":
        yield TrivialProgram("an empty program", "", "")
        for text in _with_commonest(TEXTS, ready):
            yield TrivialProgram(f"a program that always prints {_short(text)}", text, f"print({text!r}, end='')\n")
        return
    apart = ready.tester or ready.plan
    names = apart.names if apart else sorted({test[0] for test in ready.tests})
    for value in _with_commonest(VALUES, ready):
        shown = "a function that does nothing" if value is None else f"a function that always returns {_short(value)}"
        yield TrivialProgram(shown, value, "".join(f"def {name}(*a, **k):\n    return {value!r}\n" for name in names))


def could_pass(ready: ReadySuite, constant: TrivialProgram) -> bool:
    """Whether it may pass all tests, as far as that can be told without running it."""
    if ready.mode in ("split", "together") or ready.suite.checker_code:
        return True
    return all(ready.match(expected, constant.value) for expected in ready.expected)


def _with_commonest(values: tuple[Any, ...], ready: ReadySuite) -> list[Any]:
    written = list(map(_written, ready.expected))
    counts = Counter(text for text in written if text is not None).most_common(1)
    if counts and counts[0][1] > 1 and counts[0][0] not in map(repr, values):
        return [*values, ready.expected[written.index(counts[0][0])]]
    return list(values)


def _written(value: Any) -> str | None:
    """None for an integer longer than Python writes, or one in it."""
    try:
        return repr(value)
    except ValueError:
        return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + ".."
