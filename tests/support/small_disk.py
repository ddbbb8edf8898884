"""A real disk that is full: a tmpfs of some megabytes in a mount namespace of its own, for code in a process of its
own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

_PRELUDE = """
import os, subprocess, sys
from pathlib import Path
disk = Path(sys.argv[1])
def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
def remount(options):
    subprocess.run(["mount", "-o", "remount," + options, disk], check=True)
def fill(leave=0):
    "Takes all room but `leave` bytes."
    with (disk / "ballast").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        if leave:
            file.truncate(max(0, file.tell() - leave))
"""


def on_small_disk(disk: Path, script: str, timeout_s: float = 240.0) -> str:
    """Runs `script`, for which `disk` is an empty folder to `mount` on; what it prints.

    Skips where nothing may be mounted.
    """
    can = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if can.returncode:
        pytest.skip(f"no mount namespace of its own: {can.stderr.decode(errors='replace').strip()}")
    disk.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = ["unshare", "-m", sys.executable, "-c", _PRELUDE + script, str(disk)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout
