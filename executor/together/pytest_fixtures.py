"""Fixtures of pytest for tests that share the program's process: their own ones, and the usual builtin ones.

Standard library only.
"""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType, GeneratorType, SimpleNamespace
from typing import Any, NamedTuple

Scope = dict[str, Any]


class Mark(NamedTuple):
    """What a fixture's decorator says."""

    scope: str
    params: list[Any] | None
    autouse: bool
    name: str | None


def fixture(function: Any = None, **named: Any) -> Any:
    """The decorator, with or without arguments."""
    params = named.get("params")
    listed = None if params is None else [getattr(row, "values", (row,))[0] for row in params]
    mark = Mark(named.get("scope", "function"), listed, named.get("autouse", False), named.get("name"))

    def decorate(made: Any) -> Any:
        made.__fixture__ = mark
        return made

    return decorate if function is None else decorate(function)


def _mark(made: Any) -> Mark | None:
    mark = getattr(made, "__fixture__", None)
    return mark if type(mark) is Mark else None


def bind(names: Scope) -> None:
    """Gives the test functions of a module, and the test methods of its classes, the fixtures that they ask for."""
    kept: Scope = {}
    for name, one in list(names.items()):
        if name.startswith("test") and type(one) is FunctionType:
            names[name] = _bound(one, names, kept, "function")
        elif isinstance(one, type) and name.startswith("Test") and not hasattr(one, "debug"):
            for method, function in list(vars(one).items()):
                if method.startswith("test") and type(function) is FunctionType:
                    setattr(one, method, _bound(function, names, kept, "method"))


def _bound(test: Any, names: Scope, kept: Scope, kind: str) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*instance: Any) -> None:
        scope = {**names, **_members(instance[0])} if instance else names
        uses = list(getattr(test, "__uses__", ())) + [name for name in _asked(test) if name not in _rows_of(test)]
        for chosen in _choices(uses, scope):
            with ExitStack() as stack:
                _around(scope, kind, stack)
                found = _Fixtures(scope, kept, stack, chosen)
                for name, one in scope.items():
                    if (mark := _mark(one)) is not None and mark.autouse:
                        found.get(name)
                values = {name: found.get(name) for name in uses}
                test(*instance, **{name: values[name] for name in _asked(test) if name in values})

    return run


def _members(instance: Any) -> Scope:
    found = {name for kind in type(instance).__mro__[:-1] for name in vars(kind)}
    return {name: getattr(instance, name) for name in found if not name.startswith("__")}


def _rows_of(test: Any) -> set[str]:
    return set(getattr(test, "__rows__", ()))


def _asked(test: Any) -> list[str]:
    """Parameters of the innermost function that are no instance, and that no `mock.patch` gives."""
    patched = 0
    while hasattr(test, "__wrapped__"):
        given = [one for one in getattr(test, "patchings", ()) if one.attribute_name is None]
        patched += sum(1 for one in given if type(one.new).__name__ == "_SentinelObject")
        test = test.__wrapped__
    code = getattr(test, "__code__", None)
    names = () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    defaults = len(getattr(test, "__defaults__", None) or ())
    return [name for name in names[: len(names) - defaults] if name != "self"][patched:]


def _choices(uses: list[str], scope: Scope) -> Iterator[Scope]:
    """What the parameters of fixtures are, each combination in turn."""
    params: Scope = {}
    left = list(uses)
    while left:
        one: Any = scope.get(left.pop())
        mark = _mark(one)
        if mark is not None and one.__name__ not in params:
            if mark.params is not None:
                params[one.__name__] = mark.params
            left += _asked(one)
    for values in itertools.product(*params.values()):
        yield dict(zip(params, values, strict=True))


def _around(scope: Scope, kind: str, stack: ExitStack) -> None:
    """Functions named for what they do before and after each test."""
    before, after = scope.get(f"setup_{kind}"), scope.get(f"teardown_{kind}")
    if callable(before):
        before(*[None] * len(_asked(before)))
    if callable(after):
        stack.callback(after, *[None] * len(_asked(after)))


class _Fixtures:
    """Those of one test."""

    def __init__(self, scope: Scope, kept: Scope, stack: ExitStack, chosen: Scope) -> None:
        self._scope, self._kept, self._stack, self._chosen = scope, kept, stack, chosen
        self._made: Scope = {}
        marks = [(mark, one) for one in scope.values() if (mark := _mark(one)) is not None]
        self._renamed = {mark.name: one for mark, one in marks if mark.name}

    def get(self, name: str) -> Any:
        """Raises LookupError for one that nobody has."""
        if name in self._made:
            return self._made[name]
        maker = self._renamed.get(name) or self._scope.get(name)
        if _mark(maker) is not None:
            value = self._own(name, maker)
        elif name in _BUILTIN:
            value = self._stack.enter_context(_BUILTIN[name]())
        elif name == "request":
            return self._request(None)
        else:
            raise LookupError(f"fixture '{name}' not found")
        self._made[name] = value
        return value

    def _own(self, name: str, maker: Any) -> Any:
        shared = maker.__fixture__.scope != "function" and maker.__name__ not in self._chosen
        if shared and name in self._kept:
            return self._kept[name]
        asked = {one: self._request(maker) if one == "request" else self.get(one) for one in _asked(maker)}
        value = maker(**asked)
        if isinstance(value, GeneratorType):
            made = value
            value = next(made)
            if not shared:
                self._stack.callback(next, made, None)
        if shared:
            self._kept[name] = value
        return value

    def _request(self, maker: Any) -> Any:
        param = self._chosen.get(getattr(maker, "__name__", ""))
        return SimpleNamespace(param=param, addfinalizer=self._stack.callback, getfixturevalue=self.get)


