"""Reading data files, plain or gzipped text, JSON lines or one JSON array; and writing results whole or not at all."""

from __future__ import annotations

import codecs
import errno
import fcntl
import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from rltf.config import UserError
from rltf.problems.long_integers import with_long_integers
from rltf.problems.problem import Skipped

_GZIP_MAGIC = b"\x1f\x8b"
_STRAY = re.compile("[\udc80-\udcff]")


def read_text(path: Path) -> str:
    """Text of a UTF-8 file, gzipped or not. Raises UserError when it cannot be read."""
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None


def _read_bytes(path: Path) -> bytes:
    """Content of a file, unzipped, without a byte order mark."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data).removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from None


def parse_json(text: str) -> Any:
    """Value of a JSON text. Raises ValueError with a short reason when it is none."""
    try:
        return with_long_integers(json.loads, text, object_pairs_hook=_unambiguous)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error}") from None
    except RecursionError:
        raise ValueError("broken JSON: nested too deeply") from None
    except _KeyTwice as error:
        raise ValueError(f"broken JSON: the key {error.args[0]!r} stands twice in one object") from None


def parse_field(name: str, text: str) -> Any:
    """Value of a field that is a JSON text. Raises ValueError with its name and the reason when it is none."""
    try:
        return parse_json(text)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None


class _KeyTwice(Exception):
    """A key that an object has twice: json keeps the last, other readers the first."""


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _KeyTwice(next(key for key in keys if keys.count(key) > 1))
    return value


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any] | Skipped]]:
    """Objects of a file of JSON lines or of one JSON array, each with its place in the file (`line 3`, `entry 3`).

    A line that is no JSON object, or no UTF-8, comes as `Skipped`. Raises UserError when the file, or an array as a
    whole, cannot be read.
    """
    data = _read_bytes(path)
    if data.lstrip().startswith(b"["):
        try:
            try:
                text, whole = data.decode(), True
            except UnicodeDecodeError:
                text, whole = data.decode(errors="surrogateescape"), False
            entries = parse_json(text)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        for number, entry in enumerate(entries, 1):
            place = f"entry {number}"
            if not whole and (byte := _stray_byte(entry)) is not None:
                yield place, Skipped(place, f"not UTF-8 text: byte 0x{byte:02x}")
                continue
            yield place, entry if isinstance(entry, dict) else Skipped(place, "not a JSON object")
        return
    # str.splitlines would also split at characters that JSON strings may hold as they are.
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            value = parse_json(line.decode())
        except UnicodeDecodeError as error:
            yield (
                place,
                Skipped(place, f"not UTF-8 text: byte 0x{line[error.start]:02x} at position {error.start} of the line"),
            )
            continue
        except ValueError as error:
            yield place, Skipped(place, str(error))
            continue
        yield place, value if isinstance(value, dict) else Skipped(place, "not a JSON object")


def _stray_byte(entry: Any) -> int | None:
    """The first byte of an entry that was no UTF-8, by which it was decoded to a half character."""
    level = [entry]
    while level:
        for text in level:
            if isinstance(text, str) and not text.isascii() and (found := _STRAY.search(text)):
                return ord(found[0]) - 0xDC00
        level = [
            part
            for item in level
            for part in (item if isinstance(item, list) else chain(*item.items()) if isinstance(item, dict) else ())
        ]
    return None


def unix_lines(text: str) -> str:
    """Text with Windows line ends turned into plain ones."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class OutputFile:
    """The text file that a command writes its results into. What goes wrong is a UserError that names the file."""

    def __init__(self, file: TextIO, name: Path) -> None:
        """`name`: as the command line has it."""
        self._file = file
        self._name = name

    def write(self, text: str) -> None:
        """Writes; it may be held in memory until `flush`."""
        with or_user_error(self._name):
            self._file.write(text)

    def flush(self) -> None:
        """Hands everything to the system."""
        with or_user_error(self._name):
            self._file.flush()


@contextmanager
def or_user_error(out: Path) -> Iterator[None]:
    """What the system says against writing `out`, as a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None


@contextmanager
def atomic_output(out: Path, *inputs: Path | None) -> Iterator[OutputFile]:
    """A file that takes the place of `out` when the block has ended well; otherwise `out` stays as it is.

    What a block that was broken off had written is left beside it, as NAME.partial, which one command at a time has.
    Something that is no plain file, say a terminal, and a standard stream (/dev/stdout, wherever it leads) is written
    into directly. Raises UserError when `out` is one of the `inputs` or lies in a folder among them, when another
    command writes it, and when it cannot be written.
    """
    with or_user_error(out):
        if (written := _status(out)) is not None:
            _refuse_inputs(out, inputs)
        file, unfinished = _opened(out, written)
    output = OutputFile(file, out)
    try:
        yield output
        output.flush()
        if unfinished is not None:
            with or_user_error(out):
                os.replace(unfinished, os.path.realpath(out))
    except BaseException:
        with suppress(OSError):  # a disk that is full has been told
            file.flush()
        if unfinished is not None and not os.fstat(file.fileno()).st_size:
            unfinished.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError):
            file.close()


def _opened(out: Path, written: os.stat_result | None) -> tuple[TextIO, Path | None]:
    """What is written into, and its path where it is to take the place of `out`. `written`: of what is there now."""
    if (stream := _stream(out)) is not None:
        return os.fdopen(os.dup(stream), "w", encoding="utf-8"), None
    if written is not None and not stat.S_ISREG(written.st_mode):
        return out.open("w", encoding="utf-8"), None
    place = Path(os.path.realpath(out))  # a link stays, and what it leads to is replaced
    if written is not None and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    unfinished = place.with_name(f"{place.name}.partial")
    file = _locked(unfinished, out)
    if written is not None:
        os.fchmod(file.fileno(), stat.S_IMODE(written.st_mode))
    return file, unfinished


def _locked(unfinished: Path, out: Path) -> TextIO:
    """The emptied file, which is this command's until it is closed. Raises UserError while it is another's."""
    while True:
        file = unfinished.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise UserError(
                f"{out} is being written by another command: wait for its end, or write to another file"
            ) from None
        found = _status(unfinished)
        if found is not None and os.path.samestat(found, os.fstat(file.fileno())):
            file.truncate(0)
            return file
        file.close()  # the other command has just put it in its place


def _refuse_inputs(out: Path, inputs: Iterable[Path | None]) -> None:
    for one in inputs:
        if one is None or not one.exists():
            continue
        if out.samefile(one) or (one.is_dir() and one.resolve() in out.resolve().parents):
            raise UserError(f"{out} is read by this command: write to another file")


def _status(path: Path) -> os.stat_result | None:
    """None when nothing is there. Raises OSError when it cannot be looked at."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _stream(out: Path) -> int | None:
    """Number of this process's stream that a path names: opened anew it would be written over from its beginning."""
    named = re.fullmatch(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)", str(out))
    return int(named[1] or named[2]) if named else {"/dev/stdout": 1, "/dev/stderr": 2}.get(str(out))
