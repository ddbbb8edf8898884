"""The run's Ray actors: what each is started with, and how they are stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray

from rltf.actors.ray_actor import generator_actor, generator_options
from rltf.buffer.flow import Flow
from rltf.buffer.worker_loop import STOP_TIMEOUT_S, requested_resources
from rltf.config import Config
from rltf.config.user_code import UserCode
from rltf.driver.nodes import NodeKinds
from rltf.driver.supervisor import START_TIMEOUT_S, OnRestart, Started, Supervisor
from rltf.executor.ray_executor import executor_actor, executor_options
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.ray_learner import LearnerGroup
from rltf.learner.task import LearnerTask
from rltf.policy.policy import PolicySpec
from rltf.problems import Problem, ProblemSet, prompt_of
from rltf.telemetry.vocabulary import kind_of
from rltf.weights.ray_store import start_store

STOP_LEARNER_S = 120.0
"""Longest wait for the learner to finish its step and write its checkpoint."""
MARGIN_S = 5.0
"""On top of what a loop may take to end."""
_POLL_INTERVAL_S = 0.25


class Workers:
    """All workers of a run, in the charge of a supervisor."""

    def __init__(
        self,
        config: Config,
        spec: PolicySpec,
        train: ProblemSet,
        held_out: Sequence[Problem],
        flow: Flow,
        code: UserCode,
        logs: Path,
        on_restart: OnRestart,
        start_timeout_s: float,
        kinds: NodeKinds,
        task: LearnerTask | None = None,
    ) -> None:
        """Starts everything and returns at once.

        `code`: the user's files; `logs`: folder with one log file per process; `on_restart`, `start_timeout_s`: see
        Supervisor; `task`: the learner's, None where nothing is learned and the actors load the model of `spec`.

        Raises WeightStoreError when the weight store does not start.
        """
        self._flow = flow
        self.supervisor = Supervisor(config.restart, on_restart, start_timeout_s)
        self._store = start_store(START_TIMEOUT_S, logs) if task is not None else None
        address = flow.address
        prompts = ray.put({problem.id: prompt_of(problem) for problem in train})
        held_out_prompts = ray.put({problem.id: prompt_of(problem) for problem in held_out})

        def actor(name: str) -> Started:
            handle = generator_actor(config, name, kinds.offered()).remote(
                name, spec, prompts, held_out_prompts, address, self._store, config, logs, code, train.shares
            )
            return {name: (handle, handle.start.remote())}

        def executor(name: str) -> Started:
            handle = executor_actor(config.executor, name, kinds.offered()).remote(
                name, address, config.executor, logs, code
            )
            return {name: (handle, handle.start.remote())}

        add = self.supervisor.add
        if task is not None:
            learner = LearnerGroup(task, address, self._store, logs)
            add(
                "learner",
                lambda: learner.start(kinds.offered()),
                lambda reason: resume_step(task.folder),
                lambda: requested_resources(learner.options(kinds.offered())),
            )

        def add_actor(name: str) -> None:
            add(
                name,
                partial(actor, name),
                partial(self._on_actor_death, name),
                lambda: requested_resources(generator_options(config.actors, kinds.offered())),
                spare=True,
            )

        def add_executor(name: str) -> None:
            add(
                name,
                partial(executor, name),
                partial(self._on_executor_death, name),
                lambda: requested_resources(executor_options(config.executor, kinds.offered())),
                spare=True,
            )

        self._adds = {"actor": add_actor, "executor": add_executor}
        self.scale("actor", config.actors.count)
        self.scale("executor", config.executor.count)

    def scale(self, kind: str, count: int) -> list[str]:
        """Has `count` workers of a kind, `actor` or `executor`, `KIND-0` to `KIND-(count - 1)`; those that leave."""
        units = self.supervisor.units
        there = {name for name in units if kind_of(name) == kind}
        wanted = {f"{kind}-{index}" for index in range(count)}
        for name in sorted(wanted - there, key=_number):
            self._adds[kind](name)
        for name in there - wanted:
            self.supervisor.retire(name)
        return sorted(there - wanted)

    def running(self, kind: str) -> int:
        """Workers of a kind that run."""
        return sum(kind_of(unit.name) == kind and unit.state == "running" for unit in self.supervisor.units.values())

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Asks every loop to end, the learner to leave a checkpoint first, and waits until they have or `hurried`;
        `kill` ends the rest.
        """
        handles = self.supervisor.handles()
        learners = [
            handle.stop.remote(STOP_LEARNER_S) for name, handle in handles.items() if name.startswith("learner")
        ]
        others = [
            handle.stop.remote(STOP_TIMEOUT_S) for name, handle in handles.items() if not name.startswith("learner")
        ]
        begin = time.monotonic()
        for answers, timeout_s in ((others, STOP_TIMEOUT_S), (learners, STOP_LEARNER_S)):
            deadline = begin + timeout_s + MARGIN_S
            while answers and not hurried() and time.monotonic() < deadline:
                _, answers = ray.wait(answers, num_returns=len(answers), timeout=_POLL_INTERVAL_S)

    def kill(self) -> None:
        """Ends every process. Safe to call twice."""
        self.supervisor.kill()
        if self._store is not None:
            ray.kill(self._store)

    def _on_actor_death(self, name: str, reason: str) -> dict[str, Any]:
        self._flow.online.release(name)  # what it was to write goes to whoever asks first
        return {}

    def _on_executor_death(self, name: str, reason: str) -> dict[str, Any]:
        # What it held goes back to the queue at once rather than when its lease ends.
        return {
            "given_back": sum(work.requeue_consumer(name) for work in (self._flow.evaluation_work, self._flow.work))
        }


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def resume_step(run: Path) -> dict[str, int]:
    """The `step` of the newest checkpoint in a run's folder, by which rank 0 begins; empty without one: it begins anew.

    Looks at sizes alone, for the driver answers others meanwhile; rank 0 reads every byte, and its log says what it
    passes over.
    """
    steps = Checkpoints.of_run(run).steps()
    return {"step": steps[-1]} if steps else {}
