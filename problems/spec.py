"""SPEC: how a set of problems is named on the command line, `SOURCE[:PATH][,option=value...]`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from rltf.config import UserError

SOURCES: dict[str, tuple[str, ...]] = {
    "starter": ("split",),
    "apps": ("split", "difficulty", "ids", "checker", "tolerance"),
    "mbpp": ("ids",),
    "jsonl": ("ids", "checker", "tolerance"),
}
"""Every source and its options."""

_OPTION = re.compile(r"[A-Za-z_]+=")


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed SPEC."""

    text: str
    """As it was written."""
    source: str
    """A key of `SOURCES`."""
    path: Path | None
    """File or folder; None: built in, or from the hub."""
    options: dict[str, str]
    """Options by name; only known ones."""

    def one_of(self, option: str, allowed: Collection[str], default: str) -> str:
        """Value of an option that takes one of a few words. Raises UserError for any other."""
        value = self.options.get(option, default)
        if option in self.options and value not in allowed:
            raise UserError(f"{self.text}: {option} {value!r} is unknown; {_suggest(value, allowed)}")
        return value


def has_source(text: str) -> bool:
    """Whether it begins like a SPEC."""
    return re.split("[:,]", text.strip())[0] in SOURCES


def parse_spec(text: str) -> Spec:
    """Parse a SPEC. Raises UserError for an unknown source or option, naming the nearest right one.

    Options are the trailing `,name=value` parts, so a path may hold commas.
    """
    parts = text.strip().split(",")
    options: dict[str, str] = {}
    while len(parts) > 1 and _OPTION.match(parts[-1].strip()):
        name, _, value = parts.pop().strip().partition("=")
        if name in options:
            raise UserError(f"{text}: option {name} is given twice")
        options[name] = value.strip()
    source, colon, path = ",".join(parts).partition(":")
    if source not in SOURCES:
        raise UserError(f"problem set {text!r} has the unknown source {source!r}; {_suggest(source, SOURCES)}")
    for name in reversed(options):
        if name not in SOURCES[source]:
            raise UserError(f"{text}: {source} has no option {name!r}; {_suggest(name, SOURCES[source])}")
    if source == "starter" and colon:
        raise UserError(f"{text}: starter is built in and takes no path")
    if source == "jsonl" and not path:
        raise UserError(f"{text}: jsonl needs a file, jsonl:FILE")
    if colon and not path:
        raise UserError(f"{text}: a path must follow the colon; {source} alone loads from the hub")
    return Spec(text=text, source=source, path=Path(path).expanduser() if path else None, options=options)


def parse_ids(spec: Spec) -> Callable[[str], bool]:
    """Filter for the option `ids`: names and inclusive ranges of numbers joined by `+` (`ids=11-510`, `ids=0001+0111`).

    A name is compared with the last part of an id; numbers are compared as numbers. Raises UserError for an empty part
    or range.
    """
    written = spec.options.get("ids")
    if written is None:
        return lambda name: True
    names: set[str] = set()
    ranges: list[tuple[int, int]] = []
    for part in written.split("+"):
        bounds = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if bounds:
            first = int(bounds[1])
            last = int(bounds[2] or first)
            if last < first:
                raise UserError(f"{spec.text}: the range {part} in ids is empty, its first number is the larger one")
            ranges.append((first, last))
        elif part.strip():
            names.add(part.strip())
        else:
            raise UserError(f"{spec.text}: ids must be names or ranges joined by +, like 11-510 or 11+20-30")

    def chosen(name: str) -> bool:
        number = int(name) if name.isascii() and name.isdigit() else None
        return name in names or (number is not None and any(first <= number <= last for first, last in ranges))

    return chosen


def _suggest(word: str, allowed: Collection[str]) -> str:
    near = difflib.get_close_matches(word.lower(), allowed, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(allowed)}"
