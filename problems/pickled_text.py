"""The text inside a pickle of one string, taken out without unpickling anything."""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib

MAX_BYTES = 1 << 30
"""Of a text, unpacked."""
_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_BESIDE = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"}
"""What stands around it: none of them makes, imports or calls anything."""


def packed_text(packed: str) -> str:
    """The text of base64 of zlib of a pickle of it, as LiveCodeBench packs its private tests.

    The pickle's instructions are read, not followed. Raises ValueError when they do more than to name one string.
    """
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(packed, validate=True), MAX_BYTES)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"it is no base64 of zlib: {error}") from None
    if not unpacking.eof:
        raise ValueError(f"it is cut off, or larger than {MAX_BYTES >> 20:,} MiB")
    found: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name in _TEXT:
                found.append(str(argument))
            elif operation.name not in _BESIDE:
                raise ValueError(f"its pickle has the instruction {operation.name}, and only a string is accepted")
    except UnicodeDecodeError as error:
        raise ValueError(f"its pickle holds no UTF-8 text: {error}") from None
    if len(found) != 1:
        raise ValueError(f"its pickle holds {len(found)} strings in place of one")
    return found[0]
