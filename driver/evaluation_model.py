"""Which model `evaluate --model` means, and the configuration that its programs are sampled with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rltf import config as configuration
from rltf.config import Config, UserError, run_files
from rltf.config.help import keys, written
from rltf.driver.resume import find
from rltf.monitor.run_record import RunRecord

_OF_RUN = (
    "policy.max_prompt_tokens",
    "policy.max_program_tokens",
    "problems.prompt_style",
    "problems.shown_tests",
    "executor.time_limit_s",
    "executor.memory_limit_mb",
    "executor.judge",
    "run.code",
    *keys("prompt"),
)
"""What a run's model is evaluated with as it was trained, where nothing else is given."""
_PAPER = {"policy.max_prompt_tokens": "800", "policy.max_program_tokens": "512"}
"""Lengths for a model of which no run tells (RLTF, arXiv 2307.04349)."""


def settings_of(
    known: argparse.Namespace, overrides: Mapping[str, str], samples: int, ks: Sequence[int]
) -> tuple[str, Config]:
    """The model's name for tables, and the configuration.

    Raises UserError for a model that is none, a run without an export, and a value that does not fit.
    """
    source, run = _located(known.model)
    wanted = dict(_PAPER) if run is None else _of_run(run)
    wanted |= overrides
    wanted |= {"problems.train": known.problems, "problems.held_out": "none", "policy.model": source}
    if known.temperature is not None:
        wanted["evaluation.temperature"] = known.temperature
    if known.top_p is not None:
        wanted["evaluation.top_p"] = known.top_p
    config = configuration.load(None, wanted)
    if samples > 1 and not config.evaluation.temperature:
        raise UserError(f"--temperature 0 gives the same program each time: leave --samples {samples} out")
    # What the buffer has room for is a part that one actor writes (`evaluation_tracker.parts_of`).
    batch = config.actors.problems_per_batch * config.actors.samples_per_problem
    rows = min(samples, batch)
    evaluation = config.evaluation.model_copy(update={"samples": rows, "tasks": batch // rows})
    if rows > config.buffer.work_capacity:
        raise UserError(
            f"buffer.work_capacity {config.buffer.work_capacity} is less than the {rows} programs that an actor writes "
            "at once: raise it, or lower actors.problems_per_batch"
        )
    quiet = {"learner": {"gpus_per_worker": 0.0, "cpus_per_worker": 0.0}, "run": {"samples_gb": 1e6}}
    parts: dict[str, Any] = {part: getattr(config, part).model_copy(update=values) for part, values in quiet.items()}
    parts["evaluation"] = evaluation.model_copy(update={"k": tuple(ks)})
    export = Path(source).name if run is not None else ""
    name = known.model if run is None else run.name if export == run_files.EXPORT else f"{run.name}/{export}"
    return name, config.model_copy(update=parts)


def _located(given: str) -> tuple[str, Path | None]:
    """Folder or hub name of the model, and the run that it is of."""
    folder = Path(given).expanduser()
    if (folder / "config.json").is_file():
        home = folder.resolve()
        run = home.parent.parent if home.parent.name == run_files.EXPORTS else home.parent
        of_run = run != home.parent or home.name == run_files.EXPORT
        return str(home), run if of_run and (run / run_files.CONFIG).is_file() else None
    run = folder if (folder / run_files.CONFIG).is_file() else Path(configuration.RunConfig().folder) / given
    if (run / run_files.CONFIG).is_file():
        run = find(given).resolve()
        if not (run / run_files.EXPORT / "config.json").is_file():
            raise UserError(f"--model {given}: the run has no {run_files.EXPORT}, which it leaves at its end")
        return str(run / run_files.EXPORT), run
    if folder.exists() or given.startswith(("/", ".", "~")):
        raise UserError(f"--model {given}: it is neither a model (config.json) nor a run ({run_files.CONFIG})")
    return given, None


def _of_run(run: Path) -> dict[str, str]:
    config = RunRecord.open(run).settings()
    found = {}
    for key in _OF_RUN:
        part, name = key.split(".")
        value = getattr(getattr(config, part), name)
        found[key] = json.dumps(value) if isinstance(value, tuple) else written(value) if value != "" else ""
    return found
