"""The exports that a run writes while it trains (`checkpoint.export_every`): exports/step-000040 in its folder, a model
folder each.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rltf.config import or_disk_failure, run_files

_PREFIX = "step-"
_DOOMED = ".unfinished"


def step_export(run: Path, step: int) -> Path:
    """Where the model after `step` is, or comes."""
    return run / run_files.EXPORTS / f"{_PREFIX}{step:06d}"


def step_exports(run: Path) -> dict[int, Path]:
    """Those that the run in `run` has, by step, ascending."""
    found = {path.name.removeprefix(_PREFIX): path for path in (run / run_files.EXPORTS).glob(f"{_PREFIX}*")}
    return {int(step): found[step] for step in sorted(found, key=lambda step: (len(step), step)) if step.isdigit()}


def remove_old(run: Path, step: int, keep: int) -> None:
    """After that of `step` keeps the newest `keep` up to it, all where `keep` is 0.

    Later ones, of steps that were lost with a crash, stay until they are written again. Raises config.DiskFailure.
    """
    place = run / run_files.EXPORTS
    with or_disk_failure(place):
        for half in place.glob(f"*{_DOOMED}"):  # a kill came while it was written or removed
            shutil.rmtree(half)
        until = [each for each in step_exports(run) if each <= step]
        for each in until[:-keep] if keep else []:
            # Renamed first: what is half removed must not look like a model.
            doomed = step_export(run, each).with_name(f"{_PREFIX}{each:06d}{_DOOMED}")
            os.replace(step_export(run, each), doomed)
            shutil.rmtree(doomed)
