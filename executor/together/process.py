"""Runs a program and the tests of its data set, together in the process that was forked for the program.

Standard library only. The tests' text has questions in place of assertions (`executor.together.checks`).
"""

from __future__ import annotations

import os
import random
import sys
import time
from types import ModuleType
from typing import Any

from rltf.executor.child import class_of, find_function, line_of, message_of, show_source
from rltf.executor.isolation import CpuTimer
from rltf.executor.plaindata import MAX_CALL_NODES, decode
from rltf.executor.protocol import FILENAME
from rltf.executor.sites import surroundings
from rltf.executor.streams import own_null
from rltf.executor.together import pytest_fixtures, pytest_stand_in
from rltf.executor.together.checks import Checks, described
from rltf.executor.together.pristine import Pristine

TESTS = "<tests>"
MODULE = "solution"
_COMPILE, _EXEC = compile, exec  # a program may put others in their place


class _Tests:
    """One program and its tests."""

    def __init__(self, job: dict[str, Any], limit_ns: int, timer: CpuTimer) -> None:
        self._job, self._limit_ns, self._timer = job, limit_ns, timer
        given = {site: [decode(value, MAX_CALL_NODES) for value in values] for site, values in job["given"].items()}
        self._checks = Checks(given)
        self._surroundings = surroundings(job["program"], job["site"], job["prelude"], called=True)
        self._file = os.path.join(os.getcwd(), "program.py")
        self._me = os.getpid()
        self._start = 0
        self._pristine = Pristine([job["setup"], *(unit[1] for unit in job["units"])], (MODULE, *job["aliases"]))
        self._program: Any = None
        self._names: dict[str, Any] = {}

    def run(self) -> None:
        """Runs every test; each is reported."""
        self._begin()
        try:
            show_source(self._job["program"], self._file)
            self._program = _COMPILE(self._job["program"], FILENAME, "exec", dont_inherit=True)
        except BaseException as error:
            line = line_of(error, error.__traceback__)
            told = [class_of(error, compiling=True), line, message_of(error)]
            self._checks.fragments.add([-3, self._cpu_us(), *told])
            self._checks.fragments.flush("\n")
            return
        loaded = False
        for place, unit in enumerate(self._job["units"]):
            if place:
                self._begin()
            try:
                if self._job["afresh"] or not loaded:
                    self._load()
                    loaded = True
                end = self._one(unit)
            except BaseException as error:
                end = [-2] if type(error).__name__ == "SkipTest" else [-1, *described(error)]
            if os.getpid() != self._me:
                os._exit(0)
            if self._pristine.is_changed(self._names):
                self._checks.fragments.add([-5])
            self._checks.fragments.add([end[0], self._cpu_us(), *end[1:]])
            self._checks.fragments.flush("\n")

    def _begin(self) -> None:
        self._timer.start(self._limit_ns)
        self._start = time.process_time_ns()

    def _cpu_us(self) -> int:
        return (time.process_time_ns() - self._start) // 1000

    def _load(self) -> None:
        """A fresh module of the program, and one of the tests with what they take of it."""
        module = ModuleType(MODULE)
        module.__dict__["__file__"] = self._file
        for name in (MODULE, *self._job["aliases"]):
            sys.modules[name] = module
        module.__dict__.update(self._surroundings.names)
        if "random" in self._job["program"] or "random" in self._job["setup"]:
            random.seed(0)
            if "numpy" in sys.modules:
                sys.modules["numpy"].random.seed(0)
        if "pytest" in self._job["setup"]:
            sys.modules["pytest"] = pytest_stand_in.MODULE
        sys.setrecursionlimit(self._surroundings.recursion_limit)
        _EXEC(self._program, module.__dict__)
        tests = ModuleType("tests")
        sys.modules["tests"] = tests
        names = self._names = tests.__dict__
        names["__builtins__"] = self._pristine.builtins
        for name in self._job["names"]:
            try:
                names[name] = find_function(module.__dict__, name)
            except NameError:
                if name == self._job["entry"]:
                    raise  # Python's own of that name is not what is tested
        names |= {name: self._pristine.module(name) for name in self._job["modules"]}
        names["__check__"] = self._checks
        _EXEC(_COMPILE(self._job["setup"], TESTS, "exec", dont_inherit=True), names)
        self._pristine.keep(names)
        if not self._job["afresh"]:
            pytest_fixtures.bind(names)
            if callable(set_up := names.get("setUpModule") or names.get("setup_module")):
                set_up(*[None] * set_up.__code__.co_argcount)
        for name, value in list(names.items()):
            if not name.startswith("__"):
                module.__dict__.setdefault(name, value)  # as if they were in one file; its own come first

    def _one(self, unit: list[Any]) -> list[Any]:
        if unit[0] == "case":
            return _run_case(self._names[unit[1]], unit[2])
        _EXEC(_COMPILE(unit[1], TESTS, "exec", dont_inherit=True), self._names)
        return [-1]


def _run_case(kind: Any, method: str) -> list[Any]:
    """One method of a unittest.TestCase, with all that belongs to it."""
    import unittest

    errors: list[BaseException] = []

    class Result(unittest.TestResult):
        """Keeps the exceptions themselves."""

        def addError(self, test: Any, err: Any) -> None:
            errors.append(err[1])

        addFailure = addError

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                errors.append(err[1])

        def addUnexpectedSuccess(self, test: Any) -> None:
            errors.append(AssertionError("it passes, and should not"))

    result = Result()
    if "__set_up__" not in kind.__dict__:
        kind.__set_up__ = True
        kind.setUpClass()
    kind(method).run(result)
    if errors:
        return [-1, *described(errors[0])]
    return [-2] if result.skipped else [-1]


def run(job: dict[str, Any], limit_ns: int, timer: CpuTimer) -> None:
    """The job of a program's process.

    {"program", "setup": texts, "units": [["code", text] or ["case", class, method], ..], "afresh": whether each has a
    program of its own, "names": what the tests take of the program, "entry": the name that they must get, "aliases":
    what they import it as, "modules": standard modules that they use unimported, "given": {site: [value, ..]}}.
    """
    own_null()
    _Tests(job, limit_ns, timer).run()
