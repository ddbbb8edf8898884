"""`replay`: a run's record held against what its programs and steps come to when they are judged and taken again."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rltf import config as configuration
from rltf.config import UserError, run_files
from rltf.driver.commands.command import JUDGE, RUN, Arguments, lanes
from rltf.driver.stopping import stopping
from rltf.program import DONE, FAILED

SENTENCE = "Judge every recorded program of a run again, or take one of its learner steps again, and compare."


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when something differs."""
    reads = (*JUDGE, "problems.train", "problems.held_out", "evaluation.sets", "problems.checked", "run.seed")
    parser = Arguments("replay", SENTENCE, reads)
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "--step", type=int, metavar="N", help="take learner step N again: batch, rewards, token weights and loss"
    )
    known, overrides = parser.read(arguments)
    from rltf.driver.extras import require
    from rltf.driver.resume import find
    from rltf.monitor.run_lock import locked
    from rltf.monitor.run_record import RunRecord

    folder = RunRecord.open(find(known.run))
    if known.step is not None:
        if overrides:
            raise UserError(
                f"--{next(iter(overrides))} cannot be given with --step: a step is taken with the configuration of "
                "its run"
            )
        require("train", "replay --step")
        console.print("Loading torch ...")
        from rltf.driver.commands.replay_step import replay_step

        stopping.work()
        with locked(folder.path):  # a run that goes on removes checkpoints
            return DONE if replay_step(folder, known.step, console) else FAILED
    from rltf.driver.commands import regrade

    folder.settings()  # a file that is cut off would read as another configuration
    config = configuration.load(folder.path / run_files.CONFIG, overrides)
    stopping.work()
    found = regrade.regrade(folder, config, lanes(config, overrides), console)
    regrade.show(found, folder, console)
    return DONE if found.agrees else FAILED
