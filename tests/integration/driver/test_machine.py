"""A machine with too little room, as `ulimit -v` bounds it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize("limit_gb", [1, 4])
def test_too_few_addresses_are_told_before_torch_needs_them(limit_gb: int, tmp_path: Path) -> None:
    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit_gb * 10**9, resource.RLIM_INFINITY))

    done = subprocess.run(
        [sys.executable, "launch.py", "--dry-run", "--run.folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=narrow, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the address space of a process is limited to {limit_gb}.0 GB (ulimit -v)")
    assert len(done.stderr.splitlines()) == 1
