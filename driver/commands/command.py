"""What a command is, and what those that judge programs on this machine share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.console import Console

from rltf.config import Config, command_line

RUN = "folder of the run, or its name below runs/"
"""Help of an argument that names a run."""
JUDGE = (
    "executor.lanes one per core",
    "executor.judge",
    "executor.judge_url",
    "executor.judge_token_file",
    "executor.time_limit_s",
    "executor.memory_limit_mb",
    "executor.python",
    "executor.packages",
    "executor.unsafe",
)
"""What judging on this machine reads of the configuration."""


class Command(Protocol):
    """A module of this package."""

    SENTENCE: str
    """What the command does."""

    def run(self, arguments: Sequence[str], console: Console) -> int:
        """From the command's arguments to its exit code.

        Raises UserError for wrong input, SystemExit with 0 after printing the help.
        """
        ...


def spec() -> str:
    """Help of an argument that names a problem set."""
    from rltf.problems.sources import forms

    return f"a problem set: {forms()}, options after commas"


def _style() -> str:
    from rltf.problems.prompts import AUTO, STYLES

    return " | ".join((AUTO, *STYLES))


class Arguments(command_line.Arguments):
    """The arguments of one command, whose help says what a SPEC and a STYLE may be."""

    words = {"SPEC": spec, "STYLE": _style}


def lanes(config: Config, overrides: Mapping[str, str]) -> int:
    """Lanes of a command that has this machine to itself: those asked for, else one per core."""
    return config.executor.lanes if "executor.lanes" in overrides else len(os.sched_getaffinity(0))
