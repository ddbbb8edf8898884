"""A test suite made ready for the lanes: what goes into a program's process, and what stays here to compare with."""

from __future__ import annotations

import ast
import json
import marshal
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from rltf.executor import protocol
from rltf.executor.apps_compat import int_keys
from rltf.executor.checkers import make_checker
from rltf.executor.plaindata import MAX_DEPTH, depth, encode, nodes
from rltf.executor.test_names import names_of
from rltf.executor.together.plan import Plan, make_plan
from rltf.executor.ways import fits_split
from rltf.problems.long_integers import with_long_integers
from rltf.problems.problem import TestSuite

MAX_OUTPUT_BYTES = 16 << 20
MAX_RECORD_BYTES = 1 << 16
"""Bytes of a line of a report, what a function returned not counted."""
Mode = Literal["stdin", "call", "split", "together"]
"""How programs are run: reading and writing, called with plain values, with the tests in another process, or in the
same."""


@dataclass(frozen=True, slots=True)
class Tester:
    """The part of an assert suite that runs in the tests' own process."""

    setup: str
    asserts: tuple[str, ...]
    names: tuple[str, ...]
    """Names that the tests use and the program is to supply."""
    modules: tuple[str, ...]
    """Standard modules that the tests use without importing them."""


@dataclass(frozen=True, slots=True)
class ReadySuite:
    """A suite, prepared once and used for every program that it judges."""

    suite: TestSuite
    suite_hash: str
    mode: Mode
    tests: tuple[Any, ...]
    """Per test, what the program's process gets: its standard input, or the function's name and encoded arguments."""
    expected: tuple[Any, ...]
    """Per test what is expected; never leaves this process."""
    max_nodes: tuple[int, ...]
    """Per test the size beyond which a returned value is not looked at."""
    max_bytes: tuple[int, ...]
    """The same in bytes of its record."""
    match: Callable[[Any, Any], bool]
    tester: Tester | None
    """Of split."""
    plan: Plan | None
    """Of together."""
    file_bytes: int
    """Largest file a program may write, its standard output over all tests included."""

    @property
    def count(self) -> int:
        """Number of tests."""
        return self.suite.count

    def body(self, program: str, indices: list[int]) -> bytes:
        """The program process's job."""
        program = program.removeprefix("\ufeff")  # a byte order mark is no part of a source file either
        job = {
            "program": program,
            "mode": self.mode,
            "apps": self.suite.checker == "apps_compat",
            "site": self.suite.site,
            "prelude": self.suite.prelude,
            "literal": self.suite.kind == "assert",
            "plain": self.suite.way == "split",
            "tests": [self.tests[index] for index in indices] if self.tests else [],
        }
        return marshal.dumps(job, protocol.JOB_FORMAT)

    def tester_body(self, indices: list[int]) -> bytes:
        """The tests' process's job."""
        assert self.tester is not None
        asserts = [self.tester.asserts[index] for index in indices]
        job = {
            "setup": self.tester.setup,
            "asserts": asserts,
            "names": self.tester.names,
            "modules": self.tester.modules,
        }
        return marshal.dumps(job, protocol.JOB_FORMAT)


