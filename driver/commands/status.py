"""`status`: where a run stands and where its programs are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf.driver.commands.command import RUN, Arguments
from rltf.program import DONE, FAILED

SENTENCE = "Show where a run stands: its step, who waits for whom, where every program is."


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when the run's ledger does not balance."""
    parser = Arguments("status", SENTENCE, ("redis.url",))
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the same as JSON")
    known, overrides = parser.read(arguments)
    from rltf.driver.commands.run_status import status

    return DONE if status(known.run, overrides.get("redis.url", ""), known.out, console) else FAILED