class Captured(NamedTuple):
    """What was printed."""

    out: str
    err: str


class _Capture:
    def __init__(self) -> None:
        self._streams = io.StringIO(), io.StringIO()

    def readouterr(self) -> Captured:
        """Text since the last time."""
        texts = []
        for stream in self._streams:
            texts.append(stream.getvalue())
            stream.seek(0)
            stream.truncate()
        return Captured(*texts)


@contextmanager
def _capsys() -> Iterator[_Capture]:
    before, capture = (sys.stdout, sys.stderr), _Capture()
    sys.stdout, sys.stderr = capture._streams
    try:
        yield capture
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def _tmp_path() -> Iterator[Any]:
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)


_GONE: Any = object()


class MonkeyPatch:
    """Puts things into the places of others until the test ends."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []

    def setattr(self, target: Any, name: Any, value: Any = _GONE, raising: bool = True) -> None:
        """Of an object, or of what a dotted path leads to."""
        if value is _GONE:
            path, value = target, name
            target, name = _led_to(path)
        before = vars(target).get(name, _GONE) if isinstance(target, type) else getattr(target, name, _GONE)
        if before is _GONE and raising and not hasattr(target, name):
            raise AttributeError(f"{target!r} has no attribute {name!r}")
        setattr(target, name, value)
        self._undo.append(lambda: delattr(target, name) if before is _GONE else setattr(target, name, before))

    def delattr(self, target: Any, name: Any = _GONE, raising: bool = True) -> None:
        """The reverse."""
        if name is _GONE:
            target, name = _led_to(target)
        before = getattr(target, name, _GONE)
        if before is _GONE and not raising:
            return
        delattr(target, name)
        self._undo.append(lambda: setattr(target, name, before))

    def setitem(self, mapping: Any, key: Any, value: Any) -> None:
        """Of a dictionary."""
        before = mapping.get(key, _GONE)
        mapping[key] = value
        self._undo.append(lambda: mapping.pop(key, None) if before is _GONE else mapping.update({key: before}))

    def delitem(self, mapping: Any, key: Any, raising: bool = True) -> None:
        """The reverse."""
        if key in mapping or raising:
            before = mapping.pop(key)
            self._undo.append(lambda: mapping.update({key: before}))

    def setenv(self, name: str, value: Any, prepend: str | None = None) -> None:
        """Of the environment."""
        old = os.environ.get(name)
        self.setitem(os.environ, name, f"{value}{prepend}{old}" if prepend and old else str(value))

    def delenv(self, name: str, raising: bool = True) -> None:
        """The reverse."""
        self.delitem(os.environ, name, raising)

    def chdir(self, path: Any) -> None:
        """Another working folder."""
        self._undo.append(functools.partial(os.chdir, os.getcwd()))
        os.chdir(path)

    def undo(self) -> None:
        """All as it was."""
        while self._undo:
            self._undo.pop()()


def _led_to(path: str) -> tuple[Any, str]:
    """The object that has what a dotted path names, and its name there."""
    parts = path.split(".")
    target = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:-1], 2):
        if not hasattr(target, part):
            importlib.import_module(".".join(parts[:number]))
        target = getattr(target, part)
    return target, parts[-1]


@contextmanager
def _monkeypatch() -> Iterator[MonkeyPatch]:
    patch = MonkeyPatch()
    try:
        yield patch
    finally:
        patch.undo()


@contextmanager
def _caplog() -> Iterator[Any]:
    import logging

    class Log(logging.Handler):
        """What was logged."""

        def __init__(self) -> None:
            super().__init__()
            self.records: list[logging.LogRecord] = []
            self.before: dict[Any, int] = {}

        def emit(self, record: logging.LogRecord) -> None:
            self.records.append(record)

        @property
        def messages(self) -> list[str]:
            return [record.getMessage() for record in self.records]

        @property
        def text(self) -> str:
            return "".join(
                f"{one.levelname:8} {one.name}:{one.filename}:{one.lineno} {one.getMessage()}\n" for one in self.records
            )

        @property
        def record_tuples(self) -> list[tuple[str, int, str]]:
            return [(one.name, one.levelno, one.getMessage()) for one in self.records]

        def set_level(self, level: Any, logger: str | None = None) -> None:
            found = logging.getLogger(logger)
            self.before.setdefault(found, found.level)
            found.setLevel(level)

        @contextmanager
        def at_level(self, level: Any, logger: str | None = None) -> Iterator[None]:
            found = logging.getLogger(logger)
            before = found.level
            found.setLevel(level)
            try:
                yield
            finally:
                found.setLevel(before)

        def clear(self) -> None:
            self.records.clear()

    log = Log()
    logging.getLogger().addHandler(log)
    try:
        yield log
    finally:
        logging.getLogger().removeHandler(log)
        for logger, level in log.before.items():
            logger.setLevel(level)


_BUILTIN: dict[str, Callable[[], Any]] = {
    "capsys": _capsys,
    "capfd": _capsys,
    "tmp_path": _tmp_path,
    "monkeypatch": _monkeypatch,
    "caplog": _caplog,
}
