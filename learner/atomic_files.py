"""Files and folders that are there whole or not at all, at whatever moment the process is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rltf.config import atomic_write, fsync_path, or_disk_failure

REPLACED = ".replaced"
"""What the name of a folder ends in while another one takes its place."""


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
