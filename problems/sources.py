"""Every kind of problem set, by the name with which a SPEC begins."""

from __future__ import annotations

import re
from pathlib import Path

from rltf.config import UserError, chosen, suggest
from rltf.problems import apps, jsonl, mbpp
from rltf.problems.spec import Source, Spec
from rltf.problems.starter import source as starter

SOURCES = {source.name: source for source in (starter.SOURCE, apps.SOURCE, mbpp.SOURCE, jsonl.SOURCE)}
_OPTION = re.compile(r"[A-Za-z_]+=")


def source_named(name: str, spec: str) -> Source:
    """A source. Raises UserError, which names the SPEC, for a name that none has."""
    return chosen(SOURCES, name, f"problem set {spec!r}: the source")


def forms() -> str:
    """How a SPEC may begin: `starter | apps:FOLDER | ..`."""
    return " | ".join(source.form for source in SOURCES.values())


def source_of(text: str) -> Source | None:
    """The source with which a SPEC begins; None where it is no SPEC."""
    return SOURCES.get(re.split("[:,]", text.strip())[0])


def specs_of(text: str) -> list[str]:
    """The SPECs of a list joined by commas, `starter,split=heldout,mbpp`: each begins with the name of a source.

    Raises UserError where it does not begin with one.
    """
    specs: list[str] = []
    for part in text.split(","):
        if source_of(part) is not None and not _OPTION.match(part.strip()):
            specs.append(part.strip())
        elif specs:
            specs[-1] += f",{part}"
        else:
            source_named(re.split("[:,]", text.strip())[0], text)
    return specs


def parse_spec(text: str, seed: int = 0) -> Spec:
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
    name, colon, path = ",".join(parts).partition(":")
    source = source_named(name, text)
    for option in reversed(options):
        if option not in source.options:
            raise UserError(f"{text}: {name} has no option {option!r}; {suggest(option, source.options)}")
    if colon and not source.path:
        raise UserError(f"{text}: {name} is built in and takes no path")
    if source.path and not source.hub and not path:
        raise UserError(f"{text}: {name} needs a {source.path.lower()}, {source.form}")
    if colon and not path:
        raise UserError(f"{text}: a path must follow the colon; {name} alone loads from the hub")
    return Spec(text, name, Path(path).expanduser() if path else None, options, seed)
