"""The folder of one run as its driver writes it; `config/run_files.py` says what lies where."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import yaml

from rltf.buffer.connection import redacted
from rltf.buffer.records import Archived
from rltf.config import Config, RunConfig, atomic_write, run_files, writing
from rltf.monitor.absence import Absence
from rltf.monitor.event_files import TensorBoard
from rltf.monitor.jsonl_parts import PartWriter
from rltf.monitor.new_run import make_folder
from rltf.monitor.run_record import RunRecord
from rltf.monitor.samples import SampleWriter
from rltf.telemetry.declarations import Source
from rltf.telemetry.metrics import numbers_of
from rltf.telemetry.recorder import Row

LOG_BYTES = 2**24
"""Size beyond which a log begins anew; what it held is kept until the next time. So a process has twice as much at
most."""


class RunFolder(RunRecord):
    """Writes a run's files, and reads them as a RunRecord does.

    Everything but the parts is flushed line by line: a run that is killed keeps its rows.
    """

    def __init__(self, path: Path) -> None:
        """Opens a folder for reading and appending; use `create`, `resume` or `open`."""
        super().__init__(path)
        self._config: Config | None = None
        """That of the attempt which writes here; none for who adds to an attempt that has ended."""
        self.config_kept = False
        """Whether the run goes on with that configuration."""
        self._samples: SampleWriter | None = None
        self._telemetry: PartWriter | None = None
        self._tensorboard: TensorBoard | None = None
        self._metrics = LineFile(path / run_files.METRICS)
        self._held_out = LineFile(path / run_files.HELD_OUT)
        self._events = LineFile(path / run_files.EVENTS)
        self.phases = RunPhases({})

    @classmethod
    def create(cls, config: Config, preset: str = "run") -> RunFolder:
        """Makes the folder of a new run and writes config.yaml into it; `.name` tells its name.

        Raises UserError as `new_run.make_folder` does.
        """
        folder = cls(make_folder(config, preset))
        folder._config = config
        folder.keep_config()
        return folder

    @classmethod
    def resume(cls, path: Path | str, config: Config) -> RunFolder:
        """Opens the folder of an earlier run to append to it: `config` is the next attempt's, config.yaml stays until
        `keep_config`.

        Raises UserError when it is none.
        """
        folder = cls.open(path)
        folder._config = config
        folder.phases = RunPhases(folder.progress().get("phase_seconds", {}))
        return folder

    def keep_config(self) -> None:
        """The attempt's configuration becomes the run's: another attempt begins with it."""
        self._write_config(run_files.CONFIG)
        self.config_kept = True

    def _write_config(self, file: str) -> None:
        if self._config is not None:
            values = self._config.model_dump(mode="json")
            values["run"]["name"] = self.name
            values["redis"]["url"] = redacted(self._config.redis.url)
            self._replace(file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, explicit_end=True))

    def new_log_folder(self) -> Path:
        """Begins the next attempt, N from 1: writes config_N.yaml, makes logs/attempt_N."""
        earlier = self.attempts()
        before = run_files.config_of(earlier)
        if earlier and not (self.path / before).exists():  # config.yaml alone has what that one ran with
            self._replace(before, (self.path / run_files.CONFIG).read_text())
        self._write_config(run_files.config_of(earlier + 1))
        folder = self.path / run_files.LOGS / f"attempt_{earlier + 1}"
        folder.mkdir(parents=True)
        return folder

    def add_step(self, row: Row) -> None:
        """One learner step: `step`, and whatever else its row says, goes to metrics.jsonl and TensorBoard."""
        self._metrics.append(row)
        self._draw("step", "train", row)

    def add_held_out(self, row: Row) -> None:
        """One held-out evaluation (evaluation.summary.HeldOut.as_row) goes to held_out.jsonl and TensorBoard."""
        self._held_out.append(row)
        self._draw("held_out", f"held_out/{row['set']}" if row.get("set") else "held_out", row)

    def _draw(self, source: Source, prefix: str, row: Row) -> None:
        values = {f"{prefix}/{name}": value for name, value in numbers_of(row, source, "tensorboard").items()}
        self.tensorboard.scalars(values, int(row["step"]), row.get("time", time.time()))

    @property
    def tensorboard(self) -> TensorBoard:
        """The writer of tensorboard/, opened at first use."""
        if self._tensorboard is None:
            self._tensorboard = TensorBoard(self.path / run_files.TENSORBOARD)
        return self._tensorboard

    def add_event(self, row: Row) -> None:
        """Something that happened to the run, with its `time` and `event` (started, resumed, died, restarted), goes to
        events.jsonl.
        """
        self._events.append(row)

    def add_samples(self, archived: Iterable[Archived]) -> None:
        """Keeps programs whose fate is known, and writes them to disk before it returns: the buffer may then forget
        them.
        """
        if self._samples is None:
            kept = int(self.progress().get("kept", 0))
            self._samples = SampleWriter(self.path / run_files.SAMPLES, int(self._settings.samples_gb * 1e9), kept)
        self._samples.add(archived)

    @property
    def kept_samples(self) -> int:
        """Programs that were written to samples/, by all attempts together, those that are no longer there too."""
        return int(self.progress().get("kept", 0)) if self._samples is None else self._samples.kept

    def add_telemetry(self, rows: Iterable[Row]) -> None:
        """Keeps telemetry rows; `now` rows, which later rows repeat, are left out."""
        if self._telemetry is None:
            max_bytes = int(self._settings.telemetry_gb * 1e9)
            self._telemetry = PartWriter(self.path / run_files.TELEMETRY, max_bytes, lines_per_part=16384)
        self._telemetry.add(msgspec.json.encode(row) for row in rows if row["kind"] != "now")

    @property
    def telemetry_on_disk(self) -> bool:
        """Whether no telemetry row is held in memory."""
        return self._telemetry is None or not self._telemetry.held

    @property
    def _settings(self) -> RunConfig:
        return (self._config or self.settings()).run

    def enter_phase(self, name: str, now: float) -> None:
        """The run as a whole enters a phase (`RunPhases.enter`); the one that ends goes to telemetry/."""
        if ended := self.phases.enter(name, now):
            self.add_telemetry([ended])

    def bound_logs(self) -> None:
        """Lets each log that has more than LOG_BYTES begin anew; its processes, which append, go on.

        Lines of that instant may be lost.
        """
        logs = self.path.glob(f"{run_files.LOGS}/attempt_*/*.log")
        for log in [*logs, self.path / run_files.REDIS / "redis.log"]:
            if log.exists() and log.stat().st_size > LOG_BYTES:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)

    def write_progress(self, progress: Mapping[str, Any]) -> None:
        """Replaces progress.json, atomically."""
        self._replace(run_files.PROGRESS, json.dumps(progress) + "\n")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes result.json, atomically."""
        self._replace(run_files.RESULT, json.dumps(result, indent=2) + "\n")

    def write_absent(self, absent: Mapping[str, Absence]) -> None:
        """Replaces absent.json, atomically: workers that do not run. Raises OSError."""
        self._replace(run_files.ABSENT, json.dumps(absent) + "\n", durable=False)

    def _replace(self, file: str, text: str, durable: bool = True) -> None:
        with atomic_write(self.path / file, durable) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def flush(self) -> None:
        """Writes telemetry held in memory as a part of its own; meant for every few minutes and the end."""
        for writer in (self._telemetry, self._tensorboard):
            if writer is not None:
                writer.flush()

    def close(self) -> None:
        """Ends the current phase, flushes, closes TensorBoard's file.

        What fails does not keep the rest from it; it is told once.

        Raises OSError when the disk is full or gone; what is still in memory is lost then, and another call does
        nothing.
        """
        with ExitStack() as ending:  # each of it is done, whatever becomes of the others
            if self._tensorboard is not None:
                ending.callback(self._tensorboard.close)
                self._tensorboard = None
            self.enter_phase("", time.time())
            if self._telemetry is not None:
                ending.callback(self._telemetry.flush)
                self._telemetry = None


