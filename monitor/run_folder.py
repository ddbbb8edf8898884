"""The folder of one run: everything that is kept of it (see `RunFolder` for the files)."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from rltf.buffer.connection import masked
from rltf.buffer.records import Archived
from rltf.config import Config, RunConfig, UserError, disk_sentence, gone_on_failure, writing
from rltf.monitor.event_files import TensorBoard
from rltf.monitor.line_parts import PartWriter
from rltf.monitor.run_record import RunRecord
from rltf.monitor.samples import SampleWriter
from rltf.telemetry.metric import Source
from rltf.telemetry.metrics import numbers_of
from rltf.telemetry.recorder import Row

LOG_BYTES = 2**24
"""Size beyond which a log begins anew; what it held is kept until the next time. So a process has twice as much at
most."""


class RunFolder(RunRecord):
    """Files of a run, written by the driver::

        .key                   a name that no other run has
        config.yaml            the resolved configuration with which the run goes on; a password in redis.url is masked
        config_N.yaml          that of attempt N, whatever became of it
        events.jsonl           one line per attempt (and the step at which it goes on), death and restart of a worker
        progress.json          how far the driver has read, for the next attempt
        absent.json            who does not run (monitor.absent)
        metrics.jsonl          one line per learner step
        held_out.jsonl         one line per held-out evaluation
        tensorboard/           both of them as TensorBoard event files
        samples/               every sample with its feedback, policy versions and fate (monitor.samples)
        telemetry/             phases, counts and gauges of every worker (part-*.jsonl.gz, rows of telemetry.recorder)
        logs/attempt_N/        one file per process, written by the processes; *.log.1: what was before
        result.json            written at the end (`write_result`)
        report.md, *.png       written by monitor.report

    Everything but the parts is flushed line by line: a run that is killed keeps its rows.
    """

    def __init__(self, path: Path) -> None:
        """Opens a folder for reading and appending; use `create` or `open`."""
        super().__init__(path)
        self._config: Config | None = None
        """That of the attempt which writes here; none for a reader."""
        self._samples: SampleWriter | None = None
        self._telemetry: PartWriter | None = None
        self._tensorboard: TensorBoard | None = None
        self._phase: tuple[str, float] | None = None
        self.phase_seconds: dict[str, float] = {}
        """Seconds of the phases that have ended."""
        self._repaired: set[str] = set()

    @classmethod
    def create(cls, config: Config, preset: str = "run") -> RunFolder:
        """Makes the folder `run.folder`/`run.name` and writes config.yaml into it.

        An empty name becomes PRESET-YYYYMMDD-HHMMSS. A name that is taken gets the suffix -2, -3 and so on: no run is
        ever overwritten, and the same command can be given twice; `.name` tells. Raises UserError for a name that is no
        plain folder name and for a folder that cannot be made.
        """
        path = cls.planned(config, preset)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = "it is a file" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
            raise UserError(f"run.folder {path.parent} cannot be made: {reason}; choose another one") from None
        while True:
            try:
                path.mkdir()
                break
            except FileExistsError:  # another run was faster
                path = cls.planned(config, preset)
            except OSError as error:
                raise UserError(
                    f"the run's folder {path} cannot be made: {error.strerror}; choose another run.folder"
                ) from None
        (path / ".key").write_text(f"{path.name}-{uuid.uuid4().hex[:12]}\n")
        folder = cls(path)
        folder._config = config
        folder.keep_config()
        return folder

    @staticmethod
    def planned(config: Config, preset: str = "run") -> Path:
        """The folder that `create` makes now.

        Raises UserError for a name that is no plain folder name, and a parent that is no text.
        """
        name = (
            config.run.name
            or f"{re.sub('[^A-Za-z0-9]+', '-', preset).strip('-')[:80] or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}"
        )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise UserError(
                f"run.name {name!r} is no folder name: use letters, digits, '.', '_' and '-' (at most 100, a letter "
                "or digit first)"
            )
        parent = Path(config.run.folder).expanduser()
        try:
            str(parent.absolute()).encode()
        except UnicodeEncodeError:
            shown = ascii(str(parent.absolute()))
            raise UserError(
                f"run.folder {shown} is not UTF-8, as Redis and the run's files are: choose another one"
            ) from None
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(parent / each for each in names if not os.path.lexists(parent / each))

    @classmethod
    def resume(cls, path: Path | str, config: Config) -> RunFolder:
        """Opens the folder of an earlier run to append to it: `config` is the next attempt's, config.yaml stays until
        `keep_config`.

        Raises UserError when it is none.
        """
        folder = cls.open(path)
        folder._config = config
        seconds = folder.progress().get("phase_seconds", {})
        folder.phase_seconds = {name: float(value) for name, value in seconds.items()}
        return folder

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Opens the folder of an earlier run. Raises UserError when it is none."""
        path = Path(path).expanduser()
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path} is no run folder: it has no config.yaml")
        return cls(path)

    @property
    def key(self) -> str:
        """A name that no other run has, wherever it is kept: for the run's data in Redis, and to recognise the folder
        by.
        """
        file = self.path / ".key"
        return file.read_text().strip() if file.is_file() else self.name

    def keep_config(self) -> None:
        """The attempt's configuration becomes the run's: another attempt begins with it."""
        self._write_config("config.yaml")

    def _write_config(self, file: str) -> None:
        if self._config is not None:
            values = self._config.model_dump(mode="json")
            values["run"]["name"] = self.name
            values["redis"]["url"] = masked(self._config.redis.url)
            self.replace(file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, explicit_end=True))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other drivers out, until this process ends at the latest.

        Raises UserError when one has the folder, or nothing can be written there.
        """
        try:
            file = (self.path / ".lock").open("a")
        except OSError as error:
            raise UserError(disk_sentence(error, self.path)) from None
        with file as lock:
            for pause_s in (0.05, 0.1, 0.2, None):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if pause_s is None:
                        raise UserError(f"the run in {self.path} is still going on: stop it first") from None
                    time.sleep(pause_s)  # it may be `in_use`, which looks
            yield

    @property
    def in_use(self) -> bool:
        """Whether a driver of this machine has the folder.

        Writes nothing; raises UserError when its lock cannot be looked at.
        """
        try:
            with (self.path / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            raise UserError(f"{self.path / '.lock'} cannot be read: {error.strerror or error}") from None

    # ---- writing

    def add_step(self, row: Row) -> None:
        """One learner step: `step`, and whatever else its row says, goes to metrics.jsonl and
        TensorBoard.
        """
        self._append("metrics.jsonl", row)
        self._draw("step", "train", row)

    def add_held_out(self, row: Row) -> None:
        """One held-out evaluation (evaluation.held_out.HeldOut.as_row) goes to held_out.jsonl and TensorBoard."""
        self._append("held_out.jsonl", row)
        self._draw("held_out", "held_out", row)

    def _draw(self, source: Source, prefix: str, row: Row) -> None:
        values = {f"{prefix}/{name}": value for name, value in numbers_of(row, source, "tensorboard").items()}
        self.tensorboard.scalars(values, int(row["step"]), row.get("time", time.time()))

    def add_samples(self, archived: Iterable[Archived]) -> None:
        """Keeps programs whose fate is known, and writes them to disk before it returns: the buffer may then forget
        them.
        """
        if self._samples is None:
            kept = int(self.progress().get("kept", 0))
            self._samples = SampleWriter(self.path / "samples", int(self._settings.samples_gb * 1e9), kept)
        self._samples.add(archived)

    @property
    def kept_samples(self) -> int:
        """Programs that were written to samples/, by all attempts together, those that are no longer there too."""
        return int(self.progress().get("kept", 0)) if self._samples is None else self._samples.kept

    def add_telemetry(self, rows: Iterable[Row]) -> None:
        """Keeps the rows of telemetry.recorder; `now` rows, which later rows repeat, are left out."""
        if self._telemetry is None:
            self._telemetry = PartWriter(
                self.path / "telemetry", int(self._settings.telemetry_gb * 1e9), lines_per_part=16384
            )
        self._telemetry.add(msgspec.json.encode(row) for row in rows if row["kind"] != "now")

    @property
    def _settings(self) -> RunConfig:
        return (self._config or self.settings()).run

    def bound_logs(self) -> None:
        """Lets each log that has more than LOG_BYTES begin anew; its processes, which append, go on.

        Lines of that instant may be lost.
        """
        for log in [*self.path.glob("logs/attempt_*/*.log"), self.path / "redis" / "redis.log"]:
            if log.exists() and log.stat().st_size > LOG_BYTES:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)

    def add_event(self, row: Row) -> None:
        """Something that happened to the run, with its `time` and `event` (started, resumed, died, restarted), goes to
        events.jsonl.
        """
        self._append("events.jsonl", row)

    def write_progress(self, progress: Mapping[str, Any]) -> None:
        """Replaces progress.json, atomically."""
        self.replace("progress.json", json.dumps(progress) + "\n")

    @property
    def telemetry_on_disk(self) -> bool:
        """Whether no telemetry row is held in memory."""
        return self._telemetry is None or not self._telemetry.held

    def enter_phase(self, name: str, now: float) -> None:
        """The run as a whole enters a phase (`buffer.control.Phase`); repeated calls with one name are one phase."""
        if self._phase is not None and self._phase[0] != name:
            self.phase_seconds[self._phase[0]] = self.phase_seconds.get(self._phase[0], 0.0) + now - self._phase[1]
            self.add_telemetry(
                [
                    {
                        "kind": "phase",
                        "role": "run",
                        "name": self._phase[0],
                        "waits_for": None,
                        "start": self._phase[1],
                        "end": now,
                    }
                ]
            )
        if self._phase is None or self._phase[0] != name:
            self._phase = (name, now)

    def seconds_by_phase(self, now: float) -> dict[str, float]:
        """`phase_seconds` with the phase that goes on."""
        if self._phase is None:
            return dict(self.phase_seconds)
        name, since = self._phase
        return self.phase_seconds | {name: self.phase_seconds.get(name, 0.0) + now - since}

    def new_log_folder(self) -> Path:
        """Begins the next attempt, N from 1: writes config_N.yaml, makes logs/attempt_N."""
        earlier = self.attempts()
        if (
            earlier and not (self.path / f"config_{earlier}.yaml").exists()
        ):  # config.yaml alone has what that one ran with
            self.replace(f"config_{earlier}.yaml", (self.path / "config.yaml").read_text())
        self._write_config(f"config_{earlier + 1}.yaml")
        folder = self.path / "logs" / f"attempt_{earlier + 1}"
        folder.mkdir(parents=True)
        return folder

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes result.json, atomically."""
        self.replace("result.json", json.dumps(result, indent=2) + "\n")

    def replace(self, file: str, text: str) -> None:
        """Writes a file, atomically: one that is there stays until the new one is on the disk. Raises OSError."""
        temporary = self.path / f"{file}.tmp"
        with writing(self.path / file), gone_on_failure(temporary):
            with temporary.open("w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())  # else a machine that goes down may leave an empty file under the name
            os.replace(temporary, self.path / file)

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
            if self._phase is not None:
                self.enter_phase("closed", time.time())
                self._phase = None
            if self._telemetry is not None:
                ending.callback(self._telemetry.flush)
                self._telemetry = None

    @property
    def tensorboard(self) -> TensorBoard:
        """The writer of tensorboard/, opened at first use."""
        if self._tensorboard is None:
            self._tensorboard = TensorBoard(self.path / "tensorboard")
        return self._tensorboard

    def _append(self, file: str, row: Row) -> None:
        if file not in self._repaired:
            _cut_broken_tail(self.path / file)
        self._repaired.discard(
            file
        )  # of a line that is half written when the disk is full the next one is to cut off the half
        with writing(self.path / file), (self.path / file).open("a") as lines:
            lines.write(json.dumps(row, default=_number) + "\n")
        self._repaired.add(file)


def _cut_broken_tail(path: Path) -> None:
    """Cuts off a last line without its newline, which a killed run may leave, so that the next line does not grow onto
    it.
    """
    if path.exists():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)


def _number(value: Any) -> float | int:
    """Numpy scalars as plain numbers."""
    number: float | int = value.item()
    return number
