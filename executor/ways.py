"""Which way test code is judged: by calls, split from the program, or together with it. docs/executor.md has the table.

Split is the cheaper of the last two and keeps everything that the tests know from the program, but only plain data
passes between. It is right for tests that call the program with plain values and look at plain values.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Collection, Sequence

_LOOKS = set(
    (
        "abs all any bool complex dict divmod enumerate float format frozenset hash hex int len list map max min ord "
        "pow range repr reversed round set sorted str sum tuple zip print bin chr oct filter"
    ).split()
)
"""Functions of Python that tests may use as they like: they see and give plain data."""
_MODULES = {"math", "random", "string", "itertools", "copy", "np", "numpy", "cmath"}
"""Modules whose functions do the same."""
_REFUSED = (
    ast.ClassDef,
    ast.AsyncFunctionDef,
    ast.With,
    ast.AsyncWith,
    ast.Await,
    ast.Global,
    ast.Nonlocal,
    ast.Delete,
    ast.Yield,
    ast.YieldFrom,
    ast.NamedExpr,
    ast.Match,
    ast.Raise,
    ast.Try,
    ast.TryStar,
)


class _Unfit(Exception):
    """The tests do something that needs the program's own objects."""


def fits_split(trees: Sequence[ast.Module], program: Collection[str], entry_point: str | None) -> bool:
    """Whether only plain data passes between the tests and the program, as far as their text tells."""
    try:
        _Reader(program, entry_point).read(trees)
    except _Unfit:
        return False
    return True


class _Reader:
    """Follows the program's functions and what they return through the tests."""

    def __init__(self, program: Collection[str], entry_point: str | None) -> None:
        self._functions = set(program)
        """Names that stand for a function of the program."""
        self._entry = entry_point
        self._results: set[str] = set()
        """Names of values that the program has returned."""
        self._defined: dict[str, ast.FunctionDef] = {}
        self._lambdas: set[str] = set()

    def read(self, trees: Sequence[ast.Module]) -> None:
        """Raises _Unfit."""
        nodes = [node for tree in trees for node in ast.walk(tree)]
        if any(isinstance(node, _REFUSED) for node in nodes):
            raise _Unfit
        self._defined = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        self._lambdas = {
            part.id
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
            for target in node.targets
            for part in ast.walk(target)
            if isinstance(part, ast.Name)
        }
        for node in nodes:
            if isinstance(node, ast.FunctionDef) and (node.decorator_list or node.args.kwarg):
                raise _Unfit
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in _MODULES | {
                "typing",
                "math",
            }:
                raise _Unfit
            if isinstance(node, ast.Import) and any(
                alias.name.partition(".")[0] not in _MODULES for alias in node.names
            ):
                raise _Unfit
        check = self._defined.get("check")
        if check is not None and len(check.args.args) == 1:
            self._functions.add(check.args.args[0].arg)
        if any(_read_again(tree, self._functions) for tree in trees):
            raise _Unfit
        self._follow(nodes)
        for node in nodes:
            self._look(node, trees)

    def _follow(self, nodes: Sequence[ast.AST]) -> None:
        """Finds the names that are bound to what the program returns, at first or second hand."""
        while True:
            before = len(self._results)
            for node in nodes:
                value, targets = _binding(node)
                if value is not None and self._has_result(value):
                    for target in targets:
                        self._results.update(part.id for part in ast.walk(target) if isinstance(part, ast.Name))
            if len(self._results) == before:
                return

    def _has_result(self, node: ast.expr) -> bool:
        return any(
            (isinstance(part, ast.Name) and part.id in self._results)
            or (isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in self._functions)
            for part in ast.walk(node)
        )

    def _look(self, node: ast.AST, trees: Sequence[ast.Module]) -> None:
        if isinstance(node, ast.Call):
            self._called(node)
        elif (
            isinstance(node, ast.Attribute)
            and self._has_result(node.value)
            and ast.unparse(node) != f"Solution().{self._entry}"
        ):
            raise _Unfit
        elif isinstance(node, ast.Compare):
            same = any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops)
            sides = [node.left, *node.comparators]
            if same and not any(isinstance(side, ast.Constant) for side in sides):
                raise _Unfit
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and self._has_result(node.value):
            raise _Unfit
        elif isinstance(node, ast.AugAssign) and self._has_result(node.target):
            raise _Unfit
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load) and child.id in self._functions:
                if not (isinstance(node, ast.Call) and (node.func is child or self._is_check(node))):
                    raise _Unfit  # the function itself is looked at, or handed on

    def _is_check(self, call: ast.Call) -> bool:
        return isinstance(call.func, ast.Name) and call.func.id == "check" and "check" in self._defined

    def _called(self, call: ast.Call) -> None:
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        function = call.func
        if isinstance(function, ast.Name) and function.id in self._functions:
            if function.id[:1].isupper() and function.id != "Solution":
                raise _Unfit  # an object of the program's own
            for argument in arguments:
                self._given(argument)
        elif self._is_check(call):
            for argument in arguments:
                if ast.unparse(argument) not in (self._entry, f"Solution().{self._entry}"):
                    raise _Unfit
        elif isinstance(function, ast.Name):
            known = function.id in _LOOKS or function.id in self._defined or not hasattr(builtins, function.id)
            if any(map(self._has_result, arguments)) and not known:
                raise _Unfit
        elif isinstance(function, ast.Attribute) and function.attr == "seed":
            raise _Unfit  # for the program, too
        elif isinstance(function, ast.Attribute) and any(map(self._has_result, arguments)):
            if not (isinstance(function.value, ast.Name) and function.value.id in _MODULES):
                raise _Unfit

    def _given(self, argument: ast.expr) -> None:
        """What a test hands to the program: written out, or looked at nowhere else."""
        for part in ast.walk(argument):
            if isinstance(part, ast.GeneratorExp | ast.Starred | ast.Lambda):
                raise _Unfit
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
                if part.id in self._functions or part.id in self._results:
                    continue
                if part.id in (self._defined.keys() | self._lambdas) and not self._is_called(argument, part):
                    raise _Unfit
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
                if part.func.id in ("range", "iter", "map", "filter", "zip", "enumerate", "reversed", "open", "object"):
                    if part is argument or not isinstance(argument, ast.Call):
                        raise _Unfit
        if isinstance(argument, ast.Name) and hasattr(builtins, argument.id) and argument.id not in self._functions:
            if argument.id not in self._results:
                raise _Unfit  # a class or a function of Python's

    @staticmethod
    def _is_called(argument: ast.expr, name: ast.Name) -> bool:
        return any(isinstance(part, ast.Call) and part.func is name for part in ast.walk(argument))


def _binding(node: ast.AST) -> tuple[ast.expr | None, list[ast.expr]]:
    if isinstance(node, ast.Assign):
        return node.value, node.targets
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        return node.value, [node.target]
    if isinstance(node, ast.For | ast.comprehension):
        return node.iter, [node.target]
    return None, []


def _read_again(scope: ast.Module | ast.FunctionDef, program: Collection[str]) -> bool:
    """Whether a variable is read elsewhere than where it is handed to the program, which may have changed it."""
    given: set[str] = set()
    reads: Counter[str] = Counter()
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            reads[node.id] += 1
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in program:
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            given.update(argument.id for argument in arguments if isinstance(argument, ast.Name))
    return any(reads[name] > 1 for name in given - set(program))
