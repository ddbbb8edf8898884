"""Packages that programs may import beside the standard library: `executor.packages`, found where they are installed.

Standard library only: an interpreter that is not of this one's version is asked by running this file.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DEFAULT = ("numpy", "sortedcontainers")
SLOW_MODULES = ("calendar", "dataclasses", "unittest", "unittest.mock")
"""Of the standard library: loaded once as well, where a lane loads packages. Not in every lane: each fork copies the
page tables of what is loaded."""
ASK_TIMEOUT_S = 60.0
_REQUIRED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Packages:
    """Those of a list that an interpreter can be given."""

    paths: tuple[str, ...] = ()
    """Folders and files that a lane binds: the packages', and what they require themselves."""
    preload: tuple[str, ...] = ()
    """Modules to load before the first program."""
    missing: tuple[str, ...] = ()
    """Those that are not installed."""

    def named_in(self, text: str) -> bool:
        """Whether a program or test code may import one of them, or a slow module."""
        return any(name in text for name in {module.partition(".")[0] for module in (*self.preload, *SLOW_MODULES)})


@cache
def find_packages(python: str, names: tuple[str, ...]) -> Packages:
    """Packages for an interpreter: those installed here serve every one of this one's version, another has its own.

    `names` are modules: `scipy.sparse` is loaded beforehand as well as `scipy`.
    """
    if not names:
        return Packages()
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        told = _run([python, "-c", ask]).split()
        if tuple(map(int, told)) == sys.version_info[:2]:
            found = locate(names)
            if absent := [name for name in names if not found[name]]:
                found |= {name: paths for name, paths in _asked(python, absent).items() if paths}
        else:
            found = _asked(python, names)
    except (OSError, ValueError, subprocess.SubprocessError):
        return Packages(missing=names)  # whatever is wrong with the interpreter, starting the lane will say it
    return Packages(
        paths=tuple(dict.fromkeys(path for name in names for path in found[name])),
        preload=tuple(name for name in names if found[name]),
        missing=tuple(name for name in names if not found[name]),
    )


def _asked(python: str, names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(_run([python, "-P", __file__, *names]))
    return found


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True).stdout


def locate(names: Sequence[str]) -> dict[str, list[str]]:
    """Folders and files of each package and of those that it requires; none where it is not installed."""
    return {name: list(dict.fromkeys(_paths(name.partition(".")[0]))) for name in names}


def _paths(module: str) -> Iterator[str]:
    spec = importlib.util.find_spec(module)
    if spec is None:
        return
    place = spec.submodule_search_locations[0] if spec.submodule_search_locations else spec.origin
    if place is None:
        return
    package = Path(place).resolve()
    yield str(package)
    libraries = package.parent / f"{module}.libs"
    if libraries.is_dir():
        yield str(libraries)
    for distribution in _with_required(_distribution_of(module)):
        for top in dict.fromkeys(Path(str(file)).parts[0] for file in distribution.files or ()):
            path = Path(str(distribution.locate_file(top))).resolve()
            if top not in ("..", "__pycache__") and path.suffix not in (".dist-info", ".pth") and path.exists():
                yield str(path)


def _distribution_of(module: str) -> str:
    """Name under which a module is installed: mostly its own."""
    try:
        return importlib.metadata.distribution(module).name
    except importlib.metadata.PackageNotFoundError:
        return next(iter(importlib.metadata.packages_distributions().get(module, [])), "")


def _with_required(name: str) -> Iterator[importlib.metadata.Distribution]:
    """A distribution and those that it requires, whatever these require too; those that are not installed left out."""
    waiting, seen = [name] if name else [], set[str]()
    while waiting:
        name = waiting.pop()
        if name.lower() in seen:
            continue
        seen.add(name.lower())
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield distribution
        wanted = [line for line in distribution.requires or () if "extra ==" not in line]
        waiting += [found[0] for line in wanted if (found := _REQUIRED.match(line))]


if __name__ == "__main__":
    print(json.dumps(locate(sys.argv[1:])))
