"""Tests without the computation of what they expect, where that is given to them: nobody finds it on the way then."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping

_MARKER = re.compile(r"__SITE_(\d+)__")
_PURE = set(
    (
        "abs all any ascii bin bool bytearray bytes chr complex dict divmod enumerate filter float format frozenset "
        "hash hex int isinstance len list map max min oct ord pow range repr reversed round set slice sorted str sum "
        "tuple zip"
    ).split()
)
_PURE_METHODS = set(
    (
        "capitalize casefold center copy count encode decode endswith find format get index isalpha isdigit items join "
        "keys lower lstrip partition replace rpartition rsplit rstrip split splitlines startswith strip swapcase title "
        "upper values zfill union intersection difference most_common elements bit_length conjugate"
    ).split()
)
_PURE_MODULES = {"math", "operator", "itertools", "functools", "collections", "string", "fractions", "decimal"}
_CHANGES = set("append extend insert add update setdefault sort reverse appendleft".split())


class _Statement:
    """One that only computes: what it binds, and what it reads."""

    def __init__(self, node: ast.stmt) -> None:
        self.binds: set[str] = set()
        self.reads: set[str] = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                (self.reads if isinstance(part.ctx, ast.Load) else self.binds).add(part.id)
            elif isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name):
                self.reads.add(part.target.id)
        for name in _changed(node):
            self.binds.add(name)


def _changed(node: ast.AST) -> Iterator[str]:
    """Names whose values a statement's method calls and item assignments change."""
    for part in ast.walk(node):
        target: ast.AST | None = None
        if (
            isinstance(part, ast.Expr)
            and isinstance(part.value, ast.Call)
            and isinstance(part.value.func, ast.Attribute)
        ):
            target = part.value.func.value
        elif isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store):
            target = part.value
        if isinstance(target, ast.Name):
            yield target.id


def _computes(node: ast.stmt, program: Collection[str]) -> bool:
    """Whether a statement does nothing but bind names to values that have nothing to do with the program."""
    if any(isinstance(part, ast.Name) and (part.id in program or part.id.startswith("__")) for part in ast.walk(node)):
        return False
    if isinstance(node, ast.Assign):
        return all(map(_is_target, node.targets)) and _is_pure(node.value)
    if isinstance(node, ast.AugAssign):
        return _is_target(node.target) and _is_pure(node.value)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.value is not None and _is_pure(node.value)
    if isinstance(node, ast.For):
        return not node.orelse and _is_target(node.target) and _is_pure(node.iter) and _all(node.body, program)
    if isinstance(node, ast.While | ast.If):
        return _is_pure(node.test) and _all([*node.body, *node.orelse], program)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        call = node.value
        assert isinstance(call.func, ast.Attribute)
        changes = call.func.attr in _CHANGES and isinstance(call.func.value, ast.Name)
        return changes and all(map(_is_pure, call.args)) and not call.keywords
    return isinstance(node, ast.Pass | ast.Break | ast.Continue)


def _all(statements: list[ast.stmt], program: Collection[str]) -> bool:
    return all(_computes(statement, program) for statement in statements)


def _is_target(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List):
        return all(map(_is_target, node.elts))
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and _is_pure(node.slice)
    return isinstance(node, ast.Name)


def _is_pure(node: ast.expr) -> bool:
    """Whether evaluating an expression changes nothing."""
    for part in ast.walk(node):
        if isinstance(part, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return False
        if isinstance(part, ast.Call):
            function = part.func
            if isinstance(function, ast.Name) and function.id in _PURE:
                continue
            if isinstance(function, ast.Attribute) and (
                function.attr in _PURE_METHODS
                or (isinstance(function.value, ast.Name) and function.value.id in _PURE_MODULES)
            ):
                continue
            return False
    return True


class _Drop(ast.NodeTransformer):
    """Takes statements out."""

    def __init__(self, dead: set[int]) -> None:
        self._dead = dead

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and any(id(statement) in self._dead for statement in block):
                kept = [statement for statement in block if id(statement) not in self._dead]
                setattr(node, name, kept or ([ast.Pass()] if name == "body" else []))
        return super().generic_visit(node)


def without(trees: list[ast.Module], texts: Mapping[int, str], expected: set[str], program: Collection[str]) -> None:
    """Drops from the tests what computes only the names in `expected`, or what those are computed from.

    Args:
        trees: tests with markers in place of assertions, changed.
        texts: what stands at each marker.
        expected: names that assertions read no longer.
        program: names that have to do with the program.

    """
    reads_at = {number: _free(ast.parse(text, mode="eval").body) for number, text in texts.items()}
    pure: dict[int, _Statement] = {}
    live: set[str] = set()
    for tree in trees:
        _look(tree, pure, live, reads_at, program)
    wanted = set(expected)
    while True:
        more = {name for one in pure.values() if one.binds & wanted for name in one.reads} - wanted
        if not more:
            break
        wanted |= more
    alive = {key for key, one in pure.items() if not one.binds or not one.binds <= wanted}
    while True:
        for key in alive:
            live |= pure[key].reads
        more_alive = {key for key, one in pure.items() if one.binds & live} - alive
        if not more_alive:
            break
        alive |= more_alive
    drop = _Drop(set(pure) - alive)
    for tree in trees:
        drop.visit(tree)


def _look(
    node: ast.AST,
    pure: dict[int, _Statement],
    live: set[str],
    reads_at: Mapping[int, set[str]],
    program: Collection[str],
) -> None:
    """Sorts statements into those that only compute, and the rest, whose names are live."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.stmt) and _computes(part, program):
            pure[id(part)] = _Statement(part)
            continue
        if isinstance(part, ast.expr):
            found = _MARKER.fullmatch(part.id) if isinstance(part, ast.Name) else None
            live |= reads_at.get(int(found[1]), set()) if found else _free(part)
            continue
        if isinstance(part, ast.Global | ast.Nonlocal):
            live |= set(part.names)
        if not isinstance(part, ast.For):
            _look(part, pure, live, reads_at, program)
            continue
        inside: set[str] = set()
        _look(part, pure, inside, reads_at, program)
        live |= inside - {name.id for name in ast.walk(part.target) if isinstance(name, ast.Name)}


def _free(node: ast.AST) -> set[str]:
    """Names that an expression reads where it stands: no parameters of lambdas, nor what comprehensions bind."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    if isinstance(node, ast.Lambda):
        own = {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)}
        return _free(node.args) | (_free(node.body) - own)
    found = {name for part in ast.iter_child_nodes(node) for name in _free(part)}
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        targets = [part for generator in node.generators for part in ast.walk(generator.target)]
        found -= {part.id for part in targets if isinstance(part, ast.Name)}
        found |= _free(node.generators[0].iter)
    return found
