"""Whether what a program gave is what was expected. Pure functions of data; nothing of a program's ever runs here.

`standard` compares as DMOJ's judge of that name does (lines, then tokens, amounts of white space and blank lines free), except that
a number is compared by tolerance where, and only where, the expected one is written with a point or an exponent.
"""

from __future__ import annotations

import math
import re
from typing import Any

TOLERANCE = 1e-6
"""Absolute or relative, whichever allows more."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
CHECKERS = ("standard",)


def texts_match(expected: str, actual: str) -> bool:
    """`standard` for standard output."""
    if expected == actual:
        return True
    expected_lines, actual_lines = _lines(expected), _lines(actual)
    if len(expected_lines) != len(actual_lines):
        return False
    return all(
        len(wanted) == len(given) and all(map(_tokens_match, wanted, given))
        for wanted, given in zip(expected_lines, actual_lines, strict=True)
    )


def _lines(text: str) -> list[list[str]]:
    return [tokens for line in re.split(r"[\r\n]+", text) if (tokens := line.split())]


def _tokens_match(expected: str, actual: str) -> bool:
    if expected == actual:
        return True
    if not ("." in expected or "e" in expected or "E" in expected):
        return False
    if not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual)):
        return False
    return _close(float(expected), float(actual))


def _close(expected: float, actual: float | int) -> bool:
    try:
        return expected == actual or math.isclose(expected, actual, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except OverflowError:
        return False  # an integer beyond the range of floats


def values_match(expected: Any, actual: Any) -> bool:
    """`standard` for return values: `expected` is a JSON value, so a tuple may stand for its list and a dict's keys for their text.

    A truth value only equals a truth value, and a float is compared by tolerance only where one is expected.
    """
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, float):
        return isinstance(actual, int | float) and _close(expected, actual)
    if isinstance(expected, list | tuple):
        return (
            isinstance(actual, list | tuple)
            and len(expected) == len(actual)
            and all(values_match(wanted, given) for wanted, given in zip(expected, actual, strict=True))
        )
    if isinstance(expected, dict):
        return _dicts_match(expected, actual)
    return bool(expected == actual)


def _dicts_match(expected: dict[Any, Any], actual: Any) -> bool:
    if not isinstance(actual, dict) or len(expected) != len(actual):
        return False
    if not all(isinstance(key, str) for key in actual):
        actual = {key if isinstance(key, str) else str(key): value for key, value in actual.items()}
    return all(key in actual and values_match(value, actual[key]) for key, value in expected.items())


def equal(expected: Any, actual: Any) -> bool:
    """Python's own `==`, for `assert f(x) == literal`. Both sides are plain data."""
    return bool(expected == actual)
