"""Which names test code takes of a program, by Python's own rules of scope."""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
from collections.abc import Sequence

_BUILTINS = frozenset(dir(builtins))


def names_of(
    sources: Sequence[str], trees: Sequence[ast.Module], under_test: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names the tests need from the program, and standard modules they use by name.

    Builtins keep their meaning, but for the function under test where it has the name of one.
    """
    bound: set[str] = set()
    loaded: set[str] = set()
    for source in sources:
        _look(symtable.symtable(source, "<tests>", "exec"), bound, loaded)
    called: set[str] = set()
    bases: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called.add(node.func.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            bases.add(node.value.id)
    free = loaded - bound - (_BUILTINS - {under_test})
    modules = {name for name in free & bases - called - {under_test} if name in sys.stdlib_module_names}
    return tuple(sorted(free - modules)), tuple(sorted(modules))


def bound_names(trees: Sequence[ast.Module]) -> set[str]:
    """Names that the tests bind, in whatever scope."""
    bound: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return bound


def _look(table: symtable.SymbolTable, bound: set[str], loaded: set[str]) -> None:
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if (top or symbol.is_declared_global()) and (
            symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
        ):
            bound.add(symbol.get_name())
        if symbol.is_referenced() and (top or symbol.is_global()):
            loaded.add(symbol.get_name())
    for inner in table.get_children():
        _look(inner, bound, loaded)
