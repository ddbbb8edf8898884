"""A program's own standard streams, and paths that name them, `/dev/stdin` and the like: opened, they are what the
descriptor is.

A lane has no /proc that these could lead through, and the memory files behind a program's streams, opened anew, would
be read from their beginning and cut to nothing, which pipes are not. Standard library only.
"""

from __future__ import annotations

import builtins
import io
import os
import re
import stat
from collections.abc import Callable
from typing import Any

from rltf.executor.protocol import JOB

_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/(?:self|thread-self|\d+))/fd/(\d{1,4})")
_usual_open, _usual_os_open = io.open, os.open


def descriptor_of(path: Any) -> int | None:
    """The descriptor that a path names; None for any other path."""
    try:
        text = os.fsdecode(path)
    except (TypeError, ValueError):
        return None  # a descriptor's number, or what is no path at all
    if not text.startswith(("/dev/", "/proc/")):
        return None
    found = _NUMBERED.fullmatch(text)
    return int(found[1]) if found else _STREAMS.get(text)


def _open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> Any:
    """`open`, of Python's own signature."""
    number = None if type(file) is int or opener is not None else descriptor_of(file)
    if number is not None:
        return _usual_open(
            file, mode, buffering, encoding, errors, newline, closefd, lambda path, flags: os.dup(number)
        )
    return _usual_open(file, mode, buffering, encoding, errors, newline, closefd, opener)


def _os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """`os.open`, of Python's own signature."""
    number = descriptor_of(path)
    return os.dup(number) if number is not None else _usual_os_open(path, flags, mode, dir_fd=dir_fd)


def install() -> None:
    """Makes `open`, `io.open` and `os.open` of this process, and of its forks, know these paths."""
    _open.__name__ = _open.__qualname__ = _os_open.__name__ = _os_open.__qualname__ = "open"
    _open.__module__, _os_open.__module__ = "io", "os"
    builtins.open = io.open = _open
    os.open = _os_open


def own_null() -> None:
    """Opens `/dev/null` anew wherever it stands: flags that are set on what forks share would stay for later ones."""
    null = _usual_os_open(os.devnull, os.O_RDWR)
    for number in range(JOB):
        if stat.S_ISCHR(os.fstat(number).st_mode):
            os.dup2(null, number)
    os.close(null)
