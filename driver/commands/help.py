"""`help`, of the program, of a command or of a part of the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rltf.driver.commands import train

SENTENCE = "Show this text, the help of a command, or the fields of a part of the configuration."


def run(arguments: Sequence[str], console: Console) -> int:
    """Raises SystemExit with 0 after printing it."""
    from rltf.driver.commands import COMMANDS  # which has this module

    if arguments and arguments[0] in COMMANDS and arguments[0] != "help":
        return COMMANDS[arguments[0]].run(["--help"], console)
    return train.run(["--help", *arguments[:1]], console)
