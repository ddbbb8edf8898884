"""`replay RUN` where there is little or nothing to judge again; whole runs are judged again in test_run.py."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rltf import launch
from rltf.monitor.run_folder import RunFolder
from tests.support.monitor_rows import archived, config, sample


def test_a_run_without_kept_programs_is_not_said_to_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder.create(config(tmp_path))
    assert launch.main(["replay", str(folder.path)]) == 2
    told = capsys.readouterr()
    assert f"error: {folder.path / 'samples'} keeps no program of this run" in told.out + told.err
    assert "verdicts are the same" not in told.out and not (folder.path / "replay").exists()


def test_programs_without_verdicts_agree_with_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder.create(config(tmp_path))
    kept = archived(sample("add/0", "pass"), "trained")
    folder.add_samples([msgspec.structs.replace(kept, fate="dead_letter", reason="no sandbox", feedback=b"")])
    folder.close()
    assert launch.main(["replay", str(folder.path)]) == 1
    told = capsys.readouterr()
    assert "1 have no verdict to compare with" in told.out and "verdicts are the same" not in told.out
    assert "replay failed: no recorded program has a verdict to compare with" in told.out + told.err
