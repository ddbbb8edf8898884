"""`--resume RUN`: which folder is meant, and its configuration with what may be changed on the way.

Imports no torch and no Ray.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from rltf import config as configuration
from rltf.buffer.connection import redacted, server_of
from rltf.config import NO_CODE, Config, UserCode, UserError, run_files
from rltf.monitor.run_record import RunRecord

FIXED = (
    "policy.",
    "warm_start.",
    "problems.",
    "evaluation.tasks",
    "evaluation.sets",
    "run.name",
    "run.folder",
    "run.seed",
    "run.code",
)
"""Keys, or what they begin with, that a run keeps for life: its weights, samples, scores and places depend on them."""

_MAX_NAMED = 8


def find(run: str) -> Path:
    """The run's folder, named by its path or, below `runs/`, by its name alone. Raises UserError when there is none."""
    runs = Path(configuration.RunConfig().folder)
    for path in (Path(run).expanduser(), runs / run) if run else ():
        if (path / run_files.CONFIG).is_file():
            return path
    there = sorted(file.parent.name for file in runs.glob(f"*/{run_files.CONFIG}"))
    near = sorted(difflib.get_close_matches(Path(run).name, there, n=_MAX_NAMED)) or there
    others = f"{len(near) - _MAX_NAMED} more, " if len(near) > _MAX_NAMED else ""
    hint = (
        f"there are {others}{', '.join(near[-_MAX_NAMED:])} in {runs.absolute()}"
        if near
        else f"there is none in {runs.absolute()}"
    )
    raise UserError(f"{run or repr(run)}: there is no run folder of this name (a folder with a config.yaml); {hint}")


def load(run: str, overrides: Mapping[str, str]) -> tuple[Config, Path]:
    """Configuration and folder of the run that is to go on.

    Raises UserError when there is no such run, its config.yaml is not whole, a key cannot be changed any more, by
    `overrides` or in the file, it is given another Redis, or the password of its own is needed.
    """
    path = find(run)
    if (path / run_files.ASKED).is_file():
        raise UserError(f"--resume {run}: it is an evaluation, which the same `evaluate` command goes on with")
    for key in overrides:
        if key.startswith(FIXED):
            raise UserError(f"--{key} cannot be changed when a run goes on: begin a new run for it")
    place = {"run.folder": str(path.parent), "run.name": path.name}
    record = RunRecord(path)
    settings = record.settings()
    _refuse_edited(record, settings)
    earlier = settings.redis.url
    config = configuration.load(path / run_files.CONFIG, dict(overrides) | place)
    if server_of(config.redis.url) != server_of(earlier):
        raise UserError(
            f"--redis.url names another server than the run's, {redacted(earlier) or 'one of its own'}, where all is "
            "numbered: leave the "
            "option out, or begin a new run"
        )
    if "***" in config.redis.url:
        raise UserError(
            f"the run used Redis at {config.redis.url}, and passwords are not kept: give --redis.url with the password"
        )
    return config, path


def code_of(config: Config, folder: Path) -> UserCode:
    """The user's files that the run in `folder` began with. Raises UserError when its copy of them is gone."""
    return UserCode.read(folder / run_files.CODE) if config.run.code else NO_CODE


def _refuse_edited(record: RunRecord, now: Config) -> None:
    """Raises UserError when config.yaml has another value of a fixed field, or another server, than the run
    began with.
    """
    first, values_now = record.first_config(), now.model_dump(mode="json")
    for part, values in first.items():
        for name, value in values.items():
            key = f"{part}.{name}"
            if (
                name not in values_now.get(part, {})
                or not key.startswith((*FIXED, "redis.url"))
                or key in ("run.folder", "run.name")
            ):
                continue
            found = values_now[part][name]
            same = server_of(redacted(found)) == server_of(value) if key == "redis.url" else found == value
            if not same:
                raise UserError(
                    f"{record.path / run_files.CONFIG}: {key} is {found!r}, and the run began with {value!r} "
                    "(config_1.yaml): put that back, "
                    "or begin a new run"
                )
