"""Whether a run can go on: what its folder and Redis still have of it, looked at before anything of the next attempt is
started.
"""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rltf.buffer.connection import DataLost, redacted
from rltf.buffer.flow import Flow
from rltf.buffer.online_buffer import BufferPosition
from rltf.config import UserError, run_files, write_atomically
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.step_exports import step_exports
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_record import RunRecord


def recovery_advice(folder: Path) -> str:
    """What is left to do with a run that cannot go on."""
    on_the_way = [*step_exports(folder).values()][::-1]
    for model in (folder / run_files.EXPORT, *on_the_way, folder / run_files.WARM_START):
        if (model / "config.json").is_file():
            return f"begin a new run from what it leaves, with --warm_start.reuse {model}"
    return "begin a new run"


def driver_location(folder: RunRecord) -> str:
    """Where a driver of this run is, for another one that would like to drive it; here the folder's lock
    keeps it out.
    """
    path = (
        str(folder.path.resolve()).encode(errors="backslashreplace").decode()
    )  # a copy may be anywhere, and Redis takes text alone
    return f"in {path} on {socket.gethostname()}"


def take_charge(flow: Flow, folder: RunFolder, saved: Checkpoint | None) -> Path:
    """From here on no other attempt moves anything in Redis; the new attempt's folder for logs.

    `saved`: the newest checkpoint.

    Raises UserError, with nothing changed, when Redis does not have what an earlier attempt left there.
    """
    if folder.attempts():
        with closing(Flow(replace(flow.address, token=""))) as reader:  # this attempt is not in charge yet
            check_data(reader, folder, saved)
    logs = folder.new_log_folder().resolve()
    attempt = folder.attempts()
    flow.marker.take_over(
        attempt, f"attempt {attempt} {driver_location(folder)}", int(folder.progress().get("beats", 0))
    )
    return logs


def check_folder(folder: RunRecord, saved: Checkpoint | None) -> None:
    """Writes .key again where it is missing and events.jsonl has it too; `saved`: the newest checkpoint.

    Raises UserError when the folder has lost both, or all checkpoints of a run that had taken steps.
    """
    file = folder.path / run_files.KEY
    if not (file.is_file() and file.read_text().strip()) and folder.attempts():
        kept = [str(row["run"]) for row in folder.events() if "run" in row]
        if not kept:
            raise UserError(
                f"{file} is missing, which names the run's data: copy it too (cp -a FOLDER, not FOLDER/*), or begin "
                "a new run"
            )
        write_atomically(file, kept[-1] + "\n")
    step = folder.newest_step().get("step", 0)
    if step and saved is None:
        raise UserError(_no_checkpoint(folder, int(step)))


def check_data(flow: Flow, folder: RunRecord, saved: Checkpoint | None) -> None:
    """Holds what Redis has, as a flow without a token sees it, against the folder, and `saved`, its newest checkpoint.

    Changes nothing.

    Raises UserError when another driver has the run, or its data are lost, older than the folder, newer than it, or do
    not balance.
    """
    where, mark = f"Redis at {redacted(flow.address.url)}", flow.marker.read()
    gone = flow.marker.missing()
    if mark is None or gone:
        what = "a part of the run's data (" + ", ".join(gone) + ")" if mark is not None else "the data of this run"
        raise UserError(f"{where} has lost {what}: {_BRING_BACK}, or {recovery_advice(folder.path)}")
    if mark.alive and not mark.alive.endswith(driver_location(folder)):
        raise UserError(
            f"the run is still going on: {mark.alive} drives it; stop it first, or wait a minute if it was killed"
        )
    if mark.attempt > folder.attempts():
        raise UserError(
            f"{folder.path} is an older copy of the run's folder: {mark.holder} has gone on with the run's data in "
            f"{where}; resume that "
            f"folder, or {recovery_advice(folder.path)}"
        )
    if mark.beats < int(folder.progress().get("beats", 0)) - 1:
        raise UserError(
            f"{where} holds older data of this run than its folder knows of: {_BRING_BACK}, or "
            f"{recovery_advice(folder.path)}"
        )
    if saved is None and (step := flow.online.finished_step()):
        raise UserError(_no_checkpoint(folder, step))
    if saved is not None:
        try:
            flow.online.require(BufferPosition.from_json(saved.facts["buffer"].encode()))
        except DataLost as error:
            raise UserError(f"{error}: {_BRING_BACK}, or {recovery_advice(folder.path)}") from None
    if problem := flow.ledger.check():
        raise UserError(
            f"{problem}: something outside of the run has changed its data in {where}; {_BRING_BACK}, or "
            f"{recovery_advice(folder.path)}"
        )


_BRING_BACK = (
    "bring back what it kept (the run's folder redis/, or the server's files), as they were when the run ended"
)


def _no_checkpoint(folder: RunRecord, step: int) -> str:
    return (
        f"{folder.path / run_files.CHECKPOINTS} has no complete checkpoint, and the run had come to step {step}: "
        f"bring the checkpoints back, or {recovery_advice(folder.path)}"
    )
