"""Reading data files, plain or gzipped text, JSON lines or one JSON array; and writing results whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from config import UserError
from problems.problem import Skipped

_GZIP_MAGIC = b"\x1f\x8b"


def read_text(path: Path) -> str:
    """Text of a UTF-8 file, gzipped or not. Raises UserError when it cannot be read."""
    try:
        data = path.read_bytes()
        if data.startswith(_GZIP_MAGIC):
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None


def parse_json(text: str) -> Any:
    """Value of a JSON text. Raises ValueError with a short reason when it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error}") from None
    except RecursionError:
        raise ValueError("broken JSON: nested too deeply") from None


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any] | Skipped]]:
    """Objects of a file of JSON lines or of one JSON array, each with its place in the file (`line 3`, `entry 3`).

    A line that is no JSON object comes as `Skipped`. Raises UserError when the file, or an array as a whole, cannot be read.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        try:
            entries = parse_json(text)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        for number, entry in enumerate(entries, 1):
            place = f"entry {number}"
            yield place, entry if isinstance(entry, dict) else Skipped(place, "not a JSON object")
        return
    # str.splitlines would also split at characters that JSON strings may hold as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            value = parse_json(line)
        except ValueError as error:
            yield place, Skipped(place, str(error))
            continue
        yield place, value if isinstance(value, dict) else Skipped(place, "not a JSON object")


def unix_lines(text: str) -> str:
    """Text with Windows line ends turned into plain ones."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def replacing(out: Path, *inputs: Path | None) -> Iterator[TextIO]:
    """A file that takes the place of `out` when the block has ended well; otherwise `out` stays as it is.

    What a block that was broken off had written is left beside it, as NAME.partial. Something that is no plain file, say a terminal, is
    written into directly. Raises UserError when `out` is one of the `inputs`, which would be lost, or cannot be written.
    """
    for one in inputs:
        if one is not None and one.exists() and out.exists() and out.samefile(one):
            raise UserError(f"{out} is read by this command: write to another file")
    out = out.resolve()
    plain = out.is_file() or not out.exists()
    unfinished = out.with_name(f"{out.name}.partial") if plain else out
    try:
        file = unfinished.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    try:
        with file:
            yield file
        if plain:
            os.replace(unfinished, out)
    finally:
        if plain and unfinished.exists() and not unfinished.stat().st_size:
            unfinished.unlink()
