"""`train-critic`: a classifier of outcomes from the samples of a run, for rltf.critic_weighting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf.config import UserError
from rltf.driver.commands.command import RUN, Arguments
from rltf.driver.stopping import stopping
from rltf.program import DONE

SENTENCE = "Train a critic on the samples of a run; rltf.critic names its folder."


def run(arguments: Sequence[str], console: Console) -> int:
    """DONE when the critic is trained."""
    parser = Arguments("train-critic", SENTENCE)
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write the critic")
    parser.add_argument("--steps", type=int, default=1000, help="optimizer steps (default: 1000)")
    parser.add_argument("--batch-size", type=int, default=32, help="programs per step (default: 32)")
    parser.add_argument("--learning-rate", type=float, default=2e-5, help="learning rate (default: 2e-5)")
    known, _ = parser.read(arguments)
    if known.steps < 1 or known.batch_size < 1 or not known.learning_rate > 0:
        raise UserError("--steps, --batch-size and --learning-rate must be above zero")
    from rltf.driver.extras import require
    from rltf.driver.resume import find

    folder = find(known.run)
    require("train", "train-critic")
    console.print("Loading torch ...")
    from rltf.driver.commands.critic import train_critic_of

    stopping.work()
    train_critic_of(folder, known.out, known.steps, known.batch_size, known.learning_rate, console)
    return DONE
