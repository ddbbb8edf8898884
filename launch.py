"""The commands. Wires the parts together and holds no logic of theirs: `python launch.py --help`.

Ray, torch and the rooms that need them are imported only once the command line is known to be right.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

import config as configuration
from config import Config, UserError

DONE, FAILED, WRONG_INPUT = 0, 1, 2
_PRESET = Path(__file__).parent / "configs" / "starter.yaml"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, without the usage text of a hundred fields."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; launch.py --help lists all keys")


def parse(arguments: Sequence[str]) -> tuple[Config, str, bool]:
    """The configuration that a command line asks for, the preset's name, and whether it is a dry run.

    Raises:
        UserError: an unknown key, a value that does not fit, a missing file.
    """
    parser = _Parser(prog="launch.py", description="Train a code model on unit-test feedback.", allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=_PRESET, metavar="FILE", help="YAML file (default: configs/starter.yaml)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and end")
    keys = parser.add_argument_group("fields of the configuration, each --part.field VALUE")
    for key, sentence in configuration.fields().items():
        keys.add_argument(f"--{key}", metavar="VALUE", help=sentence.replace("%", "%%"))
    known, unknown = parser.parse_known_args(arguments)
    if unknown and not unknown[0].startswith("--"):
        raise UserError(f"unexpected argument {unknown[0]!r}: fields are given as --part.field VALUE; launch.py --help lists all keys")
    overrides = {key: value for key in configuration.fields() if (value := getattr(known, key)) is not None}
    # An unknown key goes through the same check as one in a file: it names the nearest right one.
    overrides |= {word.removeprefix("--").partition("=")[0]: "" for word in unknown if word.startswith("--")}
    return configuration.load(known.config, overrides), known.config.stem, known.dry_run


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code: 0 done, 1 the run failed (reason in the last line), 2 wrong input."""
    console = Console(soft_wrap=True, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill stops everything as Ctrl-C does
    try:
        config, preset, dry_run = parse(arguments)
        from driver import RunFailed
        from driver.train import train

        try:
            train(config, preset, dry_run, console)
        except RunFailed as failure:
            console.print(f"run failed: {failure}", style="bold red", markup=False)
            return FAILED
    except UserError as error:
        console.print(f"error: {error}", style="bold red", markup=False)
        return WRONG_INPUT
    except KeyboardInterrupt:
        console.print("stopped by the user")
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
