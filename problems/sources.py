"""Every kind of problem set, by the name with which a SPEC begins."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from rltf.config import UserError, chosen, suggest
from rltf.problems import apps, evalplus, humaneval, jsonl, livecodebench, mbpp, table
from rltf.problems.data_files import data_files
from rltf.problems.spec import Source, Spec
from rltf.problems.starter import source as starter

SOURCES = {
    source.name: source
    for source in (
        starter.SOURCE,
        apps.SOURCE,
        mbpp.SOURCE,
        evalplus.MBPP_PLUS,
        humaneval.SOURCE,
        evalplus.HUMANEVAL_PLUS,
        livecodebench.SOURCE,
        jsonl.SOURCE,
        table.FILES,
        table.HUB,
    )
}
"""By name, in the order in which the texts list them."""
_OPTION = re.compile(r"[A-Za-z_]+=")
_WEIGHT = "weight"
"""The option of every source, where several are trained on."""
_NUMBER = re.compile(r"\d{1,3}(\.\d{1,2})?")


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


def weights_of(specs: Sequence[str]) -> list[int]:
    """The option `weight` of several SPECs, as whole numbers in the same proportion; zeros where none has it.

    Raises UserError when only some have it, and for one that is no number from 0.01 to 100 of at most two decimals.
    """
    written = [parse_spec(one).options.get(_WEIGHT) for one in specs]
    weights = [0 if one is None else round(100 * float(one)) if _NUMBER.fullmatch(one) else -1 for one in written]
    for spec, one, weight in zip(specs, written, weights, strict=True):
        if one is not None and not 1 <= weight <= 10_000:
            raise UserError(f"{spec}: {_WEIGHT} must be a number from 0.01 to 100, with at most two decimals")
    if any(weights) and not all(weights):
        raise UserError(f"{specs[weights.index(0)]}: {_WEIGHT} must be given to each of the sets, or to none")
    divisor = math.gcd(*weights) or 1
    return [weight // divisor for weight in weights]


def files_of(text: str) -> list[Path]:
    """Files and folders that the SPECs of a list name, patterns resolved."""
    paths = [spec.path for spec in map(parse_spec, specs_of(text)) if spec.path is not None and spec.source != "hf"]
    return [file for path in paths for file in data_files(path)]


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
        if option not in (*source.options, _WEIGHT):
            raise UserError(f"{text}: {name} has no option {option!r}; {suggest(option, source.options)}")
    if colon and not source.path:
        raise UserError(f"{text}: {name} is built in and takes no path")
    if source.path and not source.hub and not path:
        raise UserError(f"{text}: {name} needs a {source.path.lower()}, {source.form}")
    if colon and not path:
        raise UserError(f"{text}: a path must follow the colon; {name} alone loads from the hub")
    return Spec(text, name, Path(path).expanduser() if path else None, options, seed)
