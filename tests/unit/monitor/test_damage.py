"""Damaged files of a run's folder: what is damaged is left out and told once, the rest is read; never a traceback."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import rltf.monitor.report
import rltf.monitor.samples
from rltf import launch
from rltf.config import UserError
from rltf.driver import resume
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.samples import SampleWriter
from tests.support.damage import damages
from tests.support.monitor_rows import archived, config, fill, held_out_row, sample, step_row, write_parts


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a run that a learner restart and a resumption happened to."""
    folder = RunFolder.create(config(tmp_path_factory.mktemp("whole")))
    for attempt, event in enumerate(("started", "resumed"), start=1):
        folder.new_log_folder()
        folder.add_event({"time": time.time(), "event": event, "attempt": attempt, "step": 3})
    folder.add_event({"time": time.time(), "event": "restarted", "part": "learner", "reason": "killed", "step": 3})
    folder.write_progress({"position": {"rows": 3}, "kept": 1})
    fill(folder, steps=6)
    return folder.path


LINES = {
    "not UTF-8": b'{"step": 1, "label": "\xff"}',
    "cut": b'{"step": 2, "ti',
    "a number": b"17",
    "a list": b"[]",
    "no keys": b"{}",
    "wrong types": b'{"step": "2", "time": "now", "event": 3, "label": 4}',
    "NUL bytes": b"\0\0\0\0",
    "UTF-16": '{"step": 1}'.encode("utf-16"),
    "nested": b"[" * 100_000,
    "wild": b'{"step": 3, "time": 1e300, "event": "started", "attempt": -1, "label": "x", "pass@1": NaN}',
    "half a character": b'{"step": 1, "time": 1.0, "event": "imbalance", "reason": "\\ud83d"}',
}


def test_lines_that_are_none_are_left_out_and_counted(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, path := tmp_path / "run")
    readers: dict[str, Callable[[RunFolder], object]] = {
        "metrics.jsonl": RunFolder.steps, "held_out.jsonl": RunFolder.held_out, "events.jsonl": RunFolder.events,
    }  # fmt: skip
    said = []
    for file, read in readers.items():
        folder = RunFolder.open(path)
        before = read(folder)
        lines = (path / file).read_bytes().splitlines(keepends=True)
        bad = [
            line + b"\n" for name, line in LINES.items() if not (name == "half a character" and file == "metrics.jsonl")
        ]
        (path / file).write_bytes(b"".join([*lines[:1], *bad, *lines[1:]]))
        assert read(folder) == before
        (told,) = folder.damage()
        assert told.startswith(
            f"{len(bad)} lines of {path / file} cannot be read and are left out; the first is line 2: 'utf-8' codec can"
        )
        assert read(folder) == before and folder.damage() == [told], "told once"
        said.append(told)
    report = rltf.monitor.report.write_report(RunFolder.open(path)).read_text()
    assert [report.count(told) for told in said] == [1, 1, 1]
    assert launch.main(["status", str(path)]) == 0
    printed = capsys.readouterr().out
    assert [printed.count(told) for told in said] == [1, 1, 1]


def test_an_event_without_what_goes_with_it_is_left_out(tmp_path: Path) -> None:
    folder = _begun(tmp_path)
    for event in ("started", "resumed", "died", "restarted", "imbalance"):
        folder.add_event({"time": time.time(), "event": event})
    folder.add_event({"time": time.time(), "event": "died", "part": "learner", "reason": "killed"})
    assert "learner died: killed" in rltf.monitor.report.write_report(RunFolder.open(folder.path)).read_text()
    folder = RunFolder.open(folder.path)
    assert [row["event"] for row in folder.events()] == ["died"] and folder.damage()[0].startswith("5 lines of ")


