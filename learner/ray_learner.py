"""Ray's view of the learner: N actors, `learner-0` to `learner-N-1`, that meet without an external launcher."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from buffer.flow import Flow, FlowAddress
from config import LearnerConfig, UserError
from learner.worker import LearnerTask, LearnerWorker
from learner.world import World, free_address
from monitor.metrics import Recorder, log_to
from policy.ray_weight_store import StorePublisher

ROLE = "learner"
PUBLISH_TIMEOUT_S = 300.0
"""Longest hand-over of one version to the weight store."""


class LearnerActor:
    """One rank; its loop runs in a thread, so that the actor always answers."""

    def __init__(self, rank: int, task: LearnerTask, address: FlowAddress, store: Any, logs: Path) -> None:
        log_to(logs, f"{ROLE}-{rank}")
        self.name = f"{ROLE}-{rank}"
        self._rank = rank
        self._task = task
        self._address = address
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._done = False

    def meeting_place(self) -> tuple[str, int]:
        """Where the ranks meet, if this is rank 0: address and free port of this machine."""
        return free_address()

    def start(self, address: str, port: int) -> None:
        """Begins the loop; returns at once."""
        config = self._task.config.learner
        world = World(self._rank, config.workers, address, port, "cuda" if config.gpus_per_worker else "cpu")
        self._thread = threading.Thread(target=self._run, args=(world,), name=self.name, daemon=True)
        self._thread.start()

    def health(self) -> dict[str, Any]:
        """{"role", "state": starting | running | done | failed, "failure": a sentence or empty}."""
        running = self._thread is not None and self._thread.is_alive()
        state = "failed" if self._failure else "done" if self._done else "running" if running else "starting"
        return {"role": self.name, "state": state, "failure": self._failure}

    def stop(self) -> None:
        """Asks the loop to end after its step; returns at once."""
        self._stop.set()

    def _run(self, world: World) -> None:
        flow: Flow | None = None
        recorder: Recorder | None = None
        try:
            flow = Flow.connect(self._address)
            recorder = Recorder(self.name, flow.telemetry.append)
            LearnerWorker(self._task, world, flow, StorePublisher(self._store, PUBLISH_TIMEOUT_S), recorder).run(self._stop)
            recorder.close()
            self._done = True
        except Exception as error:  # the thread's last frame: what went wrong is told to the run, which ends with it
            sentence = str(error) if isinstance(error, UserError | FloatingPointError) else f"{type(error).__name__}: {error}"
            self._failure = sentence
            if flow is None:
                raise
            flow.control.fail(self.name, sentence)
            raise
        finally:
            if flow is not None:
                flow.close()


@dataclass(frozen=True)
class LearnerGroup:
    """The handles of all ranks."""

    actors: list[Any]
    placement: Any
    """Placement group, none for a single worker."""

    def health(self, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """Of every rank. Raises ray.exceptions.RayError when one is gone or does not answer in time."""
        return list(ray.get([actor.health.remote() for actor in self.actors], timeout=timeout_s))

    def stop(self) -> None:
        """Asks every rank to end after its step."""
        for actor in self.actors:
            actor.stop.remote()


def start_learners(task: LearnerTask, address: FlowAddress, store: Any, logs: Path, timeout_s: float = 300.0) -> LearnerGroup:
    """Starts `learner.workers` actors that together train; returns when all have begun.

    Raises UserError when the cluster cannot give what they ask for within `timeout_s`.
    """
    config = task.config.learner
    options: dict[str, Any] = {"num_cpus": config.cpus_per_worker, "num_gpus": config.gpus_per_worker, "max_restarts": 0}
    placement = None
    if config.workers > 1:
        placement = _place(config, timeout_s)
        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(placement)
    remote = ray.remote(LearnerActor)
    actors = [
        remote.options(name=f"{ROLE}-{rank}", max_concurrency=4, **options).remote(rank, task, address, store, logs)
        for rank in range(config.workers)
    ]
    try:
        where = ray.get(actors[0].meeting_place.remote(), timeout=timeout_s)
        ray.get([actor.start.remote(*where) for actor in actors], timeout=timeout_s)
    except ray.exceptions.GetTimeoutError:
        raise UserError(f"the cluster did not start {config.workers} learner workers {_needs(config)} within {timeout_s:g} s") from None
    return LearnerGroup(actors, placement)


def _place(config: LearnerConfig, timeout_s: float) -> Any:
    bundle = {"CPU": config.cpus_per_worker} | ({"GPU": config.gpus_per_worker} if config.gpus_per_worker else {})
    group = placement_group([bundle] * config.workers, strategy="PACK")
    if not group.wait(timeout_s):
        ray.util.remove_placement_group(group)
        raise UserError(f"the cluster has no room for {config.workers} learner workers {_needs(config)} (waited {timeout_s:g} s)")
    return group


def _needs(config: LearnerConfig) -> str:
    return f"of {config.cpus_per_worker:g} CPUs and {config.gpus_per_worker:g} GPUs each"
