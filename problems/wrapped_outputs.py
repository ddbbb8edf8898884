"""Call-based APPS outputs are bare for some problems and wrapped in a list of one for others; which, is decided once,
at loading.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable
from typing import Any

_SEQUENCES = {"List", "list", "Tuple", "tuple", "Sequence", "Iterable"}
_SCALARS = {"int", "float", "str", "bool", "complex", "None"}


def unwrap_outputs(fn_name: str, outputs: list[Any], sources: Iterable[str]) -> list[Any]:
    """Return values that are expected of `fn_name`, with the list of one taken off where the data put it round each.

    Outputs are wrapped only if each is a list of one. Then the function's return annotation decides, looked for in
    `sources` (starter code first, then solutions; parsed, never run): `-> int` with `[9]` is wrapped, `-> List[int]`
    with `[9]` is bare, `-> List[List[int]]` with `[[1, 3]]` is bare. Where no annotation tells, a method of a class is
    bare and a plain function wrapped, as LeetCode's and Codewars' problems are in APPS.
    """
    if not outputs or not all(isinstance(output, list) and len(output) == 1 for output in outputs):
        return outputs
    unwrapped = [output[0] for output in outputs]
    for source in sources:
        annotation, is_method = _signature(fn_name, source)
        depth = None if annotation is None else _annotated_depth(annotation)
        if depth is not None:
            return unwrapped if max(map(_depth, outputs)) > depth else outputs
        if (
            annotation is not None
            and _name_of(annotation) in _SEQUENCES
            and not all(isinstance(value, list) for value in unwrapped)
        ):
            return outputs  # some sequence was promised, and below this list there is none
        if is_method:
            return outputs
    return unwrapped


def _signature(fn_name: str, source: str) -> tuple[ast.expr | None, bool]:
    """Return annotation of a function, and whether it is a method of a class."""
    for text in (source, _with_bodies(source)):
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue  # most starter code ends after the signature; other text that does not parse has nothing to tell
        methods = {node for parent in ast.walk(tree) if isinstance(parent, ast.ClassDef) for node in parent.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == fn_name:
                return node.returns, node in methods
    return None, False


def _with_bodies(source: str) -> str:
    """Starter code with a body in each function, which its signature alone lacks."""
    return re.sub(r"(?m)^([ \t]*)((?:async )?def .*:)[ \t]*$", r"\1\2\n\1    pass", source)


def _annotated_depth(annotation: ast.expr) -> int | None:
    """Levels of lists that an annotation names; None if it does not tell."""
    if isinstance(annotation, ast.Constant):
        if isinstance(annotation.value, str):
            try:
                return _annotated_depth(ast.parse(annotation.value, mode="eval").body)
            except SyntaxError:
                return None
        return 0 if annotation.value is None else None
    if isinstance(annotation, ast.BinOp):  # X | None
        return _annotated_depth(annotation.left)
    name = _name_of(annotation)
    if name in _SCALARS:
        return 0
    if not isinstance(annotation, ast.Subscript):
        return None
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    depths = [_annotated_depth(part) for part in inner if not (isinstance(part, ast.Constant) and part.value is ...)]
    if not depths or None in depths:
        return None
    deepest = max(depth for depth in depths if depth is not None)
    if name == "Optional":
        return deepest
    return 1 + deepest if name in _SEQUENCES else None


def _name_of(node: ast.expr) -> str:
    """`List` for `List`, `typing.List` and `List[int]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _depth(value: Any) -> int:
    """How deep lists are nested; level by level, for data may be nested deeper than calls may be."""
    depth, level = 0, [value]
    while lists := [each for each in level if isinstance(each, list)]:
        depth, level = depth + 1, list(itertools.chain.from_iterable(lists))
    return depth
