"""Columns of 32-bit numbers: token ids, offsets, log-probabilities.

An ``array`` holds a number in 4 bytes where a list holds it in 8 and an object, goes to the wire and back as one copy,
and is a buffer that numpy and torch read without converting number by number. Little-endian on the wire, as on every
platform the project runs on.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, cast


class _Column(array):
    """Equal to a list of the same numbers; pickled as its bytes."""

    __slots__ = ()
    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return list(self) == other if isinstance(other, list) else super().__eq__(other)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tobytes(),)


class Ints(_Column):
    """Integers from 0 to 2^31 - 1."""

    __slots__ = ()

    def __new__(cls, values: Iterable[int] | bytes = ()) -> Ints:
        """From integers, or from their bytes.

        Raises ValueError for a number out of range, TypeError for what is no integer.
        """
        column = cast("Ints", array.__new__(cls, "i", values))
        # The sign is in the last byte of each number: one look at these bytes is five times as fast as numpy's minimum.
        if not (values if isinstance(values, bytes) else column.tobytes())[3::4].isascii():
            raise ValueError("a negative number where ids or offsets are expected")
        return column


class Floats(_Column):
    """Finite numbers in single precision, below 2^127 in size."""

    __slots__ = ()

    def __new__(cls, values: Iterable[float] | bytes = ()) -> Floats:
        """From numbers, or from their bytes. Raises ValueError for one that is not finite or too large."""
        column = cast("Floats", array.__new__(cls, "f", values))
        # Sign and the highest seven of the eight bits of the exponent are in the last byte of each number; all set:
        # 2^127 or more, infinite, or no number. Several times as fast as asking numpy.
        highest = (values if isinstance(values, bytes) else column.tobytes())[3::4]
        if b"\x7f" in highest or b"\xff" in highest:
            raise ValueError("a log-probability that is not finite")
        return column


def to_wire(column: Any) -> memoryview:
    """A column's bytes, not copied; an ``enc_hook`` of msgspec for msgpack."""
    if isinstance(column, Ints | Floats):
        return memoryview(column)
    raise NotImplementedError(f"{type(column).__name__} is no part of a record")


def from_wire(kind: type, data: Any) -> Any:
    """The inverse of `to_wire`, which takes lists too; a ``dec_hook`` of msgspec.

    Raises ValueError or TypeError, which msgspec reports.
    """
    if kind not in (Ints, Floats) or not isinstance(data, bytes | list):
        raise TypeError(f"expected numbers, got {type(data).__name__}")
    return kind(data)
