"""The commands of the command line: one small module each, with its sentence, its arguments and what it runs.

A module imports what it runs once its command line is known to be right, so that help and refusals come at once; what
is no other room's lies beside it. A new command is a module with the members of `Command` and a line in `COMMANDS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rltf.config.command_line import choose
from rltf.driver.commands import (
    attach,
    check_data,
    compare,
    convert,
    dashboards,
    data,
    doctor,
    evaluate,
    export,
    grade,
    help,
    replay,
    scale,
    serve,
    show_prompt,
    status,
    stop,
    train,
    train_critic,
)
from rltf.driver.commands.command import Command
from rltf.executor.protocol import LaneFailure
from rltf.program import DONE, FAILED
from rltf.telemetry.console import print_error, warn

COMMANDS: dict[str, Command] = {
    "train": train,
    "grade": grade,
    "evaluate": evaluate,
    "compare": compare,
    "check-data": check_data,
    "data": data,
    "convert": convert,
    "show-prompt": show_prompt,
    "status": status,
    "attach": attach,
    "stop": stop,
    "scale": scale,
    "replay": replay,
    "train-critic": train_critic,
    "export": export,
    "serve": serve,
    "dashboards": dashboards,
    "doctor": doctor,
    "help": help,
}
"""By name, in the order in which the help lists them."""


def sentences() -> dict[str, str]:
    """By the name of a command what it does."""
    return {name: command.SENTENCE for name, command in COMMANDS.items()}


def chosen(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command that the arguments name, `train` where they name none, and its own arguments.

    Raises UserError for a word that is no command.
    """
    return choose(arguments, sentences(), "train")


def run(name: str, arguments: Sequence[str], console: Console) -> int:
    """Runs a command, whose judge or model may fail, and returns its exit code.

    Raises UserError for wrong input, and for a package that is not installed.
    """
    try:
        return COMMANDS[name].run(arguments, console)
    except (LaneFailure, FloatingPointError) as failure:
        print_error(f"{name} failed: {failure}")
        return FAILED
    except ModuleNotFoundError as error:
        from rltf.driver.extras import lacks

        raise lacks(error, name) from None


def lost_output(code: int, arguments: Sequence[str], reason: str) -> int:
    """The exit code of a command whose standard output could not be written: it has failed; a run has its folder."""
    if code == DONE and chosen(arguments)[0] != "train":
        print_error(f"error: standard output could not be written ({reason}), and what was printed is lost")
        return FAILED
    warn(f"standard output could not be written ({reason}), and some of what was printed is lost")
    return code
