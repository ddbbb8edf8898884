"""A worker that does what a file says.

On its own: a Ray worker that is to be one imports nothing else, and is there at once.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from rltf.buffer.flow import FlowAddress
from rltf.buffer.worker_loop import WorkerLoop
from rltf.config import UserError


class OrderedWorker(WorkerLoop):
    """A loop that does what the file of its name in `folder` says: fail, refuse or hang."""

    def __init__(self, name: str, address: FlowAddress, folder: Path) -> None:
        super().__init__(name, address, folder)
        self._file = folder / name

    def pid(self) -> int:
        return os.getpid()

    def health(self) -> Any:
        if (self._file.read_text() if self._file.exists() else "") == "hang":
            time.sleep(3600)
        return super().health()

    def work(self, stop: threading.Event) -> None:
        while not stop.wait(0.02):
            order = self._file.read_text() if self._file.exists() else ""
            if order == "fail":
                raise OSError("the disk is full")
            if order == "refuse":
                raise UserError("the model does not fit")