def test_any_damage_to_any_file_is_a_sentence_at_most(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    shutil.copytree(whole, small, ignore=shutil.ignore_patterns("tensorboard", "*.png", "telemetry"))
    told = 0
    for number, (what, path) in enumerate(damages(small, tmp_path / "run", flips=3)):
        if what.startswith((".key", "config", "logs")):  # a cut configuration has a test of its own
            continue
        try:
            folder = RunFolder.open(path)
            folder.steps(), folder.held_out(), folder.events(), folder.result(), list(folder.samples())
            told += len(folder.damage())
            folder.settings_at(time.time())
        except UserError as error:
            assert "\n" not in str(error) and str(path) in str(error), what
            told += 1
        if not number % 4:
            assert launch.main(["status", str(path)]) in (0, 2), what
        try:
            RunFolder.resume(path, config(tmp_path))
            resume.load(str(path), {})
        except UserError as error:
            assert "\n" not in str(error), what
    assert told > 40 and "Traceback" not in "".join(capsys.readouterr())


def test_the_report_of_a_damaged_folder_iswrite_parts(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, path := tmp_path / "run")
    rng = random.Random(1)
    for file in ("metrics.jsonl", "held_out.jsonl", "events.jsonl", "result.json"):
        data = bytearray((path / file).read_bytes())
        for _ in range(8):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (path / file).write_bytes(data)
    (part,) = (path / "telemetry").glob("part-*")
    part.write_bytes(part.read_bytes()[:-600])
    assert rltf.monitor.report.main([str(path)]) == 0
    report = (path / "report.md").read_text()
    for words in (
        "lines? of .*metrics.jsonl cannot be read",
        "result.json cannot be read",
        "1 parts of .*telemetry cannot be read to",
    ):
        assert re.search(f"- Warning: .*{words}", report), words
    lines = (path / "config.yaml").read_text().splitlines(keepends=True)
    for drawn in ("metrics.jsonl", "held_out.jsonl"):
        (path / drawn).unlink()
    shutil.rmtree(path / "telemetry")  # what follows draws nothing
    for text in (None, "", "".join(lines[:60])):
        (path / "config.yaml").write_text(text) if text is not None else None
        assert rltf.monitor.report.main([str(path)]) == 0
        assert (f"- Warning: {path}/config.yaml has no " in (path / "report.md").read_text()) == bool(text)
        assert (f"- Warning: {path}/config.yaml holds no configuration" in (path / "report.md").read_text()) == (
            text == ""
        )
    (path / "report.md").unlink()
    (path / "report.md").mkdir()
    assert rltf.monitor.report.main([str(path)]) == 2 and "report.md cannot be written" in capsys.readouterr().err


def test_progress_that_says_nothing_readable_is_told(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, path := tmp_path / "run")
    for text in ("", "[]", '{"position": 3}', '{"position": {"rows": "3"}}', "\0"):
        (path / "progress.json").write_text(text)
        assert launch.main(["status", str(path)]) == 0
        assert "damage: " + str(path / "progress.json") in capsys.readouterr().out
        with pytest.raises(UserError, match=r"progress\.json cannot be read .*: delete it"):
            RunFolder.resume(path, config(tmp_path))


# ---- samples


def _read(folder: RunFolder) -> list[str]:
    return [kept.id for kept in folder.samples()]


def test_what_of_the_samples_is_damaged_or_missing_is_named_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(config(tmp_path))
    samples = folder.path / "samples"
    write_parts(samples, 4, monkeypatch)
    folder.write_progress({"kept": 8})
    shutil.copytree(samples, tmp_path / "whole")
    everything = [f"s{number}" for number in range(8)]
    assert _read(folder) == everything and folder.damage() == []
    for number in range(4):
        part = samples / f"part-00000{number}.parquet"
        rest = [name for name in everything if name not in (f"s{2 * number}", f"s{2 * number + 1}")]
        data = part.read_bytes()
        for damaged in (b"", data[: len(data) // 2], bytes(len(data)), data[:300] + b"\xff\xff" + data[302:], None):
            shutil.rmtree(samples)
            shutil.copytree(tmp_path / "whole", samples)
            part.unlink() if damaged is None else part.write_bytes(damaged)
            again = RunFolder.open(folder.path)
            assert _read(again) == rest
            (told,) = again.damage()
            assert told.startswith(f"2 programs of {samples} are lost: ")
            assert ("parts of it are missing" if damaged is None else f"{part.name} is damaged: ") in told


def test_a_run_goes_on_behind_damaged_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        write_parts(tmp_path, 3, patch)
    (tmp_path / "part-000001.parquet").write_bytes(b"PAR1 and then nothing")
    monkeypatch.setattr(rltf.monitor.samples, "SMALL_PARTS", 2)
    writer = SampleWriter(tmp_path, 10**9, kept=6)
    for number in (10, 11, 12):
        writer.add([archived(sample("p", "pass", id=f"s{number}"), "trained", step=number)])
    assert writer.kept == 9
    lost = rltf.monitor.samples.MissingSamples()
    assert [kept.id for kept in rltf.monitor.samples.read_samples(tmp_path, lost)] == [
        "s0",
        "s1",
        "s4",
        "s5",
        "s10",
        "s11",
        "s12",
    ]
    assert lost.in_words(tmp_path, 9).startswith(f"2 programs of {tmp_path} are lost: part-000001.parquet is damaged: ")
    # One whose footer is whole is met when it is to be merged.
    (newest,) = [
        path
        for path in tmp_path.glob("part-*")
        if path.name != "part-000001.parquet" and pq.read_metadata(path).num_rows > 2
    ]
    data = newest.read_bytes()
    newest.write_bytes(data[:300] + bytes(20) + data[320:])
    writer = SampleWriter(tmp_path, 10**9)
    for number in (13, 14, 15):
        writer.add([archived(sample("p", "pass", id=f"s{number}"), "trained", step=number)])
    assert [kept.id for kept in rltf.monitor.samples.read_samples(tmp_path)][-3:] == ["s13", "s14", "s15"]


# ---- the configuration


def _begun(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(config(tmp_path, learner={"objective": "rltf", "steps": 5}, actors={"greedy": True}))
    folder.new_log_folder()
    folder.add_step(step_row(1))
    folder.add_held_out(held_out_row(1, 0.5))
    return folder


def test_a_configuration_that_is_cut_off_is_not_another_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _begun(tmp_path)
    file = folder.path / "config.yaml"
    text = file.read_text()
    assert resume.load(str(folder.path), {})[0].learner.objective == "rltf"
    lines = text.splitlines(keepends=True)
    for number in range(0, len(lines) - 1, 4):
        file.write_text("".join(lines[:number]))
        with pytest.raises(UserError, match=r"config\.yaml") as refused:
            resume.load(str(folder.path), {})
        assert "\n" not in str(refused.value)
        if number in (0, 4):
            assert launch.main(["status", str(folder.path)]) == 2 and launch.main(["replay", str(folder.path)]) == 2
    told = capsys.readouterr().err
    assert f"error: {file} holds no configuration" in told and re.search(
        f"error: {file} has no .* and \\d+ more fields, which", told
    )
    for number, line in list(enumerate(lines[:-1]))[::6]:  # a line that an editor lost
        if not line.startswith(" ") or line.lstrip().startswith(
            "- "
        ):  # the element of a list, without which it is another
            continue
        file.write_text("".join([*lines[:number], *lines[number + 1 :]]))
        with pytest.raises(
            UserError,
            match=r"config\.yaml.* has no \w+\.\w+, which|config\.yaml is not YAML|config\.yaml cannot be read",
        ):
            resume.load(str(folder.path), {})
    # Before the first attempt nothing else says what has to be there.
    (folder.path / "config_1.yaml").unlink()
    file.write_text("".join(lines[:4]))
    with pytest.raises(
        UserError, match=r"config\.yaml has no .* more fields, which .*: bring the file back from a copy"
    ):
        resume.load(str(folder.path), {})


def test_a_field_of_a_later_version_has_its_default(tmp_path: Path) -> None:
    folder = _begun(tmp_path)
    for name in ("config.yaml", "config_1.yaml"):
        text = (folder.path / name).read_text()
        (folder.path / name).write_text(text.replace("  samples_gb: 20.0\n", ""))
    assert "samples_gb" not in (folder.path / "config.yaml").read_text()
    assert resume.load(str(folder.path), {})[0].run.samples_gb == 20.0


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("  seed: 0\n", "  seed: 5\n", "run.seed is 5, and the run began with 0"),
        ("  train: starter\n", "  train: mbpp\n", "problems.train is 'mbpp'"),
        ("  family: llama\n", "  family: t5\n", "policy.family is 't5'"),
        ("  url: ''\n", "  url: redis://h:6379/0\n", "redis.url is 'redis://h:6379/0'"),
    ],
)
def test_a_fixed_field_is_held_against_the_first_attempt(before: str, after: str, key: str, tmp_path: Path) -> None:
    folder = _begun(tmp_path)
    file = folder.path / "config.yaml"
    assert file.read_text().count(before) >= 1
    file.write_text(file.read_text().replace(before, after, 1))
    with pytest.raises(UserError, match=f"config.yaml: {re.escape(key)}.*put that back, or begin a new run"):
        resume.load(str(folder.path), {})


def test_a_field_that_may_change_may_be_edited(tmp_path: Path) -> None:
    folder = _begun(tmp_path)
    file = folder.path / "config.yaml"
    file.write_text(file.read_text().replace("  steps: 5\n", "  steps: 9\n"))
    moved = folder.path.rename(tmp_path / "elsewhere")
    settings, path = resume.load(str(moved), {})
    assert settings.learner.steps == 9 and path == moved and settings.run.name == "elsewhere"
