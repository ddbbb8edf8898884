"""TensorBoard event files, written without torch or TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class TensorBoard:
    """Writes scalars to an event file in `folder`; TensorBoard reads them while the run goes on."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder), flush_secs=5)

    def scalars(self, values: Mapping[str, Any], step: int, time: float) -> None:
        """One point of each finite number in `values` at `step`; nested mappings become tags with a slash, the rest is left out."""
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in flat_numbers(values).items()]
        if points:
            self._writer.add_event(Event(wall_time=time, step=step, summary=Summary(value=points)))

    def flush(self) -> None:
        """Writes what is queued to the file."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


def flat_numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers in nested mappings, by path: {"seconds": {"train": 1}} gives {"seconds/train": 1.0}."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_numbers(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            flat[prefix + str(name)] = float(value)
    return flat
