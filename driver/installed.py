"""Which packages of the project's extras are there, as its own installation declares them. Imports none of them."""

from __future__ import annotations

import importlib.metadata
import re
import sys

from rltf.config import UserError

_PROJECT = "rltf"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[(?P<more>\w+)\])?.*?extra\s*==\s*['\"](?P<extra>\w+)['\"]")


def require(extra: str, what: str) -> None:
    """Raises UserError when a package of the extra is not installed; `what` needs it.

    Where the project itself was never installed its packages are not known here: an import says what is missing.
    """
    if missing := sorted(name for name in _packages(extra) if not _is_there(name)):
        raise UserError(f"{what} needs {', '.join(missing)}, not installed in {sys.executable}: {_advice(extra)}")


def lacks(error: ModuleNotFoundError, what: str) -> UserError:
    """What to answer when `what` could not import a package."""
    name = (error.name or "").partition(".")[0]
    extra = next((extra for extra in ("executor", "train") if name in _packages(extra)), "")
    return UserError(f"{what} needs {name or error}, not installed in {sys.executable}: {_advice(extra)}")


def _advice(extra: str) -> str:
    if not extra:
        return "`make setup` installs all that is needed"
    return f"it comes with the extra `{extra}`, by `EXTRAS={extra} bash scripts/setup.sh` (`make setup` installs all)"


def _packages(extra: str) -> set[str]:
    """Names of the packages of an extra, those of extras that it includes too; empty where the project is not
    installed.
    """
    try:
        declared = importlib.metadata.requires(_PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return set()
    names: set[str] = set()
    for entry in map(_REQUIREMENT.match, declared):
        if entry is not None and entry["extra"] == extra:
            names |= _packages(entry["more"]) if entry["name"] == _PROJECT else {entry["name"]}
    return names


def _is_there(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
