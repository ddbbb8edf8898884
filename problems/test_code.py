"""Test code of a data set: which tests it has. Parsed and never run."""

from __future__ import annotations

import ast

from rltf.problems.python_source import parsed


def units_of(source: str) -> tuple[str, ...]:
    """One statement per test of a module in the style of unittest or pytest; empty where it has none.

    Methods of a unittest.TestCase are `Class("method").debug()`, in the order in which unittest runs them.

    Raises ValueError for text that does not compile.
    """
    classes: dict[str, ast.ClassDef] = {}
    units: list[str] = []
    for node in parsed("its test code", source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            units.append(f"{node.name}()")
        elif isinstance(node, ast.ClassDef):
            classes[node.name] = node
            if _is_case(node, classes):
                units += [f'{node.name}("{name}").debug()' for name in sorted(_methods(node, classes))]
            elif node.name.startswith("Test"):
                units += [f"{node.name}().{name}()" for name in _methods(node, classes)]
    return tuple(units)


def defined(source: str) -> set[str]:
    """Names of the functions of a module. Raises ValueError for text that does not compile."""
    return {node.name for node in parsed("its test code", source).body if isinstance(node, ast.FunctionDef)}


def without_last(source: str, call: str) -> str:
    """Test code without the call at its end, if it has that: it is made anyway.

    Raises ValueError for text that does not compile.
    """
    body = parsed("its test code", source).body
    if not body or not isinstance(body[-1], ast.Expr) or ast.unparse(body[-1]) != call:
        return source
    return "\n".join(source.split("\n")[: body[-1].lineno - 1]) + "\n"


def _is_case(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    return any(
        base.endswith("TestCase")
        or (base in classes and classes[base] is not node and _is_case(classes[base], classes))
        for base in bases
    )


def _methods(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> list[str]:
    """Test methods of a class, those of its bases in the module included."""
    found: dict[str, None] = {}
    for base in node.bases:
        known = classes.get(ast.unparse(base))
        if known is not None and known is not node:
            found |= dict.fromkeys(_methods(known, classes))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    found |= dict.fromkeys(part.name for part in node.body if isinstance(part, kinds) and part.name.startswith("test"))
    return list(found)
