"""The comparison rules of the APPS harness as RLTF published them (`utils/testing_util.py`, commit af505b1): known to
be wrong.

They are here so that published numbers can be reproduced, and nothing should be trained with them. They accept lines in
another order, repeated lines and words only once, words of a line in another order, every number to three decimals, `1`
for `True` and `12` for `'12'`; and they refuse floats of functions whose last digit differs.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

MAX_LITERAL_CHARS = 10_000
"""Characters of output that are read as a Python literal; the harness ran any length, as code."""


class AppsCompat:
    """What the harness accepted. Where it evaluated a program's output, only literals are read here."""

    def matches_output(self, expected: str, actual: str) -> bool:
        """Its checks 1 to 6 for programs that read standard input."""
        output = actual.split("\n")
        if output[-1] == "":
            output.pop()
        if expected.strip() in ("\n".join(output).strip(), "\n".join(line.strip() for line in output).strip()):
            return True
        lines = [line.strip() for line in expected.split("\n") if line]
        if output in ([expected], lines):
            return True
        output = [line for line in output if line]
        if output == lines or _holds(lambda: _all_close(output, lines)):
            return True
        given, wanted = [line.split() for line in output if line.split()], [line.split() for line in lines]
        return _sets(given) == _sets(wanted) or _holds(lambda: _sets(_rounded(given)) == _sets(_rounded(wanted)))

    def matches_value(self, expected: Any, actual: Any) -> bool:
        """Its comparison of what `print(f(..))` writes; `expected` as in the data, wrapped in a list of one or not."""
        if isinstance(expected, list) and expected and isinstance(expected[0], dict):
            expected = expected[0]
        if isinstance(expected, dict):
            expected = [int_keys(expected)]
        out, wanted = _written(actual), _written(expected)
        if out is None or wanted is None:
            return bool(actual == expected) or bool([actual] == expected)  # too long to be written
        forms = {form.strip() for form in (out, f"[{out}]", f"({out})", str([out]))}
        if wanted.strip() in forms:
            return True
        inner = expected[0] if isinstance(expected, list) and expected else None
        if isinstance(expected, list) and expected and str(inner).strip() in forms:
            return True
        if isinstance(inner, list | str | dict) and str(tuple(inner)).strip() in forms:
            return True
        if _holds(lambda: float(out) == expected) or _holds(lambda: float(out) == expected[0]):
            return True
        return len(out) <= MAX_LITERAL_CHARS and _holds(lambda: _literal_equals(ast.literal_eval(out), expected))


def int_keys(value: Any) -> Any:
    """A dict with its keys as integers, as the harness turned those of JSON; itself if that cannot be."""
    if not isinstance(value, dict):
        return value
    try:
        return {int(key): item for key, item in value.items()}
    except ValueError:
        return value


def _holds(check: Callable[[], bool]) -> bool:
    """The harness took an exception in a check for a no."""
    try:
        return bool(check())
    except (ValueError, TypeError, KeyError, IndexError, SyntaxError, OverflowError, MemoryError, RecursionError):
        return False


def _written(value: Any) -> str | None:
    """What `print` writes of a value, its line end taken off again."""
    try:
        return str(value)
    except ValueError:
        return None  # an integer beyond the digits that Python writes


def _literal_equals(given: Any, expected: Any) -> bool:
    if given == expected or given == expected[0]:
        return True
    return isinstance(given[0], tuple) and [list(item) for item in given] == expected[0]


def _all_close(given: list[str], wanted: list[str]) -> bool:
    """numpy.allclose of whole lines: 1e-8 + 1e-5 |b|."""
    pairs = list(zip(map(float, given), map(float, wanted), strict=True))
    return all(a == b or (math.isfinite(b) and abs(a - b) <= 1e-8 + 1e-5 * abs(b)) for a, b in pairs)


def _sets(lines: list[Any]) -> set[frozenset[Any]]:
    return {frozenset(line) for line in lines}


def _rounded(lines: list[list[str]]) -> list[list[float]]:
    return [[round(float(token), 3) for token in line] for line in lines]
