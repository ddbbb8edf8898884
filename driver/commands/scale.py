"""`scale`: more or fewer executors and actors for a run that goes on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rltf.config import UserError
from rltf.driver.commands.command import RUN, Arguments
from rltf.program import DONE

SENTENCE = "Change how many executors or actors a run has while it goes on."
_MOST = 100_000


def run(arguments: Sequence[str], console: Console) -> int:
    """Asks the run's driver, which looks once a second, and returns."""
    parser = Arguments("scale", SENTENCE, ("redis.url",))
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--executors", metavar="N", help="executors from now on, whatever the load")
    parser.add_argument("--actors", metavar="N", help="actors from now on")
    known, overrides = parser.read(arguments)
    wanted = {
        kind: _count(kind, value) for kind, value in (("executor", known.executors), ("actor", known.actors)) if value
    }
    if not wanted:
        raise UserError("scale: say how many with --executors N or --actors N")
    from rltf.driver.commands.running import flow_of
    from rltf.monitor.run_record import RunRecord
    from rltf.telemetry.vocabulary import plural

    path, flow = flow_of(known.run, overrides.get("redis.url", ""))
    if "actor" in wanted and RunRecord.open(path).settings().run.deterministic:
        raise UserError(f"{known.run}: run.deterministic has one actor")
    for kind, count in wanted.items():
        flow.control.wish_count(kind, count)
        console.print(
            f"{known.run}: asked for {count:,} {plural(kind, count)}; `status` names those that have no place yet"
        )
    flow.close()
    return DONE


def _count(kind: str, value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= _MOST:
        raise UserError(f"--{kind}s {value}: give a number from 1 to {_MOST:,}")
    return int(value)
