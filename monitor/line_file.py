"""One file of JSON lines that grows line by line: killed at any moment, it keeps its rows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rltf.config import writing
from rltf.telemetry.recorder import Row


class LineFile:
    """Appends rows. What a killed writer, or a full disk, has left of a line is cut off before the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = False
        """Whether the file is known to end with a whole line."""

    def append(self, row: Row) -> None:
        """Writes a row, and hands it to the system. Raises OSError."""
        if not self._whole:
            _cut_broken_tail(self._path)
        self._whole = False
        with writing(self._path), self._path.open("a") as lines:
            lines.write(json.dumps(row, default=_number) + "\n")
        self._whole = True


def _cut_broken_tail(path: Path) -> None:
    """Cuts off a last line without its newline, so that the next line does not grow onto it."""
    if path.exists():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)


def _number(value: Any) -> float | int:
    """Numpy scalars as plain numbers."""
    number: float | int = value.item()
    return number
