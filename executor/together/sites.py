"""An assertion of the tests as the judge knows it: what its process is asked, and what the right answer is."""

from __future__ import annotations

import ast
import cmath
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from rltf.executor.together.literals import NoLiteral, altered, source_of

Kind = Literal["value", "pair", "truth", "raises", "caught", "holds"]
"""value: a value is reported and compared here; pair: both sides are; the others report a truth: of an expression, that
an exception was raised or caught, that a call raised no AssertionError."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a reported value is compared with the expected one, as the test would have."""

    name: str
    """An operator, `close` or `kinds`."""
    wanted: bool = True
    """Whether the comparison is to be true."""
    swapped: bool = False
    """Whether the expected value stands on the left."""
    relative: float = 0.0
    absolute: float = 0.0
    """Of `close`: by how much it may differ."""
    places: int | None = None
    """Of `close`: the difference is rounded to so many places and must be zero."""
    strict: bool = False
    """Of `close`: whether the difference has to be below `absolute`."""

    def holds(self, given: Any, expected: Any) -> bool:
        """Whether the assertion holds. Raises what Python raises for operands that do not go together."""
        return self._compared(given, expected) == self.wanted

    def is_alterable(self) -> bool:
        """Whether another expected value is sure to turn the truth: what differs from one may differ from others."""
        return self.wanted if self.name in ("==", "close", "kinds") else self.name == "!=" and not self.wanted

    def _compared(self, given: Any, expected: Any) -> bool:
        if self.name == "close":
            return self._close(given, expected)
        if self.name == "kinds":
            one_layout = len(_LAYOUTS.intersection(given)) <= 1  # as every real class has
            return one_layout and any(kind.__name__ in given for kind in expected)
        left, right = (expected, given) if self.swapped else (given, expected)
        return bool(OPERATORS[self.name](left, right))

    def _close(self, given: Any, expected: Any) -> bool:
        if isinstance(expected, list | tuple):
            same = type(given) is type(expected) and len(given) == len(expected)
            return same and all(self._close(one, other) for one, other in zip(given, expected, strict=True))
        if isinstance(expected, dict):
            same = type(given) is dict and given.keys() == expected.keys()
            return same and all(self._close(given[key], expected[key]) for key in expected)
        if not isinstance(expected, int | float | complex):
            return bool(given == expected)
        if given == expected:
            return True
        difference = abs(given - expected)
        if self.places is not None:
            return round(difference, self.places) == 0
        if self.relative == 0.0:
            return difference < self.absolute if self.strict else difference <= self.absolute
        if isinstance(given, complex) or isinstance(expected, complex):
            return cmath.isclose(given, expected, rel_tol=self.relative, abs_tol=self.absolute)
        return math.isclose(given, expected, rel_tol=self.relative, abs_tol=self.absolute)


_LAYOUTS = set("int float complex str bytes bytearray list tuple dict set frozenset BaseException type".split())
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": lambda left, right: left is right or (type(left) is type(right) and left == right),
    "is not": lambda left, right: not (left is right or (type(left) is type(right) and left == right)),
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
}
"""As a test has them between plain values; `is` is asked of None, truth values and types only, which are singles."""
SYMBOLS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}


@dataclass(slots=True)
class Site:
    """One assertion. Texts are Python source that replaces its marker in the test code."""

    kind: Kind
    statement: int
    """Number of the assert statement that it is a part of."""
    plain: str
    """What is asked in the first run: of a value, nothing of what is expected."""
    shown: str = ""
    """The same with the expected value in it, at SLOT."""
    negated: str = ""
    """The opposite of what the test says."""
    compare: Comparison | None = None
    expected: Any = None
    rich: bool = True
    """Whether its truth says more than what the program returned: what it claims then has to be proved."""
    required: bool = True
    """Whether no run of the tests goes by without it."""
    depends: tuple[int, ...] = ()
    """Sites that have to hold for this one to be come to."""
    message: str = ""
    """The test's own, where it is a constant."""
    computed: bool = False
    """Of a pair: whether what the tests compute as expected has nothing to do with the program."""
    reads: tuple[str, ...] = ()
    """Of such a pair: names from which it is computed."""

    def text(self, form: Literal["plain", "true", "altered"], random: Random) -> str:
        """Its source in a run. An altered one is sure to fail a program that passes the others."""
        if form == "plain":
            return self.plain
        if form == "true":
            if self.kind in ("raises", "caught", "pair") or not self.shown:
                return self.plain
            return self.shown.replace(SLOT, source_of(self.expected))
        if self.kind in ("raises", "caught"):
            return self.shown.replace(SLOT, _other_exception(self.expected, random)) if self.shown else self.negated
        if self.kind != "pair" and self.shown and (self.compare is None or self.compare.is_alterable()):
            margin = self._margin()
            try:
                return self.shown.replace(SLOT, source_of(altered(self.expected, random, margin)))
            except NoLiteral:
                pass
        return self.shown.replace(SLOT, source_of(self._limit())) if self._is_order() else self.negated

    def _is_order(self) -> bool:
        ordered = self.compare is not None and self.compare.wanted and self.compare.name in ("<", ">")
        return ordered and self.kind == "value" and isinstance(self.expected, int | float)

    def _limit(self) -> float:
        """What nothing is more than, or less."""
        assert self.compare is not None
        return math.inf if (self.compare.name == ">") != self.compare.swapped else -math.inf

    def _margin(self) -> float:
        if self.compare is None or self.compare.name != "close":
            return 1.0 if self.compare is None else 0.0
        size = _largest(self.expected)
        return 4 * (self.compare.absolute + self.compare.relative * size + 10.0 ** -(self.compare.places or 0))


def _other_exception(kinds: tuple[type, ...], random: Random) -> str:
    """An exception that none of these is a kind of, nor the reverse."""
    usual = (ZeroDivisionError, BufferError, EOFError) if not kinds else (KeyError, TypeError, ValueError, OSError)
    others = [one for one in usual if not any(issubclass(one, kind) or issubclass(kind, one) for kind in kinds)]
    return random.choice(others or [BufferError]).__name__


def _largest(value: Any) -> float:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return max(map(_largest, value), default=0.0)
    return float(abs(value)) if isinstance(value, int | float | complex) else 0.0


SLOT = "\0"
"""Where in a shown text the expected value goes."""
