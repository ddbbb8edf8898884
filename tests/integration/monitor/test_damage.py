"""Damaged samples of a run that is replayed. Other damage: tests/unit/monitor/test_damage.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from rltf import launch
from rltf.monitor.run_folder import RunFolder
from tests.support.monitor_rows import config, write_parts


def test_replay_says_that_a_part_of_the_record_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(config(tmp_path))
    write_parts(folder.path / "samples", 3, monkeypatch)
    (folder.path / "samples" / "part-000001.parquet").write_bytes(b"")
    assert launch.main(["replay", str(folder.path), "--executor.lanes", "1"]) == 1
    printed = capsys.readouterr().err
    assert (
        f"2 programs of {folder.path}/samples are lost: part-000001.parquet is damaged: " in printed
        and "replay failed" in printed
    )
