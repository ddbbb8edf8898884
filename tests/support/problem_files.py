"""Files of problems for the tests of loaders and of `check-data`."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

GOOD = {"question": "Echo the line.", "inputs": ["1\n"], "outputs": ["1\n"]}


def unpack(archive: Path, folder: Path) -> Path:
    """The folder, with what the archive holds."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def write(folder: Path, *records: Any) -> str:
    """SPEC of a file with these records; bytes are written as they are."""
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in records]
    (folder / "own.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return f"jsonl:{folder / 'own.jsonl'}"


def lines(folder: Path, *records: Any, name: str = "records.jsonl") -> Path:
    """A file of JSON lines with these records."""
    file = folder / name
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file
