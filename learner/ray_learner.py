"""Ray's view of the learner: N actors, `learner-0` to `learner-N-1`, that meet without an external launcher."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from buffer.flow import FlowAddress
from buffer.worker_loop import WorkerLoop, ray_options
from config import DiskFailure, LearnerConfig, UserError
from learner.direct_publisher import DirectPublisher
from learner.publish import Publisher
from learner.task import LearnerTask
from learner.waiting import Stalled
from learner.warm_start import NeverPassed
from learner.worker import LearnerWorker
from learner.world import World, free_address
from policy.ray_weight_store import StorePublisher
from policy.weight_sender import DIRECT_TIMEOUT_S, WeightSender

ROLE = "learner"
PUBLISH_TIMEOUT_S = 300.0
"""Longest wait for the weight store in handing one version over."""


class LearnerActor(WorkerLoop):
    """One rank."""

    final = (UserError, DiskFailure, Stalled, NeverPassed, FloatingPointError)

    def __init__(self, rank: int, task: LearnerTask, address: FlowAddress, store: Any, logs: Path) -> None:
        """`logs`: folder of log files."""
        super().__init__(f"{ROLE}-{rank}", address, logs)
        self._rank = rank
        self._task = task
        self._store = store
        self._world: World | None = None

    def meeting_place(self) -> tuple[str, int]:
        """Where the ranks meet, if this is rank 0: address and free port of this machine."""
        return free_address()

    def join(self, place: tuple[str, int]) -> None:
        """Begins the loop, in which the ranks wait for each other at `place`; returns at once."""
        config = self._task.config.learner
        self._world = World(self._rank, config.workers, *place, "cuda" if config.gpus_per_worker else "cpu")
        self.start()

    def work(self, stop: threading.Event) -> None:
        """Trains to the end or until it is stopped; then it leaves a checkpoint."""
        store = StorePublisher(self._store, PUBLISH_TIMEOUT_S)
        if self._rank or not self._task.config.direct_weights:
            self._train(store, stop)
            return
        device = torch.device("cuda", 0) if self._task.config.learner.gpus_per_worker else torch.device("cpu")
        sender = WeightSender(free_address()[0], device, DIRECT_TIMEOUT_S)
        with DirectPublisher(store, sender, device, 2 * PUBLISH_TIMEOUT_S) as publisher:
            self._train(publisher, stop)

    def _train(self, publisher: Publisher, stop: threading.Event) -> None:
        assert self._world is not None
        LearnerWorker(self._task, self._world, self.flow, publisher, self.recorder).run(stop)


class LearnerGroup:
    """Starts all ranks, as often as need be: they live and die together, for a collective waits for every rank."""

    def __init__(self, task: LearnerTask, address: FlowAddress, store: Any, logs: Path, timeout_s: float = 300.0) -> None:
        """Raises UserError when the cluster cannot give what `learner.workers` ask for within `timeout_s`."""
        config = task.config.learner
        self._arguments = (task, address, store, logs)
        self._options = ray_options(config.cpus_per_worker, config.gpus_per_worker, "trainer", ray.cluster_resources())
        self._workers = config.workers
        if config.workers > 1:
            self._options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(_place(config, self._options["resources"], timeout_s))

    def start(self) -> dict[str, tuple[Any, Any]]:
        """Starts every rank and returns at once: by name its handle, and a reference that is ready when its loop runs."""
        remote = ray.remote(LearnerActor)
        actors = [remote.options(name=f"{ROLE}-{rank}", **self._options).remote(rank, *self._arguments) for rank in range(self._workers)]
        place = actors[0].meeting_place.remote()
        return {f"{ROLE}-{rank}": (actor, actor.join.remote(place)) for rank, actor in enumerate(actors)}


def _place(config: LearnerConfig, apart: Mapping[str, float], timeout_s: float) -> Any:
    bundle = {"CPU": config.cpus_per_worker, **apart} | ({"GPU": config.gpus_per_worker} if config.gpus_per_worker else {})
    group = placement_group([bundle] * config.workers, strategy="PACK")
    if not group.wait(timeout_s):
        ray.util.remove_placement_group(group)
        needs = f"of {config.cpus_per_worker:g} CPUs and {config.gpus_per_worker:g} GPUs each"
        raise UserError(f"the cluster has no room for {config.workers} learner workers {needs} (waited {timeout_s:g} s)")
    return group
