"""The exports that a run writes while it trains (`checkpoint.export_every`): exports/step-000040 in its folder, a model
folder each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
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
    """After that of `step` keeps the newest `keep`, all where `keep` is 0. Raises config.DiskFailure."""
    _remove(run, [each for each in step_exports(run) if each <= step][:-keep] if keep else [])


def remove_lost(run: Path, step: int) -> list[int]:
    """Removes those of steps after `step`, which a run that goes on from there has lost; which they were.

    Raises config.DiskFailure.
    """
    lost = [each for each in step_exports(run) if each > step]
    _remove(run, lost)
    return lost


def _remove(run: Path, steps: Sequence[int]) -> None:
    """Those of `steps`, and what a kill left of one that was being written or removed."""
    place = run / run_files.EXPORTS
    with or_disk_failure(place):
        for half in place.glob(f"*{_DOOMED}"):
            shutil.rmtree(half)
        for step in steps:
            # Renamed first: what is half removed must not look like a model.
            doomed = step_export(run, step).with_name(f"{_PREFIX}{step:06d}{_DOOMED}")
            os.replace(step_export(run, step), doomed)
            shutil.rmtree(doomed)
