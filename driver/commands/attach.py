"""`attach`: shows what a run prints that was begun without a terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence

from rich.console import Console

from rltf.config import UserError, run_files
from rltf.driver.commands.command import RUN, Arguments
from rltf.program import DONE, FAILED, PROGRAM

SENTENCE = "Show what a run prints that was begun with --detach, until it ends; Ctrl-C leaves it going."
_LINES = 40
"""Of what it has printed before."""
_POLL_INTERVAL_S = 0.5


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when the run has not come to its end."""
    parser = Arguments("attach", SENTENCE, ())
    parser.add_argument("run", metavar="RUN", help=RUN)
    known, _ = parser.read(arguments)
    from rltf.driver import resume
    from rltf.driver.stopping import stopping
    from rltf.monitor.run_lock import in_use
    from rltf.monitor.run_record import RunRecord

    path = resume.find(known.run)
    output = path / run_files.OUTPUT
    if not output.is_file():
        raise UserError(
            f"{known.run} was not begun with --detach: what it prints is in the terminal or the job that began it; "
            f"`{PROGRAM} status {known.run}` shows where it stands"
        )
    stopping.work()
    try:
        with output.open(errors="replace") as printed:
            sys.stdout.writelines(deque(printed, maxlen=_LINES))
            goes_on = True
            while goes_on:
                goes_on = in_use(path)  # what it printed before it ended is read afterwards
                sys.stdout.write(printed.read())
                sys.stdout.flush()
                time.sleep(_POLL_INTERVAL_S if goes_on else 0.0)
    except KeyboardInterrupt:
        console.print(f"\n{known.run} goes on; `{PROGRAM} stop {known.run}` stops it.", markup=False)
        return DONE
    return DONE if RunRecord.open(path).finished else FAILED
