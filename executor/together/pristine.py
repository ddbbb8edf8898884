"""Python as the tests know it: as it was before the program ran, whatever the program has put in its places.

Standard library only; runs in the process that has both.
"""

from __future__ import annotations

import builtins
import importlib
import re
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from rltf.executor.protocol import FILENAME

_LIVE = ("input", "print", "open", "exit", "quit", "breakpoint")
"""Functions that tests put others in the places of, for both themselves and the program."""
_PURE = (
    "re math cmath copy collections itertools functools operator string statistics fractions decimal heapq bisect "
    "numbers types typing inspect json datetime enum dataclasses textwrap"
).split()
"""Modules that give the same for the same."""
_PATCHES = ("patch", "setattr")
"""What is in the text of tests that put things into modules: those are to reach the program."""


class Pristine:
    """Builtins and modules of its own for the tests of a process."""

    def __init__(self, texts: Iterable[str], program: Iterable[str]) -> None:
        """Before the program's first line; `texts`: the tests', `program`: names under which they may import it."""
        self.builtins = {**vars(builtins), **{name: _live(name) for name in _LIVE}, "__import__": self._import}
        self._before = dict(self.builtins)
        self._imported = builtins.__import__
        self._find = importlib.import_module
        text = "\n".join(texts)
        patched = any(word in text for word in _PATCHES)
        imported = set() if patched else set(re.findall(r"\w+", " ".join(re.findall(r"import .*|from \w+", text))))
        self._modules = {name: _copied(name) for name in _PURE if name in imported}
        self._takes = any(name in imported for name in program)
        self._functions: list[tuple[dict[str, Any], str, Any, Any]] = []
        self._bound: set[str] = set()

    def module(self, name: str) -> Any:
        """A module that the tests use unimported."""
        return self._modules.get(name) or self._find(name)

    def _import(self, name: str, *arguments: Any, **named: Any) -> Any:
        module = self._imported(name, *arguments, **named)
        if "." in name and not (len(arguments) > 2 and arguments[2]):
            name = name.partition(".")[0]  # `import a.b` binds a
        return self._modules.get(name, module)

    def keep(self, names: dict[str, Any]) -> None:
        """Notes the functions and methods that the tests define, with the code that they have."""
        self._functions, self._bound = [], set(names)
        for scope in [names, *(vars(one) for one in names.values() if isinstance(one, type))]:
            for name, one in scope.items():
                if type(one) is FunctionType and one.__globals__ is names:
                    self._functions.append((names if scope is names else {name: one}, name, one, one.__code__))

    def is_changed(self, names: dict[str, Any]) -> bool:
        """Whether something of the program has taken the place of what the tests call."""
        for scope, name, one, code in self._functions:
            if one.__code__ is not code or _is_of_program(scope.get(name, one)):
                return True
        if any(self.builtins.get(name) is not one for name, one in self._before.items()):
            return True
        new = names.keys() - self._bound
        return not self._takes and any(name in self._before and _is_of_program(names[name]) for name in new)


def _is_of_program(value: Any) -> bool:
    return type(value) is FunctionType and value.__code__.co_filename == FILENAME


def _live(name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(builtins, name)(*arguments, **named)

    return call


def _copied(name: str) -> ModuleType:
    module = importlib.import_module(name)
    copied = ModuleType(name)
    copied.__dict__.update(vars(module))
    return copied
