"""The Ray shell of an actor: a thread that runs the worker's loop, and a few calls to look after it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch

from actors.worker import ActorWorker
from buffer.flow import Flow, FlowAddress
from config import Config
from monitor.metrics import Recorder, log_to
from policy.encoding import PromptText
from policy.policy import PolicySpec, build_policy
from policy.ray_weight_store import StoreSource


class GeneratorActor:
    """Wrapped by `generator_actor`; plain so that it can be named, given resources and tested."""

    def __init__(
        self,
        name: str,
        spec: PolicySpec,
        train: Mapping[str, PromptText],
        held_out: Mapping[str, PromptText],
        address: FlowAddress,
        store: Any,
        config: Config,
        logs: Path,
    ) -> None:
        """`train` and `held_out`: prompts by problem id; `store`: handle of the run's weight store; `logs`: folder of log files."""
        log_to(logs, name)
        settings = config.actors
        device = "cuda" if settings.gpus_per_actor > 0 else "cpu"
        if device == "cpu":
            torch.set_num_threads(settings.threads)
        self._flow = Flow.connect(address)
        self._recorder = Recorder(name, self._flow.telemetry.append)
        # Whole versions need no weights to begin with; adapters are merged into those that the learner's are put upon.
        policy = build_policy(spec, config.run.seed, settings.dtype, weights=spec.lora is not None, adapters=False)
        source = StoreSource(store, name, config.redis.timeout_s)
        self._worker = ActorWorker(name, policy, train, held_out, self._flow, source, config, self._recorder, device)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the loop; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def health(self) -> dict[str, Any]:
        """Whether the loop runs, and with which policy version. Raises RuntimeError with the reason when it has failed."""
        if self._error is not None:
            raise RuntimeError(f"{self._worker.name} failed: {type(self._error).__name__}: {self._error}") from self._error
        return {"name": self._worker.name, "running": self._thread.is_alive(), "version": self._worker.version}

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Asks the loop to end and waits for it; whether it did. A batch under way is finished first."""
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


def generator_actor(config: Config, name: str) -> Any:
    """The Ray actor class with the resources that the configuration asks for; `.remote(...)` takes GeneratorActor's arguments.

    Never retried by Ray: work that an actor did not push is not lost, visits go on with the next number.
    """
    settings = config.actors
    return ray.remote(GeneratorActor).options(
        name=name,
        num_cpus=settings.cpus_per_actor,
        num_gpus=settings.gpus_per_actor,
        max_restarts=0,
        max_concurrency=4,
    )
