"""The Ray shell of an actor: builds the policy, then runs the worker's loop."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import torch

from rltf.actors.engines import make_engine
from rltf.actors.visits import Share
from rltf.actors.worker import ActorWorker
from rltf.buffer.flow import FlowAddress
from rltf.buffer.stall_clock import StallTimeout
from rltf.buffer.worker_loop import WorkerLoop, named_class, ray_options
from rltf.config import NO_CODE, ActorsConfig, Config, UserCode, UserError
from rltf.policy.policy import PolicySpec
from rltf.problems.prompts import Prompt
from rltf.weights.folder_source import FolderSource
from rltf.weights.manifest import ManifestMismatch
from rltf.weights.protocol import WeightSource
from rltf.weights.ray_source import StoreSource

FETCH_TIMEOUT_S = 300.0
"""Longest wait for one version of the weights, which all actors may fetch from one machine at the same time."""


class GeneratorActor(WorkerLoop):
    """Wrapped by `generator_actor`; plain so that it can be named, given resources and tested."""

    final = (UserError, StallTimeout, ManifestMismatch)

    def __init__(
        self,
        name: str,
        spec: PolicySpec,
        train: Mapping[str, Prompt],
        held_out: Mapping[str, Prompt],
        address: FlowAddress,
        store: Any,
        config: Config,
        logs: Path,
        code: UserCode = NO_CODE,
        shares: Sequence[Share] = (),
    ) -> None:
        """`train` and `held_out`: prompts by problem id; `shares`: of the visits (`actors.visits`); `store`: handle of
        the run's weight store, None where weights do not change; `logs`: folder of log files; `code`: the user's files.
        """
        super().__init__(name, address, logs, code)
        settings = config.actors
        device = "cuda" if settings.gpus_per_actor > 0 else "cpu"
        if device == "cpu":
            torch.set_num_threads(settings.threads)
        with self.recorder.phase("build"):
            engine = make_engine(spec, config, device)
        source: WeightSource = FolderSource(spec, config.run.seed, settings.dtype)
        if store is not None:
            source = StoreSource(store, FETCH_TIMEOUT_S)
        self._worker = ActorWorker(name, engine, train, held_out, self.flow, source, config, self.recorder, shares)

    def work(self, stop: threading.Event) -> None:
        """Writes programs until it is stopped."""
        self._worker.run(stop)

    def version(self) -> int:
        """Policy version in use, -1 before the first."""
        return self._worker.version


def generator_options(config: ActorsConfig, offered: Mapping[str, float]) -> dict[str, Any]:
    """What an actor is given to Ray with; `offered`: see ray_options."""
    return ray_options(config.cpus_per_actor, config.gpus_per_actor, "trainer", offered)


def generator_actor(config: Config, name: str, offered: Mapping[str, float]) -> Any:
    """The Ray actor class with the resources that the configuration asks for; `.remote(...)` takes GeneratorActor's
    arguments.

    What a dead actor was to write is handed out again. `offered`: see ray_options.
    """
    return ray.remote(named_class(GeneratorActor, name)).options(name=name, **generator_options(config.actors, offered))
