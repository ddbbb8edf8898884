"""The folder of a new run: its name, and how it comes into being."""

from __future__ import annotations

import itertools
import os
import re
import time
import uuid
from pathlib import Path

from rltf.config import Config, UserError, run_files


def planned(config: Config, preset: str = "run") -> Path:
    """The folder that `make_folder` makes now: `run.folder`/`run.name`.

    An empty name becomes PRESET-YYYYMMDD-HHMMSS, and one that is taken gets the suffix -2, -3 and so on.

    Raises UserError for a name that is no plain folder name, and a parent that is no text.
    """
    stem = re.sub("[^A-Za-z0-9]+", "-", preset).strip("-")[:80] or "run"
    name = config.run.name or f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(
            f"run.name {name!r} is no folder name: use letters, digits, '.', '_' and '-' (at most 100, a letter "
            "or digit first)"
        )
    parent = Path(config.run.folder).expanduser()
    try:
        str(parent.absolute()).encode()
    except UnicodeEncodeError:
        shown = ascii(str(parent.absolute()))
        raise UserError(
            f"run.folder {shown} is not UTF-8, as Redis and the run's files are: choose another one"
        ) from None
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(parent / each for each in names if not os.path.lexists(parent / each))


def make_folder(config: Config, preset: str = "run") -> Path:
    """Makes the folder, with a key in it that no other run has: no run is ever overwritten, and the same command can be
    given twice.

    Raises UserError as `planned`, and for a folder that cannot be made.
    """
    path = planned(config, preset)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise UserError(f"run.folder {path.parent} cannot be made: {reason}; choose another one") from None
    while True:
        try:
            path.mkdir()
            break
        except FileExistsError:  # another run was faster
            path = planned(config, preset)
        except OSError as error:
            raise UserError(
                f"the run's folder {path} cannot be made: {error.strerror}; choose another run.folder"
            ) from None
    (path / run_files.KEY).write_text(f"{path.name}-{uuid.uuid4().hex[:12]}\n")
    return path
