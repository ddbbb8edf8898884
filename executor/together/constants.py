"""Expected values that tests keep in names and tables, brought to the assertions that use them.

An assertion whose expected value is written out can be judged without the value being anywhere near the program. So a
name that is bound once to a literal, and read by assertions only, is replaced by it, and a loop over a literal table by
its rounds.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator

from rltf.executor.together.literals import NoLiteral, value_of

MAX_ROUNDS = 60
MAX_NODES = 20_000
"""Of what a loop becomes."""


def assertion_of(node: ast.stmt) -> ast.expr | ast.Call | None:
    """What an assert statement, or a call of a method or function named so, asserts."""
    if isinstance(node, ast.Assert):
        return node.test
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and asserts(node.value):
        return node.value
    return None


def asserts(call: ast.Call) -> bool:
    """Whether a call is one of an assertion, by its name."""
    return called(call).lower().startswith("assert")


def called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    return (
        call.func.attr
        if isinstance(call.func, ast.Attribute)
        else call.func.id
        if isinstance(call.func, ast.Name)
        else ""
    )


def operands(node: ast.stmt) -> Iterator[ast.expr]:
    """The expressions of an assertion that may be what it expects."""
    asserted = assertion_of(node)
    if asserted is None:
        return
    left = [asserted]
    while left:
        one = left.pop()
        if isinstance(one, ast.BoolOp):
            left += one.values
        elif isinstance(one, ast.UnaryOp):
            left.append(one.operand)
        elif isinstance(one, ast.Compare) and not any(isinstance(operator, ast.Is | ast.IsNot) for operator in one.ops):
            yield from (one.left, *one.comparators)
        elif isinstance(one, ast.Call) and one is asserted:
            yield from one.args


class _Names(ast.NodeVisitor):
    """How often each name is bound and read, and where assertions read it."""

    def __init__(self) -> None:
        self.bound: Counter[str] = Counter()
        self.read: Counter[str] = Counter()
        self.expected: Counter[str] = Counter()

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            (self.read if isinstance(node.ctx, ast.Load) else self.bound)[node.id] += 1
        elif isinstance(node, ast.arg):
            self.bound[node.arg] += 1
        elif isinstance(node, ast.Global | ast.Nonlocal):
            self.bound.update({name: 2 for name in node.names})
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bound[node.name] += 1
        elif isinstance(node, ast.alias):
            self.bound[(node.asname or node.name).partition(".")[0]] += 1
        elif isinstance(node, ast.ExceptHandler) and node.name:
            self.bound[node.name] += 1
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self.bound[node.target.id] += 1
        if isinstance(node, ast.stmt):
            self.expected.update(one.id for one in operands(node) if isinstance(one, ast.Name))
            if isinstance(node, ast.For) and _unrollable(node):
                self.expected.update(one.id for one in _tables(node.iter) if isinstance(one, ast.Name))
        self.generic_visit(node)


def _tables(iterated: ast.expr) -> list[ast.expr]:
    """What a loop goes over: the tables inside zip, enumerate and items."""
    if isinstance(iterated, ast.Call) and not iterated.keywords:
        if isinstance(iterated.func, ast.Name) and iterated.func.id in ("zip", "enumerate"):
            return iterated.args
        if isinstance(iterated.func, ast.Attribute) and iterated.func.attr == "items" and not iterated.args:
            return [iterated.func.value]
    return [iterated]


def _unrollable(loop: ast.For) -> bool:
    """Whether a loop is its rounds one after the other, with an assertion in each."""
    inner = [node for statement in loop.body for node in ast.walk(statement)]
    return (
        not loop.orelse
        and not any(isinstance(node, ast.Break | ast.Continue | ast.Return | ast.Yield) for node in inner)
        and any(isinstance(node, ast.stmt) and assertion_of(node) is not None for node in inner)
    )


class _Inline(ast.NodeTransformer):
    """Puts the literal that a name is bound to in the place of the name."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.values:
            return ast.copy_location(copy.deepcopy(self.values[node.id]), node)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        name = _single(node)
        if name is not None and name in self.values:
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node


