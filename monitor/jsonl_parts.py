"""JSON-lines files in gzipped parts: append-only, readable while the run goes on, nothing rewritten."""

from __future__ import annotations

import gzip
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rltf.config import atomic_write

_PART = re.compile(r"part-(\d{5,})\.jsonl\.gz")


class PartWriter:
    """Writes lines to FOLDER/part-00000.jsonl.gz, part-00001 and so on.

    A part is written whole under a temporary name and then renamed, so a reader never sees half of one. A folder that
    has parts already is continued. Lines are held in memory until there are `lines_per_part` of them, or the oldest has
    been held for `max_age_s` when the next are added, or `flush`. When all parts together have more than `max_bytes`
    the oldest are deleted, whole; the newest stays.
    """

    def __init__(self, folder: Path, max_bytes: int, lines_per_part: int = 2048, max_age_s: float = 60.0) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lines_per_part = lines_per_part
        self._max_age_s = max_age_s
        self._held_since = time.monotonic()
        self._lines: list[bytes] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._sizes = {number: path.stat().st_size for number, path in _parts(folder).items()}
        self._next = max(self._sizes, default=-1) + 1

    @property
    def held(self) -> int:
        """Lines in memory."""
        return len(self._lines)

    def add(self, lines: Iterable[bytes]) -> None:
        """Appends lines (without their newline)."""
        if not self._lines:
            self._held_since = time.monotonic()
        self._lines.extend(lines)
        while len(self._lines) >= self._lines_per_part:
            self._write(self._lines[: self._lines_per_part])
            del self._lines[: self._lines_per_part]
            self._held_since = time.monotonic()
        if time.monotonic() - self._held_since > self._max_age_s:
            self.flush()

    def flush(self) -> None:
        """Writes what is held as a part of its own."""
        if self._lines:
            self._write(self._lines)
            self._lines = []

    def _write(self, lines: list[bytes]) -> None:
        path = _path(self._folder, self._next)
        with atomic_write(path) as temporary:
            temporary.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines), compresslevel=1))
        self._sizes[self._next] = path.stat().st_size
        self._next += 1
        while len(self._sizes) > 1 and sum(self._sizes.values()) > self._max_bytes:
            oldest = min(self._sizes)
            _path(self._folder, oldest).unlink(missing_ok=True)
            del self._sizes[oldest]


def read_parts(folder: Path, broken: Callable[[str], None]) -> Iterator[bytes]:
    """Lines of all parts of a folder in the order they were written; nothing where the folder is absent.

    A part that is damaged is read up to there; `broken` gets a sentence about it.
    """
    for path in _parts(folder).values():
        try:
            with gzip.open(path) as file:
                for line in file:
                    yield line.rstrip(b"\n")
        except FileNotFoundError:  # deleted meanwhile because of the bound
            continue
        except (OSError, EOFError, zlib.error) as error:
            broken(f"{path.name}: {error}")


def deleted_parts(folder: Path) -> int:
    """Parts that are gone because of the bound: they are numbered from 0."""
    return min(_parts(folder), default=0)


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.jsonl.gz"


def _parts(folder: Path) -> dict[int, Path]:
    """By number, in order."""
    found = ((_PART.fullmatch(path.name), path) for path in folder.glob("part-*.jsonl.gz"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))
