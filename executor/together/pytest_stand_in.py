"""The little of pytest that test code for programs uses: raises, warns, approx, marks, fixtures, fail and skip.

Standard library only. `raises` is here for tests that keep what it returns; in a with statement it is a question.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType, TracebackType
from typing import Any
from warnings import catch_warnings, simplefilter

from rltf.executor.together.pytest_fixtures import MonkeyPatch, fixture


class Approx:
    """A number, or a container of numbers, that others are equal to if they are close."""

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None) -> None:
        """Tolerances as pytest has them: 1e-6 of the value, 1e-12."""
        self._expected = expected
        self._relative = rel if rel is not None else 0.0 if abs is not None else 1e-6
        self._absolute = abs if abs is not None else 1e-12

    def __eq__(self, other: object) -> bool:
        return self._close(other, self._expected)

    __hash__ = None  # type: ignore[assignment]

    def _close(self, given: Any, expected: Any) -> bool:
        if isinstance(expected, dict):
            return given.keys() == expected.keys() and all(self._close(given[key], expected[key]) for key in expected)
        array = type(expected).__module__ == "numpy" and bool(expected.shape)
        if array or isinstance(expected, list | tuple):
            return len(given) == len(expected) and all(map(self._close, given, expected))
        if expected is None or isinstance(expected, str | bool):
            return bool(given == expected)
        if given == expected:
            return True
        tolerance = max(self._relative * abs(expected), self._absolute)
        return not math.isnan(abs(given)) and bool(abs(given - expected) <= tolerance)

    def __repr__(self) -> str:
        return f"approx({self._expected!r})"


class Raises:
    """A context that an exception has to leave."""

    def __init__(self, kinds: Any, match: str | None = None) -> None:
        """`match`: a pattern that is to be found in its text."""
        self._kinds, self._match = kinds, match
        self.value: Any = None

    @property
    def type(self) -> Any:
        """Its class."""
        return type(self.value)

    def __enter__(self) -> Raises:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None:
            raise AssertionError(f"did not raise {self._kinds}")
        if not isinstance(error, self._kinds):
            return False
        if self._match is not None and not re.search(self._match, str(error)):
            raise AssertionError(f"{self._match!r} does not match {str(error)!r}")
        self.value = error
        return True


def raises(kinds: Any, *call: Any, match: str | None = None, **named: Any) -> Any:
    """The context; with a function, what it raises."""
    if not call:
        return Raises(kinds, match)
    with Raises(kinds) as raised:
        call[0](*call[1:], **named)
    return raised


def parametrize(names: str | Sequence[str], rows: Any, **_: Any) -> Callable[[Any], Any]:
    """A decorator: the test is run for each row in turn."""
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)

    def decorate(test: Any) -> Any:
        @functools.wraps(test)
        def every(*arguments: Any, **named: Any) -> None:
            for row in rows:
                values = row.values if isinstance(row, Row) else (row,) if len(listed) == 1 else row
                test(*arguments, **named, **dict(zip(listed, values, strict=True)))

        every.__rows__ = (*listed, *getattr(test, "__rows__", ()))  # type: ignore[attr-defined]
        return every

    return decorate


class Row:
    """Values of `pytest.param`."""

    def __init__(self, *values: Any, **_: Any) -> None:
        """Its id and marks say nothing here."""
        self.values = values


class Warns(catch_warnings):
    """A context in which a warning has to come; afterwards a list of those that came."""

    def __init__(self, kinds: Any = Warning, match: str | None = None) -> None:
        """`match`: a pattern that is to be found in its text."""
        super().__init__(record=True)
        self._kinds, self._match = kinds, match
        self.list: list[Any] = []

    def __enter__(self) -> Any:
        self.list = super().__enter__()  # type: ignore[assignment]
        simplefilter("always")
        return self.list

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        found = [str(one.message) for one in self.list if issubclass(one.category, self._kinds)]
        if error[0] is None and not any(re.search(self._match or "", text) for text in found):
            raise AssertionError(f"no {self._kinds} came")


class _Mark:
    parametrize = staticmethod(parametrize)

    @staticmethod
    def skip(*arguments: Any, **_: Any) -> Any:
        """The test does not want to run."""
        return _skipped(arguments[0]) if arguments and callable(arguments[0]) else _skipped

    xfail = skip

    @staticmethod
    def skipif(condition: Any, **_: Any) -> Any:
        """The same, where something is so."""
        return _skipped if condition else lambda test: test

    @staticmethod
    def usefixtures(*names: str) -> Any:
        """Fixtures whose values the test does not need."""

        def mark(test: Any) -> Any:
            test.__uses__ = names
            return test

        return mark

    def __getattr__(self, name: str) -> Any:
        def mark(*arguments: Any, **_: Any) -> Any:
            return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else lambda test: test

        return mark


def _skipped(test: Any) -> Any:
    @functools.wraps(test)
    def skipped(*_: Any, **__: Any) -> None:
        skip()

    return skipped


def fail(reason: str = "", **_: Any) -> None:
    """The test fails."""
    raise AssertionError(reason)


def skip(reason: str = "", **_: Any) -> None:
    """The test does not want to run."""
    from unittest import SkipTest  # which takes long to load

    raise SkipTest(reason)


MODULE = ModuleType("pytest")
MODULE.__dict__.update(
    approx=Approx, raises=raises, warns=Warns, mark=_Mark(), param=Row, fail=fail, skip=skip, fixture=fixture
)
MODULE.__dict__.update(MonkeyPatch=MonkeyPatch, importorskip=import_module)
