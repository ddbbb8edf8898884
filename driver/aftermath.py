"""What the driver's guard runs when the driver died without a word: result.json and report.md from what it left in the run's folder.

    python -m driver.aftermath RUN REASON
"""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from buffer.connection import ServerError, ServerLost
from buffer.flow import Flow, FlowAddress
from buffer.server import EmbeddedRedis
from config import Config, UserError, first_line
from driver.held_out import curve, scores
from driver.stopping import SIGNALS
from monitor.report import write_report
from monitor.run_folder import RunFolder
from monitor.state import RunState
from monitor.watcher import Watcher

UNKNOWN = "it is not known whether the ledger balances"


def write(run: Path, reason: str) -> None:
    """Reads what the run's own Redis still holds, and writes result.json and report.md with the `reason` among the warnings.

    Raises UserError when the folder is none or its Redis does not start, OSError when it cannot be written.
    """
    folder = RunFolder.open(run)
    config = Config.model_validate(folder.config())
    folder.add_event({"time": time.time(), "event": "driver_died", "reason": reason})
    found: dict[str, Any] = {"imbalance": None}
    warnings = [reason]
    try:
        found |= _rest(folder, config)
    except (UserError, RuntimeError, ServerLost, ServerError) as error:
        warnings.append(f"{UNKNOWN}: {first_line(error)}")
    rows, steps = folder.held_out(), folder.steps()
    folder.close()
    result = {
        "held_out": scores(rows),
        "curve": curve(rows),
        "steps": int(steps[-1]["step"]) if steps else 0,
        "seconds": folder.progress().get("phase_seconds", {}),
        "objective": config.learner.objective,
        "examples": [],
        "warnings": warnings + ([found["imbalance"]] if found["imbalance"] else []),
        "dead_letters": [],
        "attempts": folder.attempts(),
        "restarts": Counter(row["part"] for row in folder.events() if row["event"] == "restarted"),
        "finished": False,
    }
    folder.write_result(result | found)
    write_report(folder)


def _rest(folder: RunFolder, config: Config) -> dict[str, Any]:
    """Takes what the driver had not yet read out of the run's Redis, and the ledger. Raises as Flow.connect and EmbeddedRedis.start do."""
    if config.redis.url:
        raise UserError("the run's Redis at redis.url was not asked; the next attempt reads what it holds")
    state = RunState()
    with ExitStack() as stack:
        server = EmbeddedRedis.start(folder.path / "redis")
        stack.callback(server.stop)
        flow = stack.enter_context(closing(Flow.connect(FlowAddress.of(config, server.url, folder.key))))
        watcher = Watcher(flow, folder, state)
        watcher.finish()
        watcher.check_ledger()
        return {
            "samples": watcher.graded,
            "ledger": flow.ledger.counts(),
            "ledger_checks": watcher.ledger_checks,
            "imbalance": state.imbalance,
            "buffer_events": flow.ledger.events(),
        }


def main(run: str, reason: str) -> int:
    """The command; FAILED with a sentence when the report cannot be written."""
    folder = Path(run)
    try:
        write(folder, reason)
    except (UserError, OSError, ValueError) as error:
        print(f"the report cannot be written: {first_line(error)}", file=sys.stderr)
        return 1
    finally:
        if any(folder.glob("checkpoints/step_*/COMPLETE")):
            print(f"This run can go on: launch.py --resume {folder}", file=sys.stderr)
    print(f"Report and plots: {folder}/report.md", file=sys.stderr)
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # the guard, which started this, waits for them in its own way
    sys.exit(main(sys.argv[1], sys.argv[2]))
