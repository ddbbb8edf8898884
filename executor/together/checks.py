"""What the tests' assertions ask, inside the process: every answer goes into the report.

Nothing here is believed: the judge compares what is reported with what it expects. Standard library only.

A line of the report is a test, a sequence of JSON fragments that END ends:

    [site, value]                                  of a value its encoding, of anything else whether it holds
    [site, 1, class, line, message, kind, own]     evaluating it raised; `own`: in the program's code, not the tests'
    [-1, cpu_us]                                   the test came to its end
    [-1, cpu_us, class, line, message, kind, own]  the same, with an exception
    [-2, cpu_us]                                   the tests themselves said that they do not want to run
    [-3, cpu_us, class, line, message]             the program does not compile
    [-4]                                           the tests met an object that is equal to everything, or the like
    [-5]                                           what the tests call is not theirs any more
"""

from __future__ import annotations

import json
import os
import re
from types import FunctionType, TracebackType
from typing import Any, Self

from rltf.executor.child import class_of, limit_kind, line_of, message_of
from rltf.executor.plaindata import TYPES, NotPlain, encode_exactly
from rltf.executor.protocol import FILENAME, FRAGMENT_END, REPORT

_SINCERE = {int, float, str, bool, list, tuple, dict, set, frozenset, bytes, type(None)}
MAX_BUFFERED = 1 << 12
MAX_RESULT_CHARS = 1 << 22


def described(error: BaseException) -> list[Any]:
    """Class, line, message and kind of an exception, and whether the program itself raised it."""
    trace = error.__traceback__
    line, inside = line_of(error, trace), False
    while trace is not None:
        inside = trace.tb_frame.f_code.co_filename == FILENAME
        trace = trace.tb_next
    return [class_of(error), line, message_of(error), limit_kind(error), inside]


class Fragments:
    """The report, written soon: the process may be killed at any moment."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._size = 0
        self._seen: set[int] = set()

    def add(self, fragment: list[Any], text: str = "") -> None:
        """`text`: JSON of the second element, where that is long."""
        data = f"[{fragment[0]},{text}]" if text else json.dumps(fragment)
        self._waiting.append(data)
        self._size += len(data)
        if self._size > MAX_BUFFERED or fragment[0] not in self._seen:
            self._seen.add(fragment[0])
            self.flush()

    def flush(self, end: str = "") -> None:
        """Writes what is waiting; `end` closes a test's line."""
        data = ("".join(one + FRAGMENT_END for one in self._waiting) + end).encode()
        self._waiting.clear()
        self._size = 0
        while data:
            data = data[os.write(REPORT, data) :]


class Checks:
    """What the tests know as `__check__`."""

    def __init__(self, given: dict[int, list[Any]]) -> None:
        """`given`: for some assertions the expected values, in the order in which they are come to."""
        self.fragments = Fragments()
        self._given = {site: iter(values) for site, values in given.items()}

    def next_given(self, site: int) -> Any:
        """The expected value of an assertion that is come to again."""
        return next(self._given[site])

    def __call__(self, site: int) -> Question:
        """An assertion after which the test goes on, whatever came of it."""
        return Question(self, site, swallow=True)

    def strict(self, site: int) -> Question:
        """An assertion whose exceptions concern the tests."""
        return Question(self, site, swallow=False)

    def holds(self, site: int) -> Question:
        """A call that raises AssertionError where something is not so."""
        return Call(self, site, swallow=True)

    def holds_strict(self, site: int) -> Question:
        """The same, of whose other exceptions the tests are to know."""
        return Call(self, site, swallow=False)

    def raises(self, site: int, kinds: Any, match: Any = None, wanted: bool = True) -> Raises:
        """A block that has to raise."""
        return Raises(self, site, kinds, match, wanted)

    def caught(self, site: int) -> Caught:
        """A try statement of which a handler has to be reached."""
        return Caught(self, site)

    def seen(self, value: Any) -> Any:
        """The value itself; one that says yes to everything is reported."""
        if type(value) not in _SINCERE and (_equals_anything(value, 1) or _pleases(value)):
            self.fragments.add([-4])
        return value

    @staticmethod
    def kinds(value: Any) -> list[str]:
        """Names of the builtin classes that a value is an instance of."""
        return [kind.__name__ for kind in type(value).__mro__ if TYPES.get(kind.__name__) is kind]

    @staticmethod
    def almost(left: Any, right: Any, places: int | None = None, delta: Any = None) -> bool:
        """Of unittest: assertAlmostEqual."""
        if left == right:
            return True
        difference = abs(left - right)
        return bool(difference <= delta) if delta is not None else bool(round(difference, places) == 0)


