"""Ray's view of the learner: N actors, `learner-0` to `learner-N-1`, that meet without an external launcher."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rltf.buffer.flow import FlowAddress
from rltf.buffer.stall_clock import StallTimeout
from rltf.buffer.worker_loop import NotSchedulable, WorkerLoop, named_class, ray_options, requested_resources
from rltf.config import DiskFailure, UserError
from rltf.learner.task import LearnerTask
from rltf.learner.warm_start import WarmStartFailed
from rltf.learner.worker import LearnerWorker
from rltf.learner.world import World, free_address
from rltf.weights.ray_publisher import StorePublisher

ROLE = "learner"
PUBLISH_TIMEOUT_S = 300.0
"""Longest wait for the weight store in handing one version over."""


class LearnerActor(WorkerLoop):
    """One rank."""

    final = (UserError, DiskFailure, StallTimeout, WarmStartFailed, FloatingPointError)

    def __init__(self, rank: int, task: LearnerTask, address: FlowAddress, store: Any, logs: Path) -> None:
        """`logs`: folder of log files."""
        super().__init__(f"{ROLE}-{rank}", address, logs, task.code)
        self._rank = rank
        self._task = task
        self._store = store
        self._world: World | None = None

    def rendezvous(self) -> tuple[str, int]:
        """Where the ranks meet, if this is rank 0: address and free port of this machine."""
        return free_address()

    def join(self, place: tuple[str, int]) -> None:
        """Begins the loop, in which the ranks wait for each other at `place`; returns at once."""
        config = self._task.config.learner
        self._world = World(self._rank, config.workers, *place, "cuda" if config.gpus_per_worker else "cpu")
        self.start()

    def work(self, stop: threading.Event) -> None:
        """Trains to the end or until it is stopped; then it leaves a checkpoint."""
        assert self._world is not None
        publisher = StorePublisher(self._store, PUBLISH_TIMEOUT_S)
        LearnerWorker(self._task, self._world, self.flow, publisher, self.recorder).run(stop)


class LearnerGroup:
    """Starts all ranks, as often as need be: they live and die together, for a collective waits for every rank."""

    def __init__(self, task: LearnerTask, address: FlowAddress, store: Any, logs: Path) -> None:
        """`logs`: folder of log files. The rest: see LearnerActor."""
        self._arguments = (task, address, store, logs)
        self._config = task.config.learner
        self._bundle: dict[str, float] = {}
        self._group: Any = None
        """The ranks' places, of `_bundle` each, once they were asked for."""

    def options(self, offered: Mapping[str, float]) -> dict[str, Any]:
        """What a rank is given to Ray with; `offered`: see ray_options."""
        return ray_options(self._config.cpus_per_worker, self._config.gpus_per_worker, "trainer", offered)

    def start(self, offered: Mapping[str, float]) -> dict[str, tuple[Any, Any]]:
        """Starts every rank and returns at once: by name its handle, and a reference that is ready when its loop runs.

        `offered`: see ray_options. Raises NotSchedulable while the cluster has no room for all ranks, which are to find
        their places together.
        """
        options = self.options(offered)
        if self._config.workers > 1:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                self._places(requested_resources(options))
            )
        names = [f"{ROLE}-{rank}" for rank in range(self._config.workers)]
        actors = [
            ray.remote(named_class(LearnerActor, name)).options(name=name, **options).remote(rank, *self._arguments)
            for rank, name in enumerate(names)
        ]
        place = actors[0].rendezvous.remote()
        return {name: (actor, actor.join.remote(place)) for name, actor in zip(names, actors, strict=True)}

    def _places(self, bundle: dict[str, float]) -> Any:
        """A place for each rank, which Ray finds again where a node dies. Raises NotSchedulable."""
        if bundle != self._bundle:
            if self._group is not None:
                remove_placement_group(self._group)
            self._bundle, self._group = bundle, placement_group([bundle] * self._config.workers, strategy="PACK")
        if placement_group_table(self._group)["state"] != "CREATED":
            each = ", ".join(f"{amount:g} {name}" for name, amount in bundle.items())
            raise NotSchedulable(f"waiting for room for {self._config.workers} learner workers of {each} each")
        return self._group
