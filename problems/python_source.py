"""Python text of the data, parsed and never run."""

from __future__ import annotations

import ast
import re
import warnings

from rltf.problems.long_integers import with_long_integers

_IMPORT = re.compile(r"(?m)^(?:import|from)[ \t].*$")
_SOLUTION = "Solution()."
"""Before the name of a method that LeetCode's problems ask for."""


def parsed(what: str, source: str) -> ast.Module:
    """The tree of a program. Raises ValueError, which names `what` it is, for text that is no Python."""
    try:
        return with_long_integers(ast.parse, source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} is no Python: {error}") from None


def require_compiles(what: str, source: str) -> None:
    """Raises ValueError, which names `what` it is, for a program that does not compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with_long_integers(compile, source, "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} does not compile: {error}") from None


def function_of(entry_point: str) -> str | None:
    """Name of the function or method that an entry point such as `f` or `Solution().f` asks for; None where it is
    neither.
    """
    name = entry_point.removeprefix(_SOLUTION)
    return name if name.isidentifier() else None


def imports_of(source: str) -> str:
    """The import statements at the left margin of code, which may end in the middle: one per line."""
    try:
        nodes = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
        for line in _IMPORT.findall(source):
            try:
                nodes += ast.parse(line).body
            except SyntaxError:
                continue  # a sentence that begins with such a word, or an import over several lines
    found = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    named = [node for node in found if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")]
    return "\n".join(map(ast.unparse, named))


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
