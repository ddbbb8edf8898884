"""absent.json of a run's folder: workers of a run that goes on which do not run, and what each waits for, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rltf.config import atomic_write, first_line, run_files


def write_absent(folder: Path, absent: Mapping[str, str]) -> None:
    """Replaces the file, atomically. Raises OSError."""
    with atomic_write(folder / run_files.ABSENT) as temporary:
        temporary.write_text(json.dumps(absent) + "\n")


def read_absent(folder: Path) -> dict[str, str]:
    """What each waits for, by name; empty before the first attempt has written it."""
    path = folder / run_files.ABSENT
    try:
        return {str(name): str(words) for name, words in json.loads(path.read_text()).items()} if path.exists() else {}
    except (OSError, ValueError, AttributeError) as error:
        return {run_files.ABSENT: f"cannot be read ({first_line(error)})"}
