"""The Ray shell of an executor: a thread that runs the worker's loop, and a few calls to look after it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import ray

from buffer.flow import Flow, FlowAddress
from config import ExecutorConfig
from executor.worker import ExecutorWorker
from monitor.metrics import Recorder, log_to


class ExecutorActor:
    """Wrapped by `executor_actor`; plain so that it can be named, given resources and tested."""

    def __init__(self, name: str, address: FlowAddress, config: ExecutorConfig, logs: Path) -> None:
        """`name` as in the Ray dashboard: executor-0, executor-1, ..; `logs`: folder of log files."""
        log_to(logs, name)
        self._flow = Flow.connect(address)
        self._recorder = Recorder(name, self._flow.telemetry.append)
        self._worker = ExecutorWorker(name, self._flow, config, self._recorder)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the loop; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def health(self) -> dict[str, Any]:
        """Whether the loop runs, and what isolates its programs. Raises RuntimeError with the reason when it has failed."""
        if self._error is not None:
            raise RuntimeError(f"{self._worker.name} failed: {type(self._error).__name__}: {self._error}") from self._error
        return {"name": self._worker.name, "running": self._thread.is_alive(), "layers": self._worker.layers}

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Asks the loop to end and waits for it; whether it did. The program under way is finished first, the rest given back."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        if ended:
            self._recorder.close()
            self._flow.close()
        return ended

    def _run(self) -> None:
        try:
            self._worker.run(self._stop)
        except BaseException as error:  # kept for health(), which raises it where the run's supervisor sees it
            self._error = error


def executor_actor(config: ExecutorConfig, name: str) -> Any:
    """The Ray actor class with the resources that the configuration asks for; `.remote(...)` takes ExecutorActor's arguments.

    Where nodes of the cluster offer the resource `executor` (cluster.yaml), executors run on those alone. Never restarted by Ray itself,
    which would not call `start`; what a dead one held goes to the others when its lease ends.
    """
    options: dict[str, Any] = {"name": name, "num_cpus": config.cpus_per_executor, "max_restarts": 0, "max_concurrency": 4}
    if "executor" in ray.cluster_resources():
        options["resources"] = {"executor": config.cpus_per_executor}
    return ray.remote(ExecutorActor).options(**options)
