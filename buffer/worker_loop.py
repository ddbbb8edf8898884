"""What the Ray shells of all workers have in common: a connection, a recorder, and a thread that runs the worker's
loop.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from rltf.buffer.connection import DataLost
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.ray_metrics import with_ray_metrics
from rltf.config import NO_CODE, UserCode, UserError
from rltf.telemetry.recorder import Recorder, redirect_output

STOP_TIMEOUT_S = 10.0
"""Longest wait for a loop to end after being asked to."""

NODE_RESOURCES = {"trainer": "a trainer", "executor": "an executor"}
"""Resources that nodes offer for one kind of worker, and how such a host is called."""
_MIN_CPUS = 0.001

log = logging.getLogger(__name__)


def named_class(kind: type, name: str) -> type:
    """The class of an actor under the actor's own name, by which Ray calls its process (`ps`) and lists it."""
    return type(name, (kind,), {})


class NotSchedulable(Exception):
    """A worker cannot be started yet; the message says what is waited for."""


def ray_options(cpus: float, gpus: float, nodes: str, offered: Mapping[str, float]) -> dict[str, Any]:
    """What every worker is given to Ray with; `offered`: the resources of NODE_RESOURCES that are in use.

    `nodes` is the resource that nodes with the packages of its kind offer (cluster.yaml): "executor", or "trainer" for
    what needs torch. Where it is in use, as much of it as of CPUs is asked for, so that the worker runs on such nodes
    alone; a worker that asks for no CPU asks for some of both then. A dead worker is started again by the driver, not
    by Ray, which would not call `start`.
    """
    if nodes in offered:
        cpus = max(cpus, _MIN_CPUS)
    apart = {nodes: cpus} if nodes in offered else {}
    return {"num_cpus": cpus, "num_gpus": gpus, "resources": apart, "max_restarts": 0, "max_concurrency": 4}


def requested_resources(options: Mapping[str, Any]) -> dict[str, float]:
    """The resources that a worker with such options asks for, by the names that Ray gives them."""
    amounts = {"CPU": float(options["num_cpus"]), "GPU": float(options["num_gpus"]), **options["resources"]}
    return {name: amount for name, amount in amounts.items() if amount}


class Health(TypedDict):
    """How a worker is."""

    name: str
    state: Literal["starting", "running", "done", "failed"]
    """done: its loop has ended and was meant to."""
    failure: str
    """Why it failed, a sentence; else empty."""
    final: bool
    """Whether it would fail again if it were started again."""


class WorkerLoop(ABC):
    """One worker of a run, named as in the Ray dashboard. The loop runs in a thread, so the worker always answers."""

    final: tuple[type[Exception], ...] = (UserError,)
    """Failures that another start would not mend."""

    def __init__(self, name: str, address: FlowAddress, logs: Path, code: UserCode = NO_CODE) -> None:
        """`logs`: folder of log files; `code`: the user's files. Raises what Flow raises."""
        redirect_output(logs, name)
        code.install()
        self.name = name
        self._run_name = address.run_name
        self.flow = Flow(address)
        self.recorder = Recorder(name, with_ray_metrics(self.flow.telemetry.append, address.run_name))
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __repr__(self) -> str:
        """How Ray's dashboard calls the actor, and what its log lines begin with."""
        return f"{self.name} of {self._run_name}"

    @abstractmethod
    def work(self, stop: threading.Event) -> None:
        """The worker's loop: returns when its work is done or `stop` is set."""

    def start(self) -> None:
        """Starts the loop and returns; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def health(self) -> Health:
        """How the worker is; it answers while the loop works, waits or has failed."""
        if self._error is not None:
            sentence, final = str(self._error), isinstance(self._error, (*self.final, DataLost))
            if not final:
                sentence = f"{type(self._error).__name__}: {sentence}"
            return Health(name=self.name, state="failed", failure=sentence, final=final)
        state: Literal["starting", "running", "done"] = "running" if self._thread.is_alive() else "done"
        return Health(
            name=self.name, state="starting" if self._thread.ident is None else state, failure="", final=False
        )

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Asks the loop to end and waits for it; whether it did. What it is at is finished first."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        if ended:
            self.recorder.close()
            self.flow.close()
        return ended

    def _run(self) -> None:
        try:
            self.work(self._stop)
        except Exception as error:  # kept for health(), where the run's supervisor sees it
            log.exception("%s failed", self.name)
            self._error = error
