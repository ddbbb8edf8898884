"""Whether what a program gave is what was expected. Pure functions of data; nothing of a program's ever runs here.

A checker is chosen per data set (`TestSuite.checker`); a problem may name a tolerance of its own
(`TestSuite.tolerance`).
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from rltf.config import UserFunction, chosen, is_user_name
from rltf.executor.apps_compat import AppsCompat
from rltf.problems.problem import Problem, TestSuite

TOLERANCE = 1e-6
"""Absolute or relative, whichever allows more, where a problem names none."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_LINE = re.compile(r"\s*+([^\r\n]+)")


class Checker(Protocol):
    """The rule that compares expected and actual output."""

    def matches_output(self, expected: str, actual: str) -> bool:
        """Whether a program's standard output is accepted."""
        ...

    def matches_value(self, expected: Any, actual: Any) -> bool:
        """Whether a function's return value is accepted; `expected` is a JSON value, `actual` plain data."""
        ...


class Standard:
    """Lines, then tokens, as DMOJ's judge of that name: amounts of white space and blank lines are free, all else is
    exact.

    Except that a number is compared by tolerance where, and only where, the expected one is written with a point or an
    exponent.
    """

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        """`tolerance` is absolute or relative, whichever allows more; 0 makes floats exact too."""
        self._tolerance = tolerance

    def matches_output(self, expected: str, actual: str) -> bool:
        """Same lines, same tokens in each; `1` is no `1.0`, but where `1.0` is expected `1` will do."""
        if expected == actual:
            return True
        given = _lines(actual)
        for wanted in _lines(expected):
            line = next(given, None)
            if line is None or not self._same_tokens(wanted, line):
                return False
        return next(given, None) is None

    def _same_tokens(self, expected: str, actual: str) -> bool:
        wanted = expected.split()
        given = actual.split(None, len(wanted))  # what is too long is not taken apart: it may be megabytes
        return len(wanted) == len(given) and all(map(self._tokens, wanted, given))

    def _tokens(self, expected: str, actual: str) -> bool:
        if expected == actual:
            return True
        if not ("." in expected or "e" in expected or "E" in expected):
            return False
        if not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual)):
            return False
        return self._close(float(expected), float(actual))

    def _close(self, expected: float, actual: Any) -> bool:
        try:
            # isclose alone calls two infinities close, and texts of finite numbers beyond the range become infinite.
            finite = math.isfinite(expected) and math.isfinite(actual)
            return finite and math.isclose(expected, actual, rel_tol=self._tolerance, abs_tol=self._tolerance)
        except OverflowError:
            return False  # an integer beyond the range of floats

    def matches_value(self, expected: Any, actual: Any) -> bool:
        """Equal as JSON values: a tuple may stand for its list, and a dict's keys for their text.

        A truth value only equals a truth value, a float is compared by tolerance only where one is expected, and NaN
        is what NaN is expected for.
        """
        if isinstance(expected, bool) or isinstance(actual, bool):
            return expected is actual
        if isinstance(expected, float):
            if math.isnan(expected):
                return isinstance(actual, float) and math.isnan(actual)
            number = isinstance(actual, int | float | Fraction | Decimal)
            return number and (expected == actual or self._close(expected, actual))
        if isinstance(expected, list | tuple):
            if not isinstance(actual, list | tuple) or len(expected) != len(actual):
                return False
            for wanted, given in zip(expected, actual, strict=True):  # a loop: values may be nested deeply
                if not self.matches_value(wanted, given):
                    return False
            return True
        if isinstance(expected, dict):
            return self._dicts(expected, actual)
        return bool(expected == actual)

    def _dicts(self, expected: dict[Any, Any], actual: Any) -> bool:
        if not isinstance(actual, dict) or len(expected) != len(actual):
            return False
        if not all(isinstance(key, str) for key in actual):
            actual = {_key_text(key): value for key, value in actual.items()}
        for key, value in expected.items():
            if key not in actual or not self.matches_value(value, actual[key]):
                return False
        return True


class Tokens(Standard):
    """As contest sites do that read the output word by word: line ends count as any white space, and a number's value
    counts alone.

    `10098.0` is accepted for `10098` and, of a function, 1 for true; an integer must still be met exactly.
    """

    def matches_output(self, expected: str, actual: str) -> bool:
        """Same tokens."""
        return self._same_tokens(expected, actual)

    def _tokens(self, expected: str, actual: str) -> bool:
        if super()._tokens(expected, actual):
            return True
        # The same value, exactly: decimals of any length, no rounding to a float.
        return bool(_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual)) and Decimal(expected) == Decimal(actual)

    def matches_value(self, expected: Any, actual: Any) -> bool:
        """As `standard`, but for truth values."""
        if isinstance(expected, bool | int) and isinstance(actual, bool | int | float):
            return expected == actual
        return super().matches_value(expected, actual)


class CodeContests(Tokens):
    """As the harness of CodeContests (Li et al., arXiv 2203.07814) compares: words, in any layout and letter case.

    That also accepts integers beyond 32 bits within 1e-5, and here they must be met exactly.
    """

    def _tokens(self, expected: str, actual: str) -> bool:
        return super()._tokens(expected.lower(), actual.lower())


CHECKERS: dict[str, Callable[[float], Checker]] = {
    "standard": Standard,
    "tokens": Tokens,
    "codecontests": CodeContests,
    "apps_compat": lambda tolerance: AppsCompat(),  # it has a tolerance of its own
}
"""Every checker, made for a tolerance, by the names that `problems.problem.CHECKERS` gives them."""


class CheckerFailure(Exception):
    """A checker of the user's did not say whether an output is accepted: that says nothing about the program."""


class UserChecker(UserFunction):
    """A checker of the user's (`run.code`), `def checker(expected, actual) -> bool`.

    Both are texts for a program that reads stdin, plain data for a function's value.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "checker", ["expected", "actual"], CheckerFailure)

    def matches_output(self, expected: str, actual: str) -> bool:
        """What the function says. Raises CheckerFailure where it raises anything, or says neither true nor false."""
        answer = self.call("an output", expected, actual)
        if not isinstance(answer, bool):
            raise self.refused("an output", answer, "True or False")
        return answer

    def matches_value(self, expected: Any, actual: Any) -> bool:
        """As `matches_output`."""
        return self.matches_output(copy.deepcopy(expected), actual)  # which it may sort; others are held against it


def checker_named(name: str) -> Callable[[float], Checker]:
    """What makes a checker, the user's own for `module:name`. Raises UserError for a name that none has."""
    if is_user_name(name):
        checker = UserChecker(name)
        return lambda tolerance: checker
    return chosen(CHECKERS, name, "checker")


def require_checkers(problems: Iterable[Problem]) -> None:
    """Raises UserError for a checker of the user's that a problem names and that cannot be used."""
    for name in dict.fromkeys(problem.suite.checker for problem in problems):
        checker_named(name)


def make_checker(suite: TestSuite) -> Checker:
    """The checker that a suite names, with the suite's tolerance."""
    return checker_named(suite.checker)(TOLERANCE if suite.tolerance is None else suite.tolerance)


def _key_text(key: Any) -> str:
    """A key as JSON writes it."""
    if isinstance(key, str):
        return key
    return json.dumps(key) if key is None or isinstance(key, bool) else str(key)


def _lines(text: str) -> Iterator[str]:
    """Lines that are not blank, one by one: a wrong output may have millions."""
    return (found[1] for found in _LINE.finditer(text.rstrip()))
