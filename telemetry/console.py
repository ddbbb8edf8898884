"""What a command shows: results on standard output, warnings and errors on standard error.

No terminal, or its absence, ends a run.

Imports no room, so that every room may print through it.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_PLAIN = {
    "±": "+-",
    "·": "|",
    "…": "...",
    "—": "-",
    "–": "-",
    "−": "-",
    "→": "->",
    "▶": ">",
    "×": "x",
    "■": "#",
    "█": "#",
}
_PLAIN |= dict.fromkeys("“”", '"') | dict.fromkeys("‘’", "'") | dict.fromkeys("─━═╴╸╺", "-") | dict.fromkeys("│┃║", "|")
_IN_ASCII = "rltf-ascii"
"""Name under which Python's codecs know `_in_ascii`."""
LINE_INTERVAL_S = 10.0
"""Between two lines that tell how far something is, where there is no terminal."""
_BUSY_S = 2.0
"""Longest wait for a terminal that another program has made non-blocking, and that is full."""
_GONE = (errno.EPIPE, errno.EIO)
"""What writing to a reader or a terminal that is gone fails with."""


def output() -> Console:
    """For results: standard output, as it is when something is printed."""
    return Console(soft_wrap=True, highlight=False)


def warn(sentence: str) -> None:
    """Prints a warning on standard error."""
    _tell(f"Warning: {sentence}", "yellow")


def print_error(sentence: str) -> None:
    """Prints why a command or a part of it failed on standard error."""
    _tell(sentence, "bold red")


def _tell(sentence: str, style: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with console.capture() as captured:
        console.print(sentence, style=style, markup=False)
    if sys.stdout is not None:
        sys.stdout.flush()  # the last word is the last line also where both go into one file
    # Not by the console: while a line is updated in place, what is written to sys.stderr appears above it.
    print(captured.get(), end="", file=sys.stderr, flush=True)


def updates_in_place(console: Console) -> bool:
    """Whether lines of it can be written over: it is a terminal, and no dumb one."""
    return console.is_terminal and not console.is_dumb_terminal


def redirects_stderr() -> bool:
    """Whether what is updated in place shares its terminal with standard error, whose lines then have to go
    above it.
    """
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress(
    console: Console, doing: str, total: int, every_s: float = LINE_INTERVAL_S
) -> Iterator[Callable[[int], None]]:
    """How far a piece of work of `total` parts is, and the time left: a bar, gone at the end, or without a terminal a
    line now and then.

    Gives back what is to be called with the number of parts done since the last call.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    plain = not updates_in_place(console)
    with Progress(*columns, console=console, transient=True, redirect_stderr=redirects_stderr(), disable=plain) as bar:
        task = bar.add_task(doing, total=total, left="")
        begun = told = time.monotonic()
        done = 0

        def advance(number: int = 1) -> None:
            nonlocal done, told
            done += number
            now = time.monotonic()
            left = time_left((now - begun) / done * (total - done)) if 0 < done < total else ""
            bar.update(task, advance=number, left=left)
            if plain and now - told >= every_s and done < total:
                told = now
                console.print(f"{doing}: {done:,} of {total:,}, {left}", markup=False)

        yield advance


def time_left(seconds: float) -> str:
    """ "40 s left", "12 min left", "3 h 20 min left"."""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min left"


def counted(number: int, noun: str) -> str:
    """ "1 program", "2,000 programs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Error handler of an encoding: characters that it does not have become ASCII of the same meaning, at worst `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    if "\u2500" <= character <= "\u257f":  # box drawing
        return "+"
    if unicodedata.combining(character):
        return ""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


codecs.register_error(_IN_ASCII, _in_ascii)


class LastingFile(io.RawIOBase):
    """A file descriptor to which writing never fails: what cannot be written is dropped, and the first reason kept."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """True."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal, as long as that is there."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def write(self, data: Any) -> int:
        """Writes what can be written; gives back the length of all."""
        left = memoryview(data).cast("B")
        deadline = time.monotonic() + _BUSY_S
        try:
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    if not select.select([], [self._descriptor], [], max(0.0, deadline - time.monotonic()))[1]:
                        raise
        except OSError as error:
            self.failure = self.failure or error
        return len(memoryview(data).cast("B"))

    @property
    def lost(self) -> str:
        """Why results could not be written though somebody may want them (a full disk), else empty; a reader that left
        is no reason.
        """
        failure = self.failure
        return "" if failure is None or failure.errno in _GONE else failure.strerror or str(failure)


def harden_streams() -> LastingFile:
    """Makes standard output and standard error such that they can be written to for ever, whatever becomes of them and
    can be encoded; what is behind standard output.

    A closed descriptor is opened to nowhere first, lest a file of the run gets its number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    raw = {"stdout": LastingFile(1), "stderr": LastingFile(2)}
    for name, file in raw.items():
        old = getattr(sys, name)
        new = io.TextIOWrapper(
            io.BufferedWriter(file),
            encoding="ascii" if old is None else old.encoding,
            errors=_IN_ASCII,
            line_buffering=name == "stderr" or file.isatty(),
            write_through=getattr(old, "write_through", False),
        )
        setattr(sys, name, new)
    return raw["stdout"]
