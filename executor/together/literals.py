"""Expected values in the text of tests: which expressions are one, and another value of the same type."""

from __future__ import annotations

import ast
import math
from random import Random
from typing import Any

from rltf.executor.plaindata import TYPES
from rltf.problems.python_source import literal

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class NoLiteral(Exception):
    """An expression whose value is not known from its text alone."""


def value_of(node: ast.expr) -> Any:
    """The plain value that an expression stands for. Raises NoLiteral.

    Beyond what Python calls a literal: empty and other sets, signs, `float("inf")`, sums and products of numbers.
    """
    if isinstance(node, ast.Constant):
        if node.value is Ellipsis:
            raise NoLiteral
        return node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [value_of(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items) if isinstance(node, ast.Tuple) else _hashed(items)
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise NoLiteral
        keys = [value_of(key) for key in node.keys if key is not None]
        return _made(dict, zip(keys, map(value_of, node.values), strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        return _number(node.operand) * (-1 if isinstance(node.op, ast.USub) else 1)
    if isinstance(node, ast.BinOp):
        return _sum_of(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _constructed(node.func.id, [value_of(argument) for argument in node.args])
    raise NoLiteral


def _hashed(items: list[Any]) -> Any:
    return _made(set, items)


def _made(kind: Any, items: Any) -> Any:
    try:
        return kind(items)
    except (TypeError, ValueError, OverflowError):
        raise NoLiteral from None


def _number(node: ast.expr) -> Any:
    value = value_of(node)
    if type(value) not in (int, float, complex):
        raise NoLiteral
    return value


def _sum_of(node: ast.BinOp) -> Any:
    """Of numbers; powers and products only as far as they are small."""
    left, right = _number(node.left), _number(node.right)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    small = all(isinstance(side, float | complex) or abs(side) < 1 << 64 for side in (left, right))
    try:
        if isinstance(node.op, ast.Mult) and small:
            return left * right
        if isinstance(node.op, ast.Div) and small:
            return left / right
        if isinstance(node.op, ast.Pow) and small and isinstance(right, int) and 0 <= right <= 64:
            return left**right
    except ArithmeticError:
        pass
    raise NoLiteral


def _constructed(name: str, arguments: list[Any]) -> Any:
    if name in ("set", "frozenset", "tuple", "list", "dict") and len(arguments) <= 1:
        return _made(TYPES[name], arguments[0] if arguments else ())
    if name in ("float", "complex") and len(arguments) == 1 and isinstance(arguments[0], str | int | float):
        return _made(TYPES[name], arguments[0])
    raise NoLiteral


def source_of(value: Any) -> str:
    """The expression of a value, in parentheses where it needs them."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, frozenset):
        return f"frozenset({source_of(set(value))})"
    if isinstance(value, int | float | complex) and not isinstance(value, bool):
        return f"({literal(value)})"
    return literal(value)


def altered(value: Any, random: Random, margin: float = 0.0) -> Any:
    """Another value of the type, unequal to the given one; a number differs by more than `margin`.

    Raises NoLiteral for a type that has only one value, or none that is sure to be unequal.
    """
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        step = random.randint(1, max(3, min(abs(value) // 3, 1 << 60))) + math.ceil(2 * margin)
        return value - step if random.random() < 0.5 and value >= step else value + step
    if isinstance(value, float):
        if not math.isfinite(value):
            return float(random.randint(1, 9))
        other = value + (1 if random.random() < 0.5 else -1) * (
            2 * margin + max(1.0, abs(value)) * random.uniform(0.2, 1)
        )
        return round(other, 6) if abs(other) < 1e9 and margin < 1e9 and round(other, 6) != value else other
    if isinstance(value, complex):
        return complex(altered(value.real, random, margin), value.imag)
    if isinstance(value, str):
        return _altered_text(value, random)
    if isinstance(value, bytes):
        return value + b"." if not value else bytes([value[0] ^ random.randint(1, 15)]) + value[1:]
    if isinstance(value, list | tuple):
        return type(value)(_altered_items(list(value), random, margin))
    if isinstance(value, set | frozenset):
        return type(value)(_altered_set(set(value), random))
    if isinstance(value, dict):
        return _altered_dict(value, random, margin)
    if isinstance(value, type):
        return random.choice([kind for kind in (int, str, list, dict, set) if not issubclass(value, kind)])
    raise NoLiteral


def _altered_text(text: str, random: Random) -> str:
    letters = [place for place, letter in enumerate(text) if letter.isalnum()]
    if not letters:
        return text + random.choice(_LETTERS)
    place = random.choice(letters)
    pool = "0123456789" if text[place].isdigit() else _LETTERS.upper() if text[place].isupper() else _LETTERS
    other = random.choice([letter for letter in pool if letter != text[place]])
    return text[:place] + other + text[place + 1 :]


def _altered_items(items: list[Any], random: Random, margin: float) -> list[Any]:
    places = list(range(len(items)))
    random.shuffle(places)
    for place in places:
        try:
            for _ in range(5):
                other = altered(items[place], random, margin)
                if other not in items:
                    break  # else a comparison that disregards order might not see it
            return [*items[:place], other, *items[place + 1 :]]
        except NoLiteral:
            continue
    return items[:-1] if items else [random.randint(0, 9)]


def _altered_set(items: set[Any], random: Random) -> set[Any]:
    if not items:
        return {random.randint(0, 9)}
    chosen = random.choice(sorted(items, key=repr))
    try:
        other = altered(chosen, random)
    except NoLiteral:
        other = random.randint(0, 9)
    return (items - {chosen}) | {other} if other not in items else items - {chosen}


def _altered_dict(items: dict[Any, Any], random: Random, margin: float) -> dict[Any, Any]:
    keys = list(items)
    random.shuffle(keys)
    for key in keys:
        try:
            return {**items, key: altered(items[key], random, margin)}
        except NoLiteral:
            continue
    return dict(list(items.items())[1:]) if items else {random.randint(0, 9): random.randint(0, 9)}
