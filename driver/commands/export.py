"""`export`: the model of one of a run's checkpoints as a folder that `from_pretrained` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf.config import UserError
from rltf.driver.commands.command import RUN, Arguments
from rltf.driver.stopping import stopping
from rltf.program import DONE

SENTENCE = "Write the model of a run's newest, best or any other checkpoint as a Hugging Face folder with a model card."


def run(arguments: Sequence[str], console: Console) -> int:
    """DONE when the folder is written."""
    parser = Arguments("export", SENTENCE)
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write the model")
    parser.add_argument("--best", action="store_true", help="the checkpoint with the best evaluation.best_by")
    parser.add_argument("--step", type=int, metavar="N", help="the checkpoint of learner step N (default: the newest)")
    known, _ = parser.read(arguments)
    if known.best and known.step is not None:
        raise UserError("--best and --step name two checkpoints: give one of them")
    from rltf.driver.extras import require
    from rltf.driver.resume import find

    folder = find(known.run)
    require("train", "export")
    console.print("Loading torch ...")
    from rltf.driver.commands.export_run import export_run

    stopping.work()
    export_run(folder, known.out, known.best, known.step, console)
    return DONE
