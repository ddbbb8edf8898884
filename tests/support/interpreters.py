"""The interpreters at hand of the versions that the project supports."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")


@functools.cache
def interpreters() -> dict[str, str]:
    """One interpreter of each version that the project supports, as far as they are installed here."""
    candidates = [path for minor in (11, 12, 13) if (path := shutil.which(f"python3.{minor}"))]
    candidates += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python3"))]
    candidates += [
        str(path) for path in sorted(Path.home().glob(".local/share/uv/python/cpython-3.1[123].*/bin/python3"))
    ]
    found: dict[str, str] = {}
    for path in candidates:
        ask = [path, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(ask, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            found.setdefault(done.stdout.strip(), path)
    return found
