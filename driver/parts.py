"""The run's Ray actors: started, asked for their health, stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from actors.ray_actor import generator_actor
from buffer.flow import FlowAddress
from config import Config
from driver import RunFailed
from executor.ray_executor import executor_actor
from learner.ray_learner import LearnerGroup, start_learners
from learner.worker import LearnerTask
from policy.policy import PolicySpec
from policy.ray_weight_store import start_store
from problems import Problem, prompt_of

START_TIMEOUT_S = 300.0
"""Longest wait for a worker's process; a cluster that has to start nodes first needs minutes."""
STOP_TIMEOUT_S = 15.0
"""Longest wait for a worker to finish what it does; after that its process is killed."""


@dataclass
class Parts:
    """Handles of all Ray actors of a run."""

    store: Any
    workers: dict[str, Any]
    """Actors and executors by role."""
    learner: LearnerGroup

    @classmethod
    def start(
        cls,
        config: Config,
        spec: PolicySpec,
        train: Sequence[Problem],
        held_out: Sequence[Problem],
        address: FlowAddress,
        task: LearnerTask,
        logs: Path,
    ) -> Parts:
        """Starts everything at once and returns when every loop runs. `logs`: folder with one log file per process.

        Raises UserError when the cluster has no room for the learner, RunFailed with the part that did not come up.
        """
        store = start_store(START_TIMEOUT_S)
        prompts = ray.put({problem.id: prompt_of(problem) for problem in train})
        held_out_prompts = ray.put({problem.id: prompt_of(problem) for problem in held_out})
        workers: dict[str, Any] = {}
        for name in (f"actor-{index}" for index in range(config.actors.count)):
            workers[name] = generator_actor(config, name).remote(name, spec, prompts, held_out_prompts, address, store, config, logs)
        for name in (f"executor-{index}" for index in range(config.executor.count)):
            workers[name] = executor_actor(config.executor, name).remote(name, address, config.executor, logs)
        starting = {name: worker.start.remote() for name, worker in workers.items()}
        learner = start_learners(task, address, store, logs, START_TIMEOUT_S)
        _await_all(starting, "start", START_TIMEOUT_S)
        return cls(store, workers, learner)

    def check(self, timeout_s: float) -> None:
        """Raises RunFailed when a worker has failed or died, or does not answer within `timeout_s`."""
        calls = {name: worker.health.remote() for name, worker in self.workers.items()}
        calls |= {f"learner-{rank}": actor.health.remote() for rank, actor in enumerate(self.learner.actors)}
        for name, health in _await_all(calls, "answer", timeout_s).items():
            if failure := health.get("failure"):
                raise RunFailed(f"{name}: {failure}")

    def stop(self) -> None:
        """Asks every loop to end, then ends every process. Safe to call twice."""
        self.learner.stop()
        endings = [worker.stop.remote(STOP_TIMEOUT_S) for worker in self.workers.values()]
        if endings:
            ray.wait(endings, num_returns=len(endings), timeout=STOP_TIMEOUT_S + 5.0)
        for handle in [*self.workers.values(), *self.learner.actors, self.store]:
            ray.kill(handle)
        self.workers = {}


def _await_all(calls: dict[str, Any], verb: str, timeout_s: float) -> dict[str, Any]:
    """The answers by role. Raises RunFailed with the first role that has none."""
    deadline = time.monotonic() + timeout_s
    answers = {}
    for name, call in calls.items():
        try:
            answers[name] = ray.get(call, timeout=max(0.1, deadline - time.monotonic()))
        except GetTimeoutError:
            raise RunFailed(f"{name} did not {verb} within {timeout_s:g} s") from None
        except RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise RunFailed(f"{name} has died or could not {verb}: {lines[-1]}") from error
    return answers
