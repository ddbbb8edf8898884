"""Which tests a statement shows as its examples: APPS keeps them among the others and does not say which they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from rltf.problems.problem import TestSuite

_INPUT = re.compile(r"(?i)\b(input|examples?|sample)\b")
_OUTPUT = re.compile(r"(?i)\boutput\b")
_CALL = re.compile(r"(?im)^\s*input:?\s*(?P<arguments>.+?)\s*$\s*^\s*output:?\s*(?P<value>.+?)\s*$")
_JSON_NAMES = {"true": True, "false": False, "null": None}


def shown_in(question: str, suite: TestSuite) -> tuple[int, ...]:
    """Positions of the tests whose input and output stand in the statement, one after the other under their headings.

    Of a stdin test all lines must stand there, white space aside; of a call `Input: name = value, ..` and
    `Output: value` must have its arguments and its value.
    """
    tests = enumerate(zip(suite.inputs, suite.outputs, strict=True))
    if suite.kind == "stdin":
        lines = _lines(question)
        return tuple(number for number, (given, expected) in tests if _shown(given, expected, lines))
    shown = _calls(question)
    return tuple(number for number, (arguments, value) in tests if [arguments, value] in shown)


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _shown(given: str, expected: str, lines: Sequence[str]) -> bool:
    """Whether the lines of a test stand in the statement: heading, input, heading, output."""
    inside, outside = _lines(given), _lines(expected)
    if not inside or not outside:
        return False
    for start in range(1, len(lines) - len(inside) - len(outside)):
        heading = start + len(inside)
        if (
            lines[start:heading] == inside
            and _INPUT.search(lines[start - 1])
            and _OUTPUT.search(lines[heading])
            and lines[heading + 1 : heading + 1 + len(outside)] == outside
        ):
            return True
    return False


def _calls(question: str) -> list[list[Any]]:
    """Arguments and value of each example of a call that is written with literals."""
    found = []
    for match in _CALL.finditer(question):
        try:
            call = ast.parse(f"_({match['arguments']})", mode="eval").body
            value = _literal(ast.parse(match["value"], mode="eval").body)
            assert isinstance(call, ast.Call)
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            found.append([[_literal(one) for one in given], value])
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue  # written in words
    return found


def _literal(node: ast.expr) -> Any:
    """Value of a literal. Raises ValueError for another expression."""
    return ast.literal_eval(_JsonNames().visit(node))


class _JsonNames(ast.NodeTransformer):
    """Replaces JSON's names of constants."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The constant, or the name as it is."""
        return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node
