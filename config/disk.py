"""Disks that are full, read-only or broken, in a sentence: what it is, where, and what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADVICE = {
    errno.EDQUOT: "the user's quota there is used up: make room in it",
    errno.EROFS: "the file system is mounted read-only: mount it for writing, or look into the kernel's log for why it was",
    errno.EIO: "the disk or its connection is broken: look into the kernel's log",
    errno.EFBIG: "no file may become so large: raise the limit (ulimit -f)",
    errno.EACCES: "change who may write there, or run as another user",
    errno.EPERM: "change who may write there, or run as another user",
}


class DiskFailure(Exception):
    """The disk does not take what a worker writes; the sentence says where, why, and what to do. Another start would not mend it."""


def disk_sentence(error: OSError, place: Path | str) -> str:
    """What an error in writing below `place` means: the path, the reason, what to do."""
    path = Path(os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else place)
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    advice = f": {_advice(error, path, Path(place))}" if error.errno == errno.ENOSPC or error.errno in _ADVICE else ""
    return f"{path} cannot be written: {reason}{advice}"


def _advice(error: OSError, path: Path, place: Path) -> str:
    if error.errno != errno.ENOSPC:
        return _ADVICE[error.errno or 0]
    there = next((each for each in (path, *path.parents, place) if each.exists()), Path("/"))
    found = os.statvfs(there)
    if found.f_files and not found.f_favail and found.f_bavail:
        return f"the file system has {found.f_bavail * found.f_frsize / 1e6:,.0f} MB left and no inodes: delete files there"
    return f"the disk is full ({found.f_bavail * found.f_frsize / 1e6:,.0f} MB are left): make room there"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Gives an OSError that comes from inside the path that was written, which Python's own lack."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def as_os_error(error: Exception, path: Path) -> OSError:
    """The OSError that a library told in words of its own ("I/O error: No space left on device (os error 28)"); any other with its text."""
    if isinstance(error, OSError) and error.errno:
        return OSError(error.errno, os.strerror(error.errno), str(error.filename or path))
    found = re.search(r"os error (\d+)|\[Errno (\d+)\]", str(error))
    number = int(next(group for group in found.groups() if group)) if found else errno.EIO
    return OSError(number, os.strerror(number) if found else str(error), str(path))
