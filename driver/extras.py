"""What of the project is there: which packages of its extras, as its own installation declares them, and which code.

Imports none of them.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

from rltf.config import UserError
from rltf.program import CHECKOUT

_PROJECT = "rltf"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[(?P<more>\w+)\])?.*?extra\s*==\s*['\"](?P<extra>\w+)['\"]")


def require(extra: str, what: str) -> None:
    """Raises UserError when a package of the extra is not installed; `what` needs it.

    Where the project itself was never installed its packages are not known here: an import says what is missing.
    """
    if missing := sorted(name for name in _packages(extra) if not _is_there(name)):
        raise UserError(f"{what} needs {', '.join(missing)}, not installed in {sys.executable}: {advice(extra)}")


def lacks(error: ModuleNotFoundError, what: str) -> UserError:
    """What to answer when `what` could not import a package."""
    name = (error.name or "").partition(".")[0]
    extra = next((extra for extra in ("executor", "train", "dashboards") if name in _packages(extra)), "")
    return UserError(f"{what} needs {name or error}, not installed in {sys.executable}: {advice(extra)}")


def advice(extra: str) -> str:
    """How to get the packages of an extra; of an empty one, those that are always needed."""
    if not CHECKOUT:
        asked = f"{_PROJECT}[{extra}]" if extra else _PROJECT
        return f"it comes with `{asked}`, as in `{sys.executable} -m pip install '{asked}'`"
    if not extra:
        return "`make setup` installs all that is needed"
    return f"it comes with the extra `{extra}`, by `EXTRAS={extra} bash scripts/setup.sh` (`make setup` installs all)"


def code_version() -> str:
    """The commit of a checkout, the version of an installation; `unknown` for a copy of the files."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        if not CHECKOUT:
            return f"{_PROJECT} {importlib.metadata.version(_PROJECT)}"
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError, importlib.metadata.PackageNotFoundError):
        return "unknown"


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
