"""Files that are there whole or not at all; disks that are full, read-only or broken, in a sentence: what it is, where,
and what to do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

REPLACED = ".replaced"
"""What the name of a folder ends in while another one takes its place."""

_ADVICE = {
    errno.EDQUOT: "the user's quota there is used up: make room in it",
    errno.EROFS: "the file system is mounted read-only: mount it for writing, or look into the kernel's log for why "
    "it was",
    errno.EIO: "the disk or its connection is broken: look into the kernel's log",
    errno.EFBIG: "no file may become so large: raise the limit (ulimit -f)",
    errno.EACCES: "change who may write there, or run as another user",
    errno.EPERM: "change who may write there, or run as another user",
}


class DiskFailure(Exception):
    """The disk does not take what a worker writes; the sentence says where, why, and what to do.

    Another start would not mend it.
    """


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
        return (
            f"the file system has {found.f_bavail * found.f_frsize / 1e6:,.0f} MB left and no inodes: delete files "
            "there"
        )
    return f"the disk is full ({found.f_bavail * found.f_frsize / 1e6:,.0f} MB are left): make room there"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Gives an OSError that comes from inside the path that was written: Python's own have none, or that of a temporary
    file.
    """
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def gone_on_failure(path: Path) -> Iterator[None]:
    """Removes the half-written file or folder `path` when what is inside fails: on a full disk it would take the room
    of others.
    """
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_write(file: Path, durable: bool = False) -> Iterator[Path]:
    """Gives a path to write to; its content takes the place of `file` when the block has ended well, else that stays.

    `durable`: what was written is on the disk then; a machine that goes down may otherwise leave an empty file under
    the name. Raises OSError.
    """
    temporary = file.with_name(f".{file.name}.tmp")  # a name that readers of a whole folder leave out
    with writing(file), gone_on_failure(temporary):
        yield temporary
        if durable:
            fsync_path(temporary)
        os.replace(temporary, file)
        if durable:
            fsync_path(file.parent)


def try_lock(file: int | IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Locks an open file (flock) unless another has it; whether it did. The lock ends with what has the file open."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def fsync_path(path: Path) -> None:
    """Returns when a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """What goes wrong in writing `path`, by Python or by safetensors, as a DiskFailure; nothing half-written is left of
    it.
    """
    with or_disk_failure(path), gone_on_failure(path):
        yield


@contextmanager
def or_disk_failure(path: Path) -> Iterator[None]:
    """What goes wrong in writing `path`, by Python or by safetensors, as a DiskFailure."""
    try:
        yield
    except OSError as error:
        raise DiskFailure(disk_sentence(error, path)) from error
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))  # safetensors has an error of its own, with these words
        if number is None:
            raise
        raise DiskFailure(disk_sentence(OSError(int(number[1]), str(error)), path)) from error


def write_atomically(file: Path, text: str) -> None:
    """Writes a small file in place of one that is there.

    Raises config.DiskFailure; the one that is there is untouched then.
    """
    with or_disk_failure(file), atomic_write(file, durable=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def replace_atomically(finished: Path, place: Path) -> None:
    """Renames the folder `finished` to `place`.

    What is there is renamed aside (REPLACED) first and removed last: one of both stays.
    """
    aside = place.with_name(place.name + REPLACED)
    if place.exists():
        if aside.exists():
            shutil.rmtree(aside)
        os.replace(place, aside)
    os.replace(finished, place)
    fsync_path(place.parent)
    if aside.exists():
        shutil.rmtree(aside)
