"""`train`, whose name may be left out: a run from its problems to its report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from rltf import config as configuration
from rltf.config import Config, UserError
from rltf.config.reading import RECIPE
from rltf.driver.commands.command import Arguments
from rltf.program import DONE, FAILED
from rltf.telemetry.console import print_error

SENTENCE = "Train a code model on unit-test feedback; the word itself may be left out."


class CommandLine(NamedTuple):
    """What a command line of training asks for."""

    config: Config
    preset: str
    """Name of the configuration file without its ending, or of the recipe's folder."""
    dry_run: bool
    resume: Path | None
    """Folder of the run that is to go on."""


def parse(arguments: Sequence[str]) -> CommandLine:
    """Reads the command line of training.

    Raises:
        UserError: an unknown key, a value that does not fit, a missing file.
    """
    from rltf.driver.commands import sentences  # it knows this module, and this one's help is that of the program

    parser = Arguments("", SENTENCE, Config.model_fields, sentences())
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file, the folder of a recipe, or the name of a preset in configs/ (default: starter)",
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with this run (its folder, or its name), from its newest checkpoint"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and end")
    parser.add_argument(
        "--detach", action="store_true", help="leave the run going without this terminal: `attach RUN`, `stop RUN`"
    )
    known, overrides = parser.read(arguments)
    if known.resume is not None:
        from rltf.driver import resume

        if known.config is not None:
            raise UserError("--resume takes the run's own configuration: leave --config out")
        config, folder = resume.load(known.resume, overrides)
        return CommandLine(config, folder.name, known.dry_run, folder)
    file = configuration.preset("starter" if known.config is None else known.config)
    name = file.absolute().parent.name if file.name == RECIPE else file.stem
    return CommandLine(configuration.load(file, overrides), name, known.dry_run, None)


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED, with the reason, when the run did not come to its end."""
    address, rest = _dashboard(arguments)
    if address:
        from rltf.driver.job import submit

        return submit(address, rest, "" if "--resume" in rest else parse(rest).preset, console)
    wanted = parse(arguments)
    from rltf.driver import RunFailed
    from rltf.driver.extras import require
    from rltf.driver.host_limits import refuse_narrow_addresses

    refuse_narrow_addresses()
    require("train", "training")
    console.print("Loading torch and Ray ...")
    from rltf.driver.train import train

    try:
        train(wanted.config, wanted.preset, wanted.dry_run, console, wanted.resume)
    except RunFailed as failure:
        print_error(f"run failed: {failure}")
        return FAILED
    return DONE


def _dashboard(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The cluster's dashboard that is to take the run as a job, empty where none is named; the other arguments."""
    rest, address = list(arguments), os.environ.get("RAY_ADDRESS", "")
    for place, word in enumerate(arguments):
        option, is_one, value = word.partition("=")
        if option == "--ray.address":
            address = value if is_one else "".join(arguments[place + 1 : place + 2])
            rest = [*arguments[:place], *arguments[place + (1 if is_one else 2) :]]
    return (address, rest) if address.startswith(("http://", "https://")) else ("", list(arguments))
