"""Python values as JSON and back: how arguments and results travel between a program's process and the judge.

No code, no pickle.

Scalars and lists are JSON's own; everything else is an object with one tag: `t` tuple, `s` set, `f` frozenset, `d` dict
as pairs, `b` bytes, `c` complex, `i` a long integer in hex, `q` a fraction, `m` a decimal, `y` a builtin type such as
int, `o` a value that has no plain form (its type's name), `h` a handle of one that stays where it is. Standard library
only: the zygote imports this module as well.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Any

MAX_DEPTH = 400
"""Levels of containers in a value: the judge takes it apart by recursion, below Python's usual limit."""
MAX_CALL_NODES = 10_000_000
"""Bound on the values of one call where both sides may be trusted with it: arguments, and results inside the
sandbox."""
LONG_BITS = 4000
"""Longer integers go as hex: decimal takes quadratic time and is refused by Python above 4,300 digits."""


_TAGS: dict[type, str] = {tuple: "t", set: "s", frozenset: "f"}
TYPES: dict[str, type] = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type)}
"""Classes that have a plain form: builtin ones, exceptions included."""


_PLAIN = {int, str, bool, float, complex, bytes, type(None)}


_CONTAINERS = (list, tuple, dict, set, frozenset)


class NotPlain(Exception):
    """Text that is no encoded value, one that is larger than allowed, or a value that has no plain form."""


class Opaque:
    """A value without a plain form. Equal to nothing, itself excepted."""

    def __init__(self, type_name: str) -> None:
        """`type_name` is the class's."""
        self.type_name = type_name

    def __repr__(self) -> str:
        """Show the type, as Python does for objects without a repr of their own."""
        return f"<{self.type_name} object>"


def encode(value: Any, keep: Callable[[Any], int | None] | None = None, levels: int = MAX_DEPTH) -> Any:
    """JSON value of a Python value. What is not exactly of a plain type becomes a handle from `keep`, without one what
    it holds, or its type's name.
    """
    kind = type(value)
    if kind is int:
        return value if -LONG_BITS < value.bit_length() < LONG_BITS else {"i": hex(value)}
    if kind is str or kind is bool or value is None or kind is float:
        return value
    if levels == 0:
        return {"o": "too deeply nested"}
    levels -= 1
    # By loops, here and in `decode`: a comprehension would take a second frame per level.
    parts: list[Any] = []
    if kind is list or kind in _TAGS:
        for item in value:
            parts.append(encode(item, keep, levels))
        return parts if kind is list else {_TAGS[kind]: parts}
    if kind is dict:
        for key, item in value.items():
            parts.append([encode(key, keep, levels), encode(item, keep, levels)])
        return {"d": parts}
    if kind is bytes:
        return {"b": value.hex()}
    if kind is complex:
        return {"c": [value.real, value.imag]}
    if kind is Fraction:
        return {"q": [encode(value.numerator), encode(value.denominator)]}
    if kind is Decimal:
        return {"m": str(value)}
    return _encode_other(value, keep, levels)


def encode_exactly(value: Any, levels: int = MAX_DEPTH) -> Any:
    """JSON value of a value that is a plain one through and through, no instance of a subclass.

    Raises NotPlain for any other: only Python can compare that.
    """
    kind = type(value)
    if kind in _PLAIN:
        return encode(value)
    if levels == 0:
        raise NotPlain("too deeply nested")
    levels -= 1
    if kind is list:
        return [encode_exactly(item, levels) for item in value]
    if kind in _TAGS:
        return {_TAGS[kind]: [encode_exactly(item, levels) for item in value]}
    if kind is dict:
        return {"d": [[encode_exactly(key, levels), encode_exactly(item, levels)] for key, item in value.items()]}
    if isinstance(value, type) and value is TYPES.get(value.__name__):
        return {"y": value.__name__}
    raise NotPlain(f"a {kind.__name__}")


def _encode_other(value: Any, keep: Callable[[Any], int | None] | None, levels: int) -> Any:
    """What is not kept: subclasses of plain types by what they hold (named tuples, counters, enumerations), numpy by
    its lists.
    """
    if isinstance(value, type) and value is TYPES.get(value.__name__):
        return {"y": value.__name__}
    handle = None if keep is None else keep(value)
    if handle is not None:
        return {"h": handle}
    # Constructors would call overridden methods; these read the storage itself.
    if isinstance(value, int):
        return encode(int.__add__(value, 0), keep, levels)
    if isinstance(value, float):
        return float.__add__(value, 0.0)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, dict):
        return encode(dict(dict.items(value)), keep, levels)
    if isinstance(value, bytearray):
        return {"b": value.hex()}
    base: Any
    for base in (list, tuple, set, frozenset):
        if isinstance(value, base):
            return encode(base(base.__iter__(value)), keep, levels)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), keep, levels)
    return {"o": type(value).__name__[:100]}


def decode(data: Any, max_nodes: int, handle: Callable[[int], Any] | None = None) -> Any:
    """Inverse of `encode`. Raises NotPlain when `data` is malformed or holds more than `max_nodes` values.

    The bound keeps a program from making its judge hash millions of colliding keys.
    """
    left = max_nodes

    def walk(item: Any, levels: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or levels < 0:
            raise NotPlain("a value larger than allowed")
        if item is None or isinstance(item, bool | int | float | str):
            return item
        levels -= 1
        parts: list[Any] = []
        if isinstance(item, list):
            for part in item:
                parts.append(walk(part, levels))
            return parts
        if not isinstance(item, dict) or len(item) != 1:
            raise NotPlain("not an encoded value")
        ((tag, body),) = item.items()
        if tag in ("t", "s", "f") and isinstance(body, list):
            for part in body:
                parts.append(walk(part, levels))
            # By way of a frozenset, as Python makes the set of a literal: programs see the order of its elements.
            return tuple(parts) if tag == "t" else set(frozenset(parts)) if tag == "s" else frozenset(parts)
        if tag == "d" and isinstance(body, list):
            pairs: dict[Any, Any] = {}
            for key, part in body:
                pairs[walk(key, levels)] = walk(part, levels)
            return pairs
        if tag == "b":
            return bytes.fromhex(body)
        if tag == "c":
            return complex(*body)
        if tag == "q":
            return Fraction(walk(body[0], levels), walk(body[1], levels))
        if tag == "m" and isinstance(body, str):
            return Decimal(body)
        if tag == "i":
            return int(body, 16)
        if tag == "y" and body in TYPES:
            return TYPES[body]
        if tag == "o" and isinstance(body, str):
            return Opaque(body)
        if tag == "h" and isinstance(body, int) and handle is not None:
            return handle(body)
        raise NotPlain("not an encoded value")

    try:
        return walk(data, MAX_DEPTH + 1)
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise NotPlain(f"not an encoded value: {error}") from None


def nodes(value: Any) -> int:
    """How many values a decoded value holds, containers included."""
    count, level = 0, [value]
    while level:
        count += len(level)
        level = [part for item in level for part in _parts(item)]
    return count


def holds_opaque(value: Any) -> bool:
    """Whether anything in a decoded value had no plain form."""
    level = [value]
    while level:
        if any(isinstance(item, Opaque) for item in level):
            return True
        level = [part for item in level for part in _parts(item)]
    return False


def depth(value: Any) -> int:
    """Levels of containers in a value, 0 of a scalar."""
    count, level = 0, [value] if isinstance(value, _CONTAINERS) else []
    while level:
        count += 1
        level = [part for item in level for part in _parts(item) if isinstance(part, _CONTAINERS)]
    return count


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return value
    return chain.from_iterable(value.items()) if isinstance(value, dict) else ()
