"""The folder of an evaluation: that of a run whose programs are all evaluated, with what was asked for beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltf.config import Config, UserError, atomic_write, run_files
from rltf.driver.resume import FIXED
from rltf.monitor.run_folder import RunFolder

_FIXED = (*FIXED, "prompt.", "evaluation.", "executor.judge", "executor.time_limit_s", "executor.memory_limit_mb") + (
    "actors.dtype",
    "actors.engine",
    "actors.problems_per_batch",
    "actors.samples_per_problem",
)
"""Fields on which programs or verdicts depend; the k of the figures may change."""
_FREE = ("evaluation.k", "run.folder", "run.name")
_ACTORS = "actors.count"


def placed(out: Path, config: Config) -> Config:
    """The configuration with the folder that `open_folder` makes or finds."""
    folder = out.expanduser().absolute()
    run = config.run.model_copy(update={"folder": str(folder.parent), "name": folder.name})
    return config.model_copy(update={"run": run})


def open_folder(out: Path, config: Config, asked: Mapping[str, Any]) -> RunFolder:
    """The folder `out`, begun now or earlier; what was begun goes on.

    `config`: as `placed` gives it; `asked`: whatever else programs and verdicts depend on, JSON-able. Raises UserError
    when `out` holds something else, an evaluation of something else, or cannot be made.
    """
    wanted = dict(asked) | {"settings": _settings(config), _ACTORS: config.actors.count}
    path = Path(config.run.folder) / config.run.name
    if (path / run_files.ASKED).is_file():
        _refuse_other(out, json.loads((path / run_files.ASKED).read_text()), wanted)
        return RunFolder.resume(path, config)
    if path.exists():
        if not path.is_dir() or any(path.iterdir()):
            raise UserError(f"--out {out} exists and holds no evaluation: name another folder")
        path.rmdir()  # an empty one may have been made beforehand
    folder = RunFolder.create(config)
    with atomic_write(path / run_files.ASKED, durable=True) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1) + "\n")
    return folder


def actors_at_start(folder: RunFolder) -> int:
    """Actors that the evaluation in a folder was begun with, by which its programs are divided into parts.

    It may go on with another number of them, in the same parts.
    """
    asked = json.loads((folder.path / run_files.ASKED).read_text())
    return int(asked[_ACTORS])


def _settings(config: Config) -> dict[str, Any]:
    values = config.model_dump(mode="json")
    keys = [f"{part}.{name}" for part, fields in values.items() for name in fields]
    fixed = [key for key in keys if key.startswith(_FIXED) and key not in _FREE]
    return {key: values[key.split(".")[0]][key.split(".")[1]] for key in fixed}


def _refuse_other(out: Path, begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises UserError when the evaluation that was begun in the folder is another than the one that is wanted."""
    before, now = ({**one, **one["settings"]} for one in (begun, wanted))
    for name in now:
        if name not in ("settings", _ACTORS) and name in before and before[name] != now[name]:
            raise UserError(
                f"--out {out} holds an evaluation with {name} {before[name]!r}, and this one has {now[name]!r}: give "
                "the same, or another --out"
            )
