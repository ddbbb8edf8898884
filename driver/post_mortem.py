"""What the driver's guard runs when the driver died without a word: result.json and report.md from what it left in the
run's folder.

    python -m rltf.driver.post_mortem RUN REASON
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NoReturn

from rltf.buffer.connection import ServerError, ServerLost
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, UserError, first_line, run_files
from rltf.driver.held_out_tracker import curve, scores_of_all
from rltf.driver.stopping import SIGNALS
from rltf.monitor.clipping import clip_watch
from rltf.monitor.report import write_report
from rltf.monitor.report_fates import MAX_DEAD_LETTERS, data_loss_warnings, dead_letter_rows
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked
from rltf.monitor.run_record import RunRecord
from rltf.monitor.state import RunState
from rltf.monitor.watcher import Watcher
from rltf.program import DONE, FAILED, PROGRAM
from rltf.telemetry.recorder import Row

UNKNOWN = "it is not known whether the ledger balances"


def write(run: Path, reason: str) -> None:
    """Reads what the run's own Redis still holds, and writes result.json and report.md with the `reason` among the
    warnings.

    A result that the driver itself has written stays; so does that of the attempt before, if this one has come to no
    step. Problems left out, examples and the inputs' remarks were known to the driver alone, and are not in it.

    Raises UserError when the folder is none or another driver has it, OSError when it cannot be written.
    """
    folder = RunFolder.open(run)
    with locked(folder.path):
        folder.add_event({"time": time.time(), "event": "driver_died", "reason": reason})
        warnings, found = [reason], dict[str, Any]()
        try:
            more, found = _rest(folder, folder.settings())
            warnings += more
        except (UserError, RuntimeError, ServerLost, ServerError) as error:
            warnings.append(f"{UNKNOWN}: {first_line(error)}")
        folder.close()
        if not _stays(folder):
            folder.write_result(_result(folder) | {"warnings": warnings} | found)
        write_report(folder)


def _stays(folder: RunFolder) -> bool:
    """Whether the result that is there is not to be replaced."""
    result = folder.result()
    came_further = _of_this_attempt(folder, folder.steps() + folder.held_out())
    return bool(result) and (result.get("attempts") == folder.attempts() or not came_further)


def _of_this_attempt(folder: RunFolder, rows: list[Row]) -> list[Row]:
    begun = max(
        (row["time"] for row in folder.events() if row.get("attempt") == folder.attempts()), default=float("inf")
    )
    return [row for row in rows if row.get("time", 0.0) >= begun]


def _result(folder: RunFolder) -> dict[str, Any]:
    """What the folder has for result.json."""
    evaluations, steps, config = folder.evaluations(), folder.steps(), folder.settings()
    return {
        "held_out": scores_of_all(evaluations),
        "curve": curve(evaluations[""]),
        "steps": int(steps[-1]["step"]) if steps else 0,
        "seconds": folder.progress().get("phase_seconds", {}),
        "imbalance": None,
        "objective": config.learner.objective,
        "examples": [],
        "dead_letters": [],
        "attempts": folder.attempts(),
        "restarts": folder.restarts(),
        "finished": False,
    }


def _rest(folder: RunFolder, config: Config) -> tuple[list[str], dict[str, Any]]:
    """Takes what the driver had not yet read out of the run's Redis: warnings, and the result's keys that are known
    there.

    Raises as Flow and EmbeddedRedis.start do.
    """
    if config.redis.url:
        raise UserError("the run's Redis at redis.url was not asked; the next attempt reads what it holds")
    state = RunState()
    with ExitStack() as stack:
        server = EmbeddedRedis.start(folder.path / run_files.REDIS)
        stack.callback(server.stop)
        flow = stack.enter_context(closing(Flow(FlowAddress.from_config(config, server.url, folder.key))))
        watcher = Watcher(flow, folder, state)
        watcher.finish()
        watcher.check_ledger()
        letters = [
            letter for work in (flow.work, flow.evaluation_work) for letter in work.dead_letters(MAX_DEAD_LETTERS)
        ]
        clipped = clip_watch(config).fold(_of_this_attempt(folder, folder.steps())).warning
        said = (state.imbalance, *data_loss_warnings(folder, watcher.lost, letters), clipped)
        return [sentence for sentence in said if sentence], {
            "samples": watcher.graded,
            "versions": flow.control.version() + 1,
            "ledger": flow.ledger.counts(),
            "ledger_checks": watcher.ledger_checks,
            "imbalance": state.imbalance,
            "buffer_events": flow.ledger.events(),
            "dead_letters": dead_letter_rows(letters),
        }


def main(run: str, reason: str) -> int:
    """The command; FAILED with a sentence when the report cannot be written."""
    folder = Path(run)
    if (folder / run_files.ASKED).is_file():
        print(f"evaluate has ended ({reason}); the same command goes on with {folder}", file=sys.stderr)
        return DONE
    try:
        write(folder, reason)
    except (UserError, OSError, ValueError) as error:
        print(f"the report cannot be written: {first_line(error)}", file=sys.stderr)
        return FAILED
    finally:
        if any(folder.glob(f"{run_files.CHECKPOINTS}/step_*/COMPLETE")) and not RunRecord(folder).finished:
            print(f"This run can go on: {PROGRAM} --resume {folder}", file=sys.stderr)
    print(f"Report and plots: {folder}/{run_files.REPORT}", file=sys.stderr)
    return DONE


def start() -> NoReturn:
    """The process: reads its arguments and ends with the exit code."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # the guard, which started this, waits for them in its own way
    sys.exit(main(*sys.argv[1:]))


if __name__ == "__main__":
    start()
