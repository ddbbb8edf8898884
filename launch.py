"""The command line: `python launch.py [COMMAND] --help`, or `rltf [COMMAND] --help` where the project is installed.

Checks the interpreter, lets the guard stand and calls a command of `driver/commands/`; holds no logic of theirs. It
imports the project inside functions: older Pythons understand this file too and are told what to do, and whatever takes
time comes after the guard.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code: 0 done, 1 the run failed (reason in the last line), 2 wrong input."""
    from rltf.config import UserError
    from rltf.driver import commands
    from rltf.driver.stopping import SENTENCE
    from rltf.program import FAILED, WRONG_INPUT
    from rltf.telemetry.console import output, print_error

    try:
        return commands.run(*commands.chosen(arguments), output())
    except UserError as error:
        print_error(f"error: {error}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        print_error(SENTENCE)
        return FAILED


def start() -> NoReturn:
    """What `python launch.py`, `python -m rltf` and an installed `rltf` run: one command under the guard."""
    from rltf.program import CHECKOUT, DONE, PROGRAM, WRONG_INPUT

    def refuse(reason: str, remedy: str) -> NoReturn:
        remedy = "run `make setup`, then `.venv/bin/python launch.py`" if CHECKOUT else remedy
        sys.stderr.write(f"error: {reason}: {remedy}\n")
        sys.exit(WRONG_INPUT)

    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        this = ".".join(map(str, sys.version_info[:2]))
        refuse(f"{PROGRAM} needs Python 3.11, 3.12 or 3.13, and this is {this}", "install it for one of them")
    from rltf.driver import guard
    from rltf.driver.detach import detached
    from rltf.driver.stopping import exit_process

    arguments = detached.fork_if_asked(sys.argv[1:])
    guard.fork_guarded()  # a stop is heard from here on, and all that follows runs in the guard's child
    try:
        from rltf.driver import commands
        from rltf.telemetry.console import harden_streams
    except ModuleNotFoundError as error:
        refuse(
            f"the package {error.name} is not installed for {sys.executable}",
            f"`{sys.executable} -m pip install {error.name}` does it",
        )
    written = harden_streams()
    try:
        code = main(arguments)
    except SystemExit as ended:  # after its help
        code = int(ended.code or DONE)
    if written.lost:
        code = commands.lost_output(code, arguments, written.lost)
    exit_process(code)


if __name__ == "__main__":
    start()
