"""A test suite made ready for the lanes: what goes into a program's process, and what stays here to compare with."""

from __future__ import annotations

import ast
import builtins
import json
import marshal
import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rltf.executor import protocol
from rltf.executor.apps_compat import int_keys
from rltf.executor.checkers import make_checker
from rltf.executor.plaindata import MAX_DEPTH, depth, encode, nodes
from rltf.problems.long_integers import with_long_integers
from rltf.problems.problem import TestSuite

MAX_OUTPUT_BYTES = 16 << 20
MAX_RECORD_BYTES = 1 << 16
"""Bytes of a line of a report, what a function returned not counted."""
_BUILTINS = frozenset(dir(builtins))


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
    mode: Literal["stdin", "call", "split"]
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


def make_ready(suite: TestSuite) -> ReadySuite:
    """Prepares a suite. Raises ValueError for test code that does not compile, and for values nested too deeply."""
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
    if all(isinstance(node, ast.Import | ast.ImportFrom) for node in setup.body):
        whole = [call for call in calls if call is not None]
        if len(whole) == len(calls):
            return _calls(suite, whole, operator.eq)
    names, modules = _free_names([setup, *trees], suite.fn_name)
    tester = Tester(suite.setup, suite.asserts, names, modules)
    return _ready(suite, "split", (), (), operator.eq, tester=tester)


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
    mode: Literal["stdin", "call", "split"],
    tests: tuple[Any, ...],
    expected: tuple[Any, ...],
    match: Callable[[Any, Any], bool],
    tester: Tester | None = None,
    file_bytes: int = MAX_OUTPUT_BYTES,
) -> ReadySuite:
    max_nodes = tuple(1000 + 10 * nodes(value) for value in expected)
    sizes = [len(json.dumps(encode(value))) for value in expected] if mode == "call" else [0] * suite.count
    max_bytes = tuple(MAX_RECORD_BYTES + 16 * size for size in sizes)
    return ReadySuite(suite, suite.content_hash, mode, tests, expected, max_nodes, max_bytes, match, tester, file_bytes)


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
    try:
        arguments = tuple(ast.literal_eval(argument) for argument in call.args)
        return call.func.id, arguments, ast.literal_eval(comparison.comparators[0])
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None


def _free_names(trees: list[ast.Module], under_test: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names the tests need from the program, and standard modules they use by name.

    Builtins keep their meaning, but for the function under test where it has the name of one.
    """
    bound: set[str] = set()
    loaded: set[str] = set()
    called: set[str] = set()
    bases: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                bound.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                bases.add(node.value.id)
    free = loaded - bound - (_BUILTINS - {under_test})
    modules = {name for name in free & bases - called if name in sys.stdlib_module_names}
    return tuple(sorted(free - modules)), tuple(sorted(modules))
