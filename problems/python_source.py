"""Python text of the data, parsed and never run."""

from __future__ import annotations

import ast


def parsed(what: str, source: str) -> ast.Module:
    """The tree of a program. Raises ValueError, which names `what` it is, for text that does not compile."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} is no Python: {error}") from None


def docstring_of(tree: ast.Module, function: str = "") -> str:
    """The docstring of a function, without one named that of the module; empty where there is none."""
    if not function:
        return ast.get_docstring(tree) or ""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    return ast.get_docstring(found[-1]) or "" if found else ""


def renamed(tree: ast.Module, old: str, new: str) -> str:
    """The program with another name for one of its functions or classes, comments left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == old:
            node.name = new
        elif isinstance(node, ast.Name) and node.id == old:
            node.id = new
    return ast.unparse(tree)


def literal(value: object) -> str:
    """The expression of a plain value, infinities and NaN in it too."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f'float("{value}")'
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, set) and value:
        return f"{{{', '.join(map(literal, value))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    return repr(value)
