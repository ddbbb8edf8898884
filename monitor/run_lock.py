"""Which driver has the folder of a run: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rltf.config import UserError, disk_sentence, run_files, try_lock


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other drivers out of the run's folder, until this process ends at the latest.

    Raises UserError when one has it, or nothing can be written there.
    """
    try:
        file = (folder / run_files.LOCK).open("a")
    except OSError as error:
        raise UserError(disk_sentence(error, folder)) from None
    with file as lock:
        for pause_s in (0.05, 0.1, 0.2, None):
            if try_lock(lock):
                break
            if pause_s is None:
                raise UserError(f"the run in {folder} is still going on: stop it first")
            time.sleep(pause_s)  # it may be `in_use`, which looks
        yield


def in_use(folder: Path) -> bool:
    """Whether a driver of this machine has the run's folder.

    Writes nothing; raises UserError when its lock cannot be looked at.
    """
    file = folder / run_files.LOCK
    try:
        with file.open() as lock:
            return not try_lock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
