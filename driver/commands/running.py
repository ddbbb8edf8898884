"""A way to a run that goes on: its Redis, in which its driver looks for wishes once a second."""

from __future__ import annotations

from pathlib import Path

from rltf.buffer.connection import ServerLost
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import url_in
from rltf.config import Config, UserError, run_files
from rltf.driver import resume
from rltf.monitor.run_lock import in_use
from rltf.monitor.run_record import RunRecord

REDIS_TIMEOUT_S = 2.0
"""Longest wait for Redis."""


def quick(config: Config) -> Config:
    """The configuration with a short wait for Redis: for a look."""
    short = {"timeout_s": REDIS_TIMEOUT_S, "outage_s": REDIS_TIMEOUT_S}
    return config.model_copy(update={"redis": config.redis.model_copy(update=short)})


def flow_of(run: str, url: str) -> tuple[Path, Flow]:
    """Folder and Redis of a run that goes on. `url`: where the folder does not know its password.

    Raises UserError when there is no such run, it does not go on, or its Redis cannot be reached.
    """
    path = resume.find(run)
    folder = RunRecord.open(path)
    config = folder.settings()
    if not in_use(path):
        raise UserError(f"{run} is not going on")
    try:
        found = url or url_in(path / run_files.REDIS) or config.redis.url
        if not found or "***" in found:
            raise UserError(f"{run}: its Redis is not known yet, or its password is not kept: give --redis.url")
        return path, Flow(FlowAddress.from_config(quick(config), found, folder.key))
    except (ServerLost, OSError) as error:
        raise UserError(
            f"{run} goes on, but its Redis cannot be asked ({error}): end its driver with SIGTERM"
        ) from None
