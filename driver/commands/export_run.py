"""The command export: a checkpoint of a run in, a model folder out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from rltf.config import DiskFailure, UserError
from rltf.driver.extras import code_version
from rltf.driver.held_out_tracker import scores
from rltf.driver.inputs import Inputs
from rltf.driver.resume import code_of
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.export import export_checkpoint
from rltf.learner.schedule import Position
from rltf.monitor.run_record import RunRecord
from rltf.policy.policy import build_policy
from rltf.problems.files import or_user_error
from rltf.telemetry.console import warn


def export_run(run: Path, out: Path, best: bool, step: int | None, console: Console) -> None:
    """Writes the model of the run's newest checkpoint, the best by `evaluation.best_by`, or that of `step`, into `out`.

    Raises UserError when there is no such checkpoint, or `out` exists or cannot be written.
    """
    folder = RunRecord.open(run)
    if out.exists():
        raise UserError(f"--out {out} exists: name a folder that does not")
    config = folder.settings()
    checkpoint = _checkpoint(folder, config.evaluation.best_by, best, step)
    inputs = Inputs.from_config(config, code_of(config, run))
    position = Position.from_facts(checkpoint.facts["position"])
    facts = {
        "run": folder.name,
        "steps": checkpoint.step,
        "samples": position.trained,
        "code_version": code_version(),
        "prompt": inputs.prompt,
        "held_out": _held_out(folder, inputs, checkpoint.step),
    }
    policy = build_policy(inputs.spec, config.run.seed)
    try:
        with or_user_error(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            export_checkpoint(policy, checkpoint, out, config, facts)
    except DiskFailure as failure:
        raise UserError(f"--out {failure}") from None
    console.print(f"the model after step {checkpoint.step} of {folder.name} is in {out}", markup=False)


def _checkpoint(folder: RunRecord, best_by: str, best: bool, step: int | None) -> Checkpoint:
    checkpoints = Checkpoints.of_run(folder.path, best_by)
    if best:
        found = checkpoints.best()
        missing = f"none of its checkpoints has a held-out {best_by}"
    elif step is not None:
        found = checkpoints.at(step)
        missing = f"it has no checkpoint of step {step}"
    else:
        found = checkpoints.required()
        missing = "it has no checkpoint"
    for sentence in checkpoints.passed_over:
        warn(sentence)
    if found is None:
        there = ", ".join(map(str, checkpoints.steps()))
        raise UserError(f"{folder.path}: {missing}" + (f"; there are those of steps {there}" if there else ""))
    return found


def _held_out(folder: RunRecord, inputs: Inputs, step: int) -> dict[str, object]:
    """What the model card says of evaluations: that before training and that of the checkpoint's own weights, of each
    held-out set.
    """
    found: dict[str, dict[str, object]] = {}
    for tasks in inputs.held_out:
        if own := [row for row in folder.held_out(tasks.set) if int(row["step"]) in (0, step)]:
            found[tasks.set] = tasks.about() | scores(own)
    main = found.pop("", {})
    return main | ({"sets": found} if found else {})
