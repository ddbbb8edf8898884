"""The lanes' working folders outside of their sandboxes, and what is left of them where a judge was killed.

Imports nothing but the standard library: the driver's guard removes boxes too.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "executor-box-"


class Box:
    """A folder that is locked as long as its lane's judge lives, so that nobody takes it for a left one."""

    def __init__(self) -> None:
        while True:
            # Another judge may take the folder for a left one, and remove it, before it has its lock.
            self.path = tempfile.mkdtemp(prefix=_PREFIX)
            try:
                self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if os.path.isdir(self.path):
                return
            os.close(self._lock)

    def remove(self) -> None:
        """Removes the folder. Safe to call twice."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def remove_boxes() -> None:
    """Removes the folders in the directory of temporary files whose judges are gone, those of other users apart."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # another user's, or gone meanwhile
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
