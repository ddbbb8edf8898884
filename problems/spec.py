"""SPEC: how a set of problems is named on the command line, `SOURCE[:PATH][,option=value...]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rltf.config import UserError, suggest
from rltf.problems.corpus import Corpus
from rltf.problems.problem import Problem, Skipped, UnreadFields


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed SPEC."""

    text: str
    """As it was written."""
    source: str
    """A key of `problems.sources.SOURCES`."""
    path: Path | None
    """File or folder, of `hf` the hub's name; None: built in, or from the hub."""
    options: dict[str, str]
    """Options by name; only known ones."""
    seed: int = 0
    """What is drawn at random is drawn with it."""
    judging: bool = False
    """Whether only tests are wanted: records of one's own may be without a question."""

    def one_of(self, option: str, allowed: Collection[str], default: str) -> str:
        """Value of an option that takes one of a few words. Raises UserError for any other."""
        value = self.options.get(option, default)
        if option in self.options and value not in allowed:
            raise UserError(f"{self.text}: {option} {value!r} is unknown; {suggest(value, allowed)}")
        return value


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of problem set: what a SPEC may say of it, and how its problems are read."""

    name: str
    about: str
    """What it is, in a few words; `form` stands beside it."""
    load: Callable[[Spec], Iterable[Problem | Skipped | UnreadFields]]
    """Reads the problems of a SPEC. A record that cannot be used becomes Skipped and the rest goes on; raises UserError
    for a file or folder that cannot be read."""
    options: tuple[str, ...] = ()
    """Names of the options that it takes."""
    path: Literal["", "FILE", "FOLDER", "OWNER/NAME"] = ""
    """What stands behind the colon; empty: nothing, the problems are built in."""
    hub: bool = False
    """Whether the path may be left out, and the problems come from the hub."""
    corpus: Callable[[Sequence[Problem]], Corpus] | None = None
    """Programs for supervised training; None: the problems' solutions."""

    @property
    def form(self) -> str:
        """How it is written, without options: `apps:FOLDER`."""
        return f"{self.name}:{self.path}" if self.path else self.name


class IdFilter:
    """The option `ids`: names and inclusive ranges of numbers joined by `+` (`ids=11-510`, `ids=0001+0111`).

    A name is compared with the last part of an id; numbers are compared as numbers.
    """

    def __init__(self, spec: Spec) -> None:
        """All pass where `spec` has no such option. Raises UserError for an empty part or range."""
        self._spec = spec
        written = spec.options.get("ids")
        self._parts = None if written is None else {part.strip(): self._range(part) for part in written.split("+")}
        self._matched: set[str] = set()

    def _range(self, part: str) -> range | None:
        """The numbers that a part names, None for a name."""
        bounds = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if bounds:
            numbers = range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1)
            if not numbers:
                raise UserError(
                    f"{self._spec.text}: the range {part} in ids is empty, its first number is the larger one"
                )
            return numbers
        if not part.strip():
            raise UserError(f"{self._spec.text}: ids must be names or ranges joined by +, like 11-510 or 11+20-30")
        return None

    def __call__(self, name: str) -> bool:
        """Whether a record of that name is wanted."""
        if self._parts is None:
            return True
        number = int(name) if name.isascii() and name.isdigit() else -1
        found = {part for part, numbers in self._parts.items() if part == name or (numbers and number in numbers)}
        self._matched |= found
        return bool(found)

    def require_matches(self) -> None:
        """To be called after the last record. Raises UserError for a part that no record matched."""
        missing = [part for part in self._parts or () if part not in self._matched]
        if missing:
            several = "is the id" if len(missing) == 1 else "are ids"
            raise UserError(f"{self._spec.text}: {', '.join(missing)} {several} of no record there")
