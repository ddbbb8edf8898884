"""TensorBoard event files, written without torch or TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class TensorBoard:
    """Writes scalars and texts to an event file in `folder`; TensorBoard reads them while the run goes on."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder), flush_secs=5)

    def scalars(self, values: Mapping[str, Any], step: int, time: float) -> None:
        """One point of each finite number in `values` at `step`; nested mappings become tags with a slash, the rest is left out."""
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in flat_numbers(values).items()]
        if points:
            self._writer.add_event(Event(wall_time=time, step=step, summary=Summary(value=points)))

    def text(self, tag: str, text: str, step: int, time: float) -> None:
        """A text in Markdown."""
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
        value = Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
        self._writer.add_event(Event(wall_time=time, step=step, summary=Summary(value=[value])))

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
