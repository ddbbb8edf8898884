"""TensorBoard event files, written without torch or TensorFlow, and without a thread: a disk that is full is told to
who writes.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from rltf.config import writing

_FLUSH_S = 5.0
"""Longest time that a point is held while others come."""


class TensorBoard:
    """Writes scalars to an event file in `folder`; TensorBoard reads them while the run goes on."""

    def __init__(self, folder: Path) -> None:
        """Begins a file of its own. Raises OSError, as all of it does, when the disk is full or gone."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        with writing(self._path):
            self._writer = RecordWriter(self._path.open("wb"))
        self._flushed_at = time.monotonic()
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def scalars(self, values: Mapping[str, float], step: int, moment: float) -> None:
        """One point of each number at `step`, by tag."""
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        if points:
            self._add(Event(wall_time=moment, step=step, summary=Summary(value=points)))
        if time.monotonic() - self._flushed_at > _FLUSH_S:
            self.flush()

    def _add(self, event: Event) -> None:
        with writing(self._path):
            self._writer.write(event.SerializeToString())

    def flush(self) -> None:
        """Writes what is held to the file."""
        self._flushed_at = time.monotonic()
        with writing(self._path):
            self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        with writing(self._path):
            self._writer.close()
