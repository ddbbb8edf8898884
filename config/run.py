"""The run as a whole: its folder, its checkpoints, what happens when a part dies, and Ray."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import Field, model_validator

from rltf.config.base import ConfigSection, Folder

FOLDER_VARIABLE = "RLTF_RUN_FOLDER"
"""Environment variable in which a cluster's set-up names the folder for runs that its hosts share."""


class RunConfig(ConfigSection):
    """The run as a whole."""

    name: str = ""
    """Name of the run and of its folder; empty: preset name and time of day."""
    folder: str = "runs"
    """Folder in which the run's folder is made; where it is not given the environment's RLTF_RUN_FOLDER, if it is
    set."""
    seed: int = Field(0, ge=0)
    """Seed of everything drawn at random: problem order, sampling, the warm start's programs, a fresh model's
    weights."""
    code: Folder = ""
    """Folder of your own Python files, sent to every worker: where the name of an objective, reward, prompt style,
    checker, engine or judge is asked for, MODULE:NAME takes a class or function of them (docs/extending.md)."""
    deterministic: bool = False
    """Synchronous and repeatable: one actor, every version sampled for one step. Sets, whatever a file says,
    actors.count 1, actors.problems_per_batch to learner.groups_per_step, buffer.fill_before_start 0,
    buffer.max_staleness 0, buffer.refresh_steps 1, buffer.when_stale wait, buffer.when_full wait and
    learner.publish_every 1."""
    stall_timeout_s: float = Field(600.0, gt=0)
    """Seconds without a verdict, a micro-batch trained on, or anything computed for the next programs, after which the
    run ends with the name of the part waited for."""
    samples_gb: float = Field(20.0, gt=0)
    """Most GB of samples/ in the run's folder; beyond it the oldest samples are deleted, and counted."""
    telemetry_gb: float = Field(0.2, gt=0)
    """Most GB of telemetry/ in the run's folder (about 60 rows a KB); beyond it the oldest rows are deleted: the
    timeline begins later."""

    @model_validator(mode="before")
    @classmethod
    def _shared_folder(cls, given: Any) -> Any:
        """The cluster's folder for runs where none is given."""
        shared = os.environ.get(FOLDER_VARIABLE)
        return {"folder": shared} | given if shared and isinstance(given, dict) else given


class CheckpointConfig(ConfigSection):
    """Checkpoints of the learner, from which a run is resumed and a dead learner restarted; and exports on the way."""

    every: int = Field(20, ge=0)
    """Learner steps between two checkpoints; 0: only after the warm start, when the run is stopped, and at its end."""
    keep: int = Field(2, ge=1)
    """Newest checkpoints that are kept."""
    best: bool = True
    """Also checkpoint every version that is evaluated on held-out problems, and keep the one with the best
    evaluation.best_by."""
    export_every: int = Field(0, ge=0)
    """Learner steps between two exports of the model while it trains, exports/step-NNNNNN in the run's folder; 0: only
    the one at the end."""
    export_keep: int = Field(0, ge=0)
    """Newest of these exports that are kept; 0: all."""


class RestartConfig(ConfigSection):
    """What happens when a part dies: actors, executors, learner workers, the run's own Redis."""

    limit: int = Field(5, ge=0)
    """Restarts of one part in a row; one death more ends the run with the reason."""
    pause_s: float = Field(0.5, gt=0)
    """Seconds before the first restart of a part; doubled with each further one, up to 30."""
    forget_s: float = Field(300.0, gt=0)
    """Seconds after which a part's last death no longer counts."""
    answer_s: float = Field(60.0, gt=0)
    """Seconds within which a worker has to say that it lives; then it counts as dead."""


class RayConfig(ConfigSection):
    """How the run meets Ray."""

    address: str = ""
    """A running cluster; empty: RAY_ADDRESS, else what `ray start` or `ray up` left running here, else one is started;
    local: start one."""
    kinds: Literal["auto", "on", "off"] = "auto"
    """Kinds of hosts in a cluster that is joined: on: actors and learner run on hosts that offer the resource trainer
    alone, executors on those that offer executor, and wait for them; off: all run anywhere; auto: on as soon as a host
    that offers either was seen."""
    wait_s: float = Field(900.0, ge=0)
    """Longest wait for nodes of a cluster that is joined: for the GPUs asked for, and (5 minutes at least) for room for
    each worker."""
    dashboard: bool = True
    """Start the Ray dashboard when Ray is started here."""