class LineFile:
    """Appends rows. What a killed writer, or a full disk, has left of a line is cut off before the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = False
        """Whether the file is known to end with a whole line."""

    def append(self, row: Row) -> None:
        """Writes a row, and hands it to the system. Raises OSError."""
        if not self._whole:
            _cut_broken_tail(self._path)
        self._whole = False
        with writing(self._path), self._path.open("a") as lines:
            lines.write(json.dumps(row, default=_number) + "\n")
        self._whole = True


def _cut_broken_tail(path: Path) -> None:
    """Cuts off a last line without its newline, so that the next line does not grow onto it."""
    if path.exists():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)


def _number(value: Any) -> float | int:
    """Numpy scalars as plain numbers."""
    number: float | int = value.item()
    return number


class RunPhases:
    """The phases of one attempt, on the wall clock, on top of those of earlier ones."""

    def __init__(self, earlier: Mapping[str, float]) -> None:
        """`earlier`: seconds by phase of the attempts before."""
        self.seconds = {name: float(seconds) for name, seconds in earlier.items()}
        """Of the phases that have ended, by name."""
        self._name = ""
        self._since = 0.0

    def enter(self, name: str, now: float) -> Row | None:
        """The run enters a phase (`buffer.control.Phase`), or with an empty name none; the row of the one that ends so.

        Repeated calls with one name are one phase.
        """
        if name == self._name:
            return None
        ended, since = self._name, self._since
        self.seconds = self.seconds_until(now)
        self._name, self._since = name, now
        row = {"kind": "phase", "role": "run", "name": ended, "waits_for": None, "start": since, "end": now}
        return row if ended else None

    def seconds_until(self, now: float) -> dict[str, float]:
        """`seconds` with the phase that goes on."""
        if not self._name:
            return dict(self.seconds)
        return self.seconds | {self._name: self.seconds.get(self._name, 0.0) + now - self._since}
