"""`stop`: asks a run to stop as Ctrl-C does, from any machine that sees its folder and its Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from rltf.config import UserError
from rltf.driver.commands.command import RUN, Arguments
from rltf.program import DONE, PROGRAM

SENTENCE = "Stop a run that goes on, after a checkpoint; it can go on with --resume."
_POLL_INTERVAL_S = 0.5


def run(arguments: Sequence[str], console: Console) -> int:
    """DONE once it has ended."""
    parser = Arguments("stop", SENTENCE, ("redis.url",))
    parser.add_argument("run", metavar="RUN", help=RUN)
    known, overrides = parser.read(arguments)
    from rltf.driver.commands.running import flow_of
    from rltf.driver.guard import STOP_TIMEOUT_S
    from rltf.monitor.run_lock import in_use

    path, flow = flow_of(known.run, overrides.get("redis.url", ""))
    flow.control.wish_stop()
    flow.close()
    console.print(f"{known.run}: its learner finishes its step and writes a checkpoint ...", markup=False)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while in_use(path):
        if time.monotonic() > deadline:
            raise UserError(
                f"{known.run} has not ended within {STOP_TIMEOUT_S:g} s: `{PROGRAM} status {known.run}` tells more"
            )
        time.sleep(_POLL_INTERVAL_S)
    console.print(f"{known.run}: stopped; {PROGRAM} --resume {path} goes on", markup=False)
    return DONE
