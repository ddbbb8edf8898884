"""The Ray shell of an executor: runs the worker's loop."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

from rltf.buffer.flow import FlowAddress
from rltf.buffer.worker_loop import WorkerLoop, named_class, ray_options
from rltf.config import NO_CODE, ExecutorConfig, UserCode
from rltf.executor.worker import ExecutorWorker


class ExecutorActor(WorkerLoop):
    """Wrapped by `executor_actor`; plain so that it can be named, given resources and tested."""

    def __init__(
        self, name: str, address: FlowAddress, config: ExecutorConfig, logs: Path, code: UserCode = NO_CODE
    ) -> None:
        """`name` as in the Ray dashboard: executor-0, executor-1, ..; `logs`: folder of log files; `code`: the user's
        files.
        """
        super().__init__(name, address, logs, code)
        self._worker = ExecutorWorker(name, self.flow, config, self.recorder)

    def work(self, stop: threading.Event) -> None:
        """Grades programs until it is stopped; the one under way is finished first, the rest given back."""
        self._worker.run(stop)

    def layers(self) -> dict[str, str]:
        """What isolates its programs: isolation layer -> "on", or "off: reason"; empty before the loop runs."""
        return self._worker.layers


def executor_options(config: ExecutorConfig, offered: Mapping[str, float]) -> dict[str, Any]:
    """What an executor is given to Ray with; `offered`: see ray_options."""
    return ray_options(config.cpus_per_executor, 0.0, "executor", offered)


def executor_actor(config: ExecutorConfig, name: str, offered: Mapping[str, float]) -> Any:
    """The Ray actor class with the resources that the configuration asks for; `.remote(...)` takes ExecutorActor's
    arguments.

    What a dead executor held goes back to the queue. `offered`: see ray_options.
    """
    return ray.remote(named_class(ExecutorActor, name)).options(name=name, **executor_options(config, offered))