class _Block:
    """A with statement around an assertion."""

    def __init__(self, checks: Checks, site: int) -> None:
        self.checks, self.site = checks, site

    def __enter__(self) -> Self:
        return self

    def tell(self, value: Any) -> None:
        self.checks.fragments.add([self.site, value])

    def tell_error(self, error: BaseException) -> None:
        self.checks.fragments.add([self.site, 1, *described(error)])


class Question(_Block):
    """Asks for a value or a truth."""

    def __init__(self, checks: Checks, site: int, swallow: bool) -> None:
        """`swallow`: whether the test goes on after an exception."""
        super().__init__(checks, site)
        self._swallow = swallow

    def __call__(self, value: Any) -> None:
        """Reports a value: exactly, or that it is no plain one."""
        text = _exact(value)
        if text is None:
            self.tell({"o": type(value).__name__[:100]})
        else:
            self.checks.fragments.add([self.site], text)

    def truth(self, value: Any) -> None:
        """Reports whether something is so."""
        self.tell(bool(value))

    def pair(self, left: Any, right: Any) -> None:
        """Reports both sides of a comparison, whether they are equal, and whether one is equal to a stranger, too."""
        equal = bool(left == right)
        texts = [_exact(side) for side in (left, right)]
        anything = any(
            text is None and _equals_anything(side, right) for text, side in zip(texts, (left, right), strict=True)
        )
        shown = ",".join(text or '{"o":""}' for text in texts)
        self.checks.fragments.add([self.site], f"[{shown},{json.dumps(equal)},{json.dumps(anything)}]")

    def given(self) -> Any:
        """What is expected, where the tests computed it."""
        return self.checks.next_given(self.site)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Report an exception if the test is to go on."""
        if error is None or not self._swallow:
            return False
        self.tell_error(error)
        return True


class Call(Question):
    """Asks whether a call raises AssertionError."""

    _truth = True

    def negate(self) -> None:
        """From here on it has to raise."""
        self._truth = False

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Report the answer."""
        if error is None or (isinstance(error, AssertionError) and not described(error)[-1]):
            self.tell(self._truth == (error is None))
            return True
        return super().__exit__(kind, error, trace)


class Raises(_Block):
    """Stands for assertRaises and pytest.raises; has the exception afterwards."""

    def __init__(self, checks: Checks, site: int, kinds: Any, match: Any, wanted: bool) -> None:
        super().__init__(checks, site)
        self._kinds, self._match, self._wanted = kinds, match, wanted
        self.exception: Any = None

    def __getattr__(self, name: str) -> Any:
        """Give what pytest has of it: `value`, and its class as `type`."""
        if name == "value":
            return self.exception
        if name == "type":
            return type(self.exception)
        raise AttributeError(name)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Report whether the right exception came."""
        if error is not None and not isinstance(error, Exception):
            return False
        self.exception = error
        right = error is not None and isinstance(error, self._kinds)
        if right and self._match is not None:
            right = re.search(self._match, str(error)) is not None
        if error is not None and not right and self._wanted:
            self.tell_error(error)
        else:
            self.tell(right == self._wanted)
        return True


class Caught(_Block):
    """Stands around a try statement."""

    _reached = False

    def __call__(self) -> None:
        """The handler is reached."""
        self._reached = True

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Report whether it was."""
        if error is not None and not isinstance(error, AssertionError):
            self.tell_error(error)
            return True
        self.tell(self._reached)
        return error is not None and not self._reached


def _equals_anything(value: Any, other: Any) -> bool:
    """Whether a value is equal to an object that nobody knows, of a class with the name of another one's."""
    if type(value).__module__ == "unittest.mock":
        return False  # a test's own placeholder
    try:
        return bool(value == type(type(other).__name__, (), {})())
    except Exception:
        return False


def _pleases(value: Any) -> bool:
    """Whether an object of a builtin class, by methods of its own, has every element or no difference to any number."""
    try:
        if isinstance(value, str | list | tuple | set | frozenset | dict) and _redefines(value, "__contains__"):
            stranger = "\0stranger" if isinstance(value, str) else type("stranger", (), {})()
            return bool(stranger in value)
        if isinstance(value, int | float) and (_redefines(value, "__sub__") or _redefines(value, "__rsub__")):
            far = [n * 10**12 for n in (3, 7)]
            return all(value - n == 0 for n in far) or all(n - value == 0 for n in far)
    except Exception:
        return False
    return False


def _redefines(value: Any, method: str) -> bool:
    return type(getattr(type(value), method, None)) is FunctionType


def _exact(value: Any) -> str | None:
    """JSON of a plain value; None for any other, and for one that is too large."""
    try:
        text = json.dumps(encode_exactly(value), separators=(",", ":"))
    except (NotPlain, RecursionError, MemoryError):
        return None
    return text if len(text) <= MAX_RESULT_CHARS else None