def _single(node: ast.stmt) -> str | None:
    """The name that a statement binds to an expression and does nothing else."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def _is_literal(node: ast.expr) -> bool:
    try:
        value_of(node)
    except (NoLiteral, RecursionError):
        return False
    return True


class _Unroll(ast.NodeTransformer):
    """Puts the rounds of loops over literal tables one after the other."""

    def visit_For(self, node: ast.For) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        if not _unrollable(node):
            return node
        rows = _rows(node.iter)
        size = sum(1 for statement in node.body for _ in ast.walk(statement))
        if rows is None or len(rows) > MAX_ROUNDS or len(rows) * size > MAX_NODES:
            return node
        unrolled: list[ast.stmt] = []
        for row in rows:
            bound = _matched(node.target, row)
            if bound is None:
                return node
            unrolled += self._round(node, bound)
        return unrolled or ast.copy_location(ast.Pass(), node)

    @staticmethod
    def _round(loop: ast.For, bound: dict[str, ast.expr]) -> list[ast.stmt]:
        names = _Names()
        for statement in loop.body:
            names.visit(statement)
        inlined = {
            name: value
            for name, value in bound.items()
            if not names.bound[name] and names.read[name] == names.expected[name] and _is_literal(value)
        }
        first: list[ast.stmt] = [
            ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], copy.deepcopy(value)), loop)
            for name, value in bound.items()
            if name not in inlined
        ]
        body = [_Inline(inlined).visit(copy.deepcopy(statement)) for statement in loop.body]
        return [ast.fix_missing_locations(statement) for statement in first] + body


def _rows(iterated: ast.expr) -> list[ast.expr] | None:
    """The expressions that a loop goes through, where they are written out; their evaluation may be delayed."""
    tables = [_table(one, isinstance(iterated, ast.Call)) for one in _tables(iterated)]
    if not isinstance(iterated, ast.Call):
        return tables[0]
    if any(table is None for table in tables) or not tables:
        return None
    listed = [table for table in tables if table is not None]
    if isinstance(iterated.func, ast.Attribute):
        table = iterated.func.value
        if not isinstance(table, ast.Dict) or None in table.keys:
            return None
        pairs = zip([key for key in table.keys if key is not None], table.values, strict=True)
        return [ast.Tuple([key, value], ast.Load()) for key, value in pairs]
    if called(iterated) == "enumerate":
        return (
            [ast.Tuple([ast.Constant(n), one], ast.Load()) for n, one in enumerate(listed[0])]
            if len(listed) == 1
            else None
        )
    if len({len(table) for table in listed}) != 1:
        return None
    return [ast.Tuple(list(row), ast.Load()) for row in zip(*listed, strict=True)]


def _table(node: ast.expr, in_call: bool) -> list[ast.expr] | None:
    if isinstance(node, ast.List | ast.Tuple) and not any(isinstance(item, ast.Starred) for item in node.elts):
        return node.elts if all(map(_is_literal, node.elts)) else None
    if in_call and isinstance(node, ast.Dict):
        return [] if _is_literal(node) else None
    return None


def _matched(target: ast.expr, row: ast.expr) -> dict[str, ast.expr] | None:
    """What each name of a loop's target is bound to in a round."""
    if isinstance(target, ast.Name):
        return {target.id: row}
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(row, ast.Tuple | ast.List):
        return None
    if len(target.elts) != len(row.elts):
        return None
    bound: dict[str, ast.expr] = {}
    for part, value in zip(target.elts, row.elts, strict=True):
        inner = _matched(part, value)
        if inner is None:
            return None
        bound |= inner
    return bound


class _Parametrized(ast.NodeTransformer):
    """Makes loops of tests that pytest runs once per row of a table."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        for decorator in reversed(node.decorator_list):
            if not isinstance(decorator, ast.Call) or called(decorator) != "parametrize" or len(decorator.args) < 2:
                return node
        for decorator in reversed(node.decorator_list):
            assert isinstance(decorator, ast.Call)
            names = _parameters(decorator.args[0])
            if not names or not {argument.arg for argument in node.args.args}.issuperset(names):
                return node
            target: ast.expr = ast.Name(names[0], ast.Store())
            if len(names) > 1:
                target = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
            node.body = [ast.For(target, _unwrapped(decorator.args[1]), node.body, [])]
            node.args.args = [argument for argument in node.args.args if argument.arg not in names]
            node.decorator_list = node.decorator_list[:-1]
        return ast.fix_missing_locations(node)


def _unwrapped(table: ast.expr) -> ast.expr:
    """A table of rows, those of `pytest.param` as what they hold."""
    if isinstance(table, ast.List | ast.Tuple):
        for number, row in enumerate(table.elts):
            if isinstance(row, ast.Call) and called(row) == "param" and row.args:
                table.elts[number] = row.args[0] if len(row.args) == 1 else ast.Tuple(row.args, ast.Load())
    return table


def _parameters(node: ast.expr) -> list[str]:
    try:
        names = value_of(node)
    except NoLiteral:
        return []
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else [str(name) for name in names]


def written_out(trees: list[ast.Module]) -> None:
    """Changes the tests, whose names are common to all `trees`, such that assertions have their literals."""
    for tree in trees:
        _Parametrized().visit(tree)
    for _ in range(2):
        names = _Names()
        for tree in trees:
            names.visit(tree)
        values = {
            name: node.value
            for tree in trees
            for scope in ast.walk(tree)
            if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef)
            for node in scope.body
            if isinstance(node, ast.Assign)
            and (name := _single(node)) is not None
            and names.bound[name] == 1
            and 0 < names.read[name] == names.expected[name]
            and _is_literal(node.value)
        }
        for tree in trees:
            _Inline(values).visit(tree)
            _Unroll().visit(tree)
            ast.fix_missing_locations(tree)