def make_ready(suite: TestSuite, together: bool = False) -> ReadySuite:
    """Prepares a suite; test code `together` with the program, whatever else would do.

    Raises ValueError for test code that does not compile, and for values nested too deeply."""
    if suite.checker_code:
        return _with_room(make_ready(replace(suite, checker_code="")), suite)
    checker = make_checker(suite)
    if suite.kind == "stdin":
        sizes = [len(text.encode("utf-8", "surrogatepass")) for text in (*suite.inputs, *suite.outputs)]
        return _ready(
            suite,
            "stdin",
            suite.inputs,
            suite.outputs,
            checker.matches_output,
            file_bytes=MAX_OUTPUT_BYTES + 2 * sum(sizes),
        )
    if suite.kind == "call":
        assert suite.fn_name is not None
        inputs = (
            [list(map(int_keys, arguments)) for arguments in suite.inputs]
            if "apps" in (suite.site, suite.checker.removesuffix("_compat"))
            else suite.inputs
        )
        tests = [
            (suite.fn_name, tuple(arguments), output) for arguments, output in zip(inputs, suite.outputs, strict=True)
        ]
        return _calls(suite, tests, checker.matches_value)
    trees = [_parsed(text) for text in suite.asserts]
    setup = _parsed(suite.setup)
    calls = [_literal_call(tree) for tree in trees]
    together = together or suite.way == "together"
    if not together and all(isinstance(node, ast.Import | ast.ImportFrom) for node in setup.body):
        whole = [call for call in calls if call is not None]
        if len(whole) == len(calls):
            return _calls(suite, whole, operator.eq)
    sources, trees = [suite.setup, *suite.asserts], [setup, *trees]
    names, modules = names_of(sources, trees, suite.fn_name)
    if not together and (suite.way == "split" or fits_split(trees, names, suite.fn_name)):
        tester = Tester(suite.setup, suite.asserts, names, modules)
        return _ready(suite, "split", (), (), operator.eq, tester=tester)
    plan = make_plan(suite)
    return _ready(
        suite, "together", (), (), operator.eq, plan=plan, file_bytes=MAX_OUTPUT_BYTES + 16 * plan.expected_bytes
    )


def _with_room(ready: ReadySuite, suite: TestSuite) -> ReadySuite:
    """The same for a suite whose own checker decides: other answers may be as large as the input."""
    room = [nodes(value) for value in suite.inputs]
    size = [len(json.dumps(encode(value))) for value in suite.inputs] if ready.mode == "call" else [0] * suite.count
    return replace(
        ready,
        suite=suite,
        suite_hash=suite.content_hash,
        max_nodes=tuple(most + 10 * more for most, more in zip(ready.max_nodes, room, strict=True)),
        max_bytes=tuple(most + 16 * more for most, more in zip(ready.max_bytes, size, strict=True)),
    )


def _calls(
    suite: TestSuite, calls: list[tuple[str, tuple[Any, ...], Any]], match: Callable[[Any, Any], bool]
) -> ReadySuite:
    for number, (_, arguments, expected) in enumerate(calls, 1):
        if max(map(depth, (*arguments, expected))) > MAX_DEPTH:
            raise ValueError(f"a value of test {number} is nested more than {MAX_DEPTH} levels deep")
    tests = tuple([name, [encode(argument) for argument in arguments]] for name, arguments, _ in calls)
    return _ready(suite, "call", tests, tuple(expected for _, _, expected in calls), match)


def _ready(
    suite: TestSuite,
    mode: Mode,
    tests: tuple[Any, ...],
    expected: tuple[Any, ...],
    match: Callable[[Any, Any], bool],
    tester: Tester | None = None,
    plan: Plan | None = None,
    file_bytes: int = MAX_OUTPUT_BYTES,
) -> ReadySuite:
    max_nodes = tuple(1000 + 10 * nodes(value) for value in expected)
    sizes = [len(json.dumps(encode(value))) for value in expected] if mode == "call" else [0] * suite.count
    max_bytes = tuple(MAX_RECORD_BYTES + 16 * size for size in sizes)
    return ReadySuite(
        suite, suite.content_hash, mode, tests, expected, max_nodes, max_bytes, match, tester, plan, file_bytes
    )


def _parsed(source: str) -> ast.Module:
    try:
        return with_long_integers(ast.parse, source)
    except SyntaxError as error:
        raise ValueError(f"test code does not compile: {error}") from None


def _literal_call(tree: ast.Module) -> tuple[str, tuple[Any, ...], Any] | None:
    """Name, arguments and expected value of `assert f(literals) == literal`; None for any other test."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
        return None
    comparison = tree.body[0].test
    if not isinstance(comparison, ast.Compare) or len(comparison.ops) != 1 or not isinstance(comparison.ops[0], ast.Eq):
        return None
    call = comparison.left
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        return None
    if call.func.id[:1].isupper():
        return None  # an object of a class: how it compares is its own affair
    try:
        arguments = tuple(ast.literal_eval(argument) for argument in call.args)
        return call.func.id, arguments, ast.literal_eval(comparison.comparators[0])
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None
