"""What the folder of a run says, read so that damage in it costs what is damaged and nothing else."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from msgspec import Struct

from rltf import config as configuration
from rltf.config import Config, UserError, first_line, run_files
from rltf.config.help import keys
from rltf.config.reading import read_yaml
from rltf.monitor.absence import Absence
from rltf.monitor.jsonl_parts import deleted_parts, read_parts
from rltf.monitor.rows import EventRow, HeldOutRow, ProgressFile, Result, StepRow, TelemetryRow, read_object, readable
from rltf.monitor.sample_columns import RecordedSample
from rltf.monitor.samples import MissingSamples, dropped_samples, read_samples
from rltf.telemetry.recorder import Row

CONFIG_END = "...\n"
"""The last line of a configuration that was written whole: YAML's mark of a document's end."""
_FIRST = run_files.config_of(1)


class RunRecord:
    """A run as its files tell it (`config/run_files.py`). What cannot be read is left out, and told by `damage`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._damage: dict[str, str] = {}

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The run in a folder. Raises UserError when it is none."""
        path = Path(path).expanduser()
        if not (path / run_files.CONFIG).is_file():
            raise UserError(f"{path} is no run folder: it has no {run_files.CONFIG}")
        return cls(path)

    @property
    def key(self) -> str:
        """A name that no other run has, wherever it is kept: for the run's data in Redis, and to recognise the folder
        by.
        """
        file = self.path / run_files.KEY
        return file.read_text().strip() if file.is_file() else self.name

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    def damage(self) -> list[str]:
        """A sentence for each file of which something could not be read so far."""
        return list(self._damage.values())

    def look_through(self) -> list[str]:
        """`damage` of all that a run that goes on reads again."""
        self.steps(), self.held_out(), self.events(), self.result()
        return self.damage()

    def attempts(self) -> int:
        """Attempts so far: the first one and each resumption."""
        return max(numbers(self.path / run_files.LOGS, "attempt_*") + numbers(self.path, "config_*.yaml"), default=0)

    def config(self) -> dict[str, Any]:
        """The resolved configuration as nested dictionaries. Raises UserError when it cannot be read."""
        return self._yaml(run_files.CONFIG)

    def settings(self, file: str = run_files.CONFIG) -> Config:
        """The configuration as such. A field that was added to this version since the run began has its default.

        Raises UserError when the file cannot be read, does not fit, or lacks a field that the run's first attempt had:
        it was cut off.
        """
        found, first = self._yaml(file), self.first_config()
        if file != _FIRST and first:
            expected = _keys(first)
        else:
            expected = set() if (self.path / file).read_text(encoding="utf-8").endswith(CONFIG_END) else set(keys())
        missing = [key for key in keys() if key in expected - _keys(found)]
        if missing:
            more = f" and {len(missing) - 1} more fields" if missing[1:] else ""
            copy = (
                f"{self.path / _FIRST} has what the run began with"
                if first and file != _FIRST
                else "bring the file back from a copy"
            )
            raise UserError(
                f"{self.path / file} has no {missing[0]}{more}, which a run's configuration always has: {copy}"
            )
        return configuration.load(self.path / file)

    def first_config(self) -> dict[str, Any]:
        """The configuration that the run began with, as nested dictionaries; empty where it is not kept.

        Raises UserError as `config`.
        """
        return self._yaml(_FIRST) if (self.path / _FIRST).exists() else {}

    def settings_at(self, moment: float) -> Config:
        """The configuration of the attempt that went on at `moment`, in seconds since the epoch.

        Raises UserError as `settings`.
        """
        return self.settings(self._config_file_at(moment))

    def _config_file_at(self, moment: float) -> str:
        attempts = [int(row["attempt"]) for row in self.events() if "attempt" in row and row["time"] <= moment]
        later = [number for number in numbers(self.path, "config_*.yaml") if number >= max(attempts, default=1)]
        return run_files.config_of(min(later)) if later else run_files.CONFIG

    def steps(self) -> list[Row]:
        """Rows of metrics.jsonl; of a step that a resumed run did again the later row."""
        return _newest(self._read(run_files.METRICS, StepRow), "step")

    def newest_step(self) -> Row:
        """The row of metrics.jsonl that was written last, of a lower step than others where the learner went back;
        empty before any.
        """
        return (self._read(run_files.METRICS, StepRow) or [{}])[-1]

    def held_out(self, name: str = "") -> list[Row]:
        """Rows of held_out.jsonl by step, of the main held-out set or of the one of that name; of a step that was
        evaluated again the later row.
        """
        return self.evaluations().get(name, [])

    def evaluations(self) -> dict[str, list[Row]]:
        """`held_out` of each set by name, the main one's first."""
        found: dict[str, list[Row]] = {"": []}
        for row in self._read(run_files.HELD_OUT, HeldOutRow):
            found.setdefault(row.get("set", ""), []).append(row)
        return {name: sorted(_newest(rows, "step"), key=lambda row: int(row["step"])) for name, rows in found.items()}

    def events(self) -> list[Row]:
        """Rows of events.jsonl."""
        return self._read(run_files.EVENTS, EventRow)

    def restarts(self) -> dict[str, int]:
        """How often each part that died was started again."""
        return dict(Counter(row["part"] for row in self.events() if row["event"] == "restarted"))

    def progress(self) -> dict[str, Any]:
        """progress.json; empty before the first attempt has written it. Raises UserError when it cannot be read."""
        path = self.path / run_files.PROGRESS
        try:
            return read_object(path.read_bytes(), ProgressFile)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read ({error}): delete it, and what Redis still has is read a second time"
            ) from error

    def absent(self) -> dict[str, Absence]:
        """absent.json: the workers that do not run; empty before it was written."""
        path = self.path / run_files.ABSENT
        try:
            found = json.loads(path.read_text()) if path.exists() else {}
            return {
                str(name): Absence(str(waits), float(since), str(died)) for name, (waits, since, died) in found.items()
            }
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            return {run_files.ABSENT: Absence(f"cannot be read ({first_line(error)})", time.time())}

    def samples(self) -> Iterator[RecordedSample]:
        """Every program with its fate, in the order in which the fates were known."""
        folder, lost = self.path / run_files.SAMPLES, MissingSamples()
        yield from read_samples(folder, lost)
        try:
            kept = int(self.progress().get("kept", 0))
        except UserError:
            kept = 0
        if told := lost.in_words(folder, kept):
            self._damage["samples"] = told

    @property
    def dropped_samples(self) -> int:
        """Programs that are no longer in samples/ because of `run.samples_gb`."""
        return dropped_samples(self.path / run_files.SAMPLES)

    @property
    def deleted_telemetry(self) -> bool:
        """Whether the oldest telemetry is no longer there because of `run.telemetry_gb`."""
        return deleted_parts(self.path / run_files.TELEMETRY) > 0

    def telemetry(self) -> Iterator[Row]:
        """The telemetry rows in the order they were written."""
        refused: dict[int, str] = {}
        broken: list[str] = []
        yield from readable(
            read_parts(self.path / run_files.TELEMETRY, broken.append), TelemetryRow, refused.__setitem__
        )
        self._tell_lines("telemetry/", refused)
        if broken:
            self._damage["telemetry parts"] = (
                f"{len(broken)} parts of {self.path}/telemetry cannot be read to their end: {broken[0]}"
            )

    def result(self) -> dict[str, Any]:
        """result.json, of the last attempt that wrote one; empty when none has, or it cannot be read."""
        path = self.path / run_files.RESULT
        try:
            return read_object(path.read_bytes(), Result)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self._damage[run_files.RESULT] = f"{path} cannot be read ({error}): what it says is missing here"
            return {}

    @property
    def finished(self) -> bool:
        """Whether the newest attempt took the run to its end; one that has begun since result.json was written did not
        yet.
        """
        result, attempts = self.result(), self.attempts()
        return bool(result.get("finished")) and int(result.get("attempts", attempts)) >= attempts

    def _read(self, file: str, kind: type[Struct]) -> list[Row]:
        try:
            lines = (self.path / file).read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            self._damage[file] = f"{self.path / file} cannot be read: {error.strerror or error}"
            return []
        refused: dict[int, str] = {}
        rows = list(
            readable(lines[:-1], kind, refused.__setitem__)
        )  # what follows the last newline is a line cut off by a kill
        self._tell_lines(file, refused)
        return rows

    def _tell_lines(self, file: str, refused: Mapping[int, str]) -> None:
        if refused:
            number, reason = next(iter(refused.items()))
            words = "1 line" if len(refused) == 1 else f"{len(refused):,} lines"
            self._damage[file] = (
                f"{words} of {self.path / file} cannot be read and are left out; the first is line {number}: {reason}"
            )

    def _yaml(self, file: str) -> dict[str, Any]:
        path = self.path / file
        try:
            found = read_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{path} cannot be read: {first_line(error)}; bring it back from a copy") from error
        if not found or not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
            raise UserError(f"{path} holds no configuration; bring it back from a copy")
        return found


def _keys(tree: Mapping[str, Any]) -> set[str]:
    return {f"{part}.{name}" for part, values in tree.items() for name in values}


def numbers(folder: Path, pattern: str) -> list[int]:
    """The numbers N of entries NAME_N."""
    found = (path.stem.rpartition("_")[2] for path in folder.glob(pattern))
    return [int(number) for number in found if number.isdigit()]


def _newest(rows: list[Row], key: str) -> list[Row]:
    return list({row[key]: row for row in rows}.values())
