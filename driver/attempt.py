"""One attempt of a run: what it works with, wired together."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.ray_metrics import RaySink
from rltf.config import Config, run_files
from rltf.driver import resume_checks
from rltf.driver.extras import code_version
from rltf.driver.held_out_tracker import HeldOutTracker
from rltf.driver.inputs import Inputs
from rltf.driver.ray_cluster import node_address
from rltf.driver.ray_thread import CALL_TIMEOUT_S, RayThread
from rltf.driver.redis_supervisor import RedisSupervisor
from rltf.evaluation.summary import Example
from rltf.evaluation.tasks import HeldOutTasks
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.task import HeldOutSet, LearnerTask
from rltf.monitor.clipping import ClipWatch, clip_watch
from rltf.monitor.report_fates import host_in_words
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.monitor.watcher import Watcher
from rltf.telemetry.console import warn
from rltf.telemetry.recorder import Row


class Tracker(Protocol):
    """What looks after the evaluations of an attempt while it is watched."""

    @property
    def pending(self) -> bool:
        """Whether an evaluation has been asked for and is not complete."""

    def progress(self) -> tuple[int, int] | None:
        """Programs of the evaluations under way: finished, asked for; None while there is none."""

    def read(self, step_rows: Sequence[Row]) -> list[str]:
        """Takes in what has become complete, `step_rows` being new; sentences to be shown."""

    def close(self) -> None:
        """The workers have ended: sends to the archive what nobody needs in the buffer any more."""

    def result(self) -> dict[str, Any]:
        """`held_out` of result.json."""

    def curve(self) -> list[list[float]]:
        """`curve` of result.json."""

    def examples(self) -> list[Example]:
        """Problems with programs of before and after."""


class Notices:
    """Of one attempt; `restarted` is called by other threads too."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._restarts: list[str] = []

    def died(self, name: str, reason: str) -> None:
        """A part has died."""
        self._folder.add_event({"time": time.time(), "event": "died", "part": name, "reason": reason})
        warn(f"{name} is dead: {reason}")

    def host(self, event: Row) -> None:
        """A host has joined the cluster or left it (`driver.hosts.HostWatch`)."""
        self._folder.add_event(event)
        warn(host_in_words(event))

    def restarted(self, name: str, reason: str, facts: dict[str, Any]) -> None:
        """A part that died for `reason` runs again; `facts` go into the event. It is told by `tell_restarts`."""
        self._folder.add_event({"time": time.time(), "event": "restarted", "part": name, "reason": reason} | facts)
        more = f" after step {facts['step']}" if "step" in facts else ""
        self._restarts.append(f"{name} died and goes on{more}: {reason}")

    def tell_restarts(self) -> bool:
        """Tells of the restarts since the last call; whether there were any."""
        told = bool(self._restarts)
        while self._restarts:
            warn(self._restarts.pop(0))
        return told


@dataclass(frozen=True)
class Attempt:
    """What starts, watches and reports an attempt reads here; its parts are the ones that change."""

    config: Config
    inputs: Inputs
    folder: RunFolder
    console: Console
    calls: RayThread
    """Through which Ray is asked."""
    saved: Checkpoint | None
    """The checkpoint that it goes on from."""
    goes_on: bool
    """Whether an attempt was before it."""
    notices: Notices
    redis: RedisSupervisor | None
    """The run's own server; None where `redis.url` names one."""
    flow: Flow
    logs: Path
    """Folder with one log file per process."""
    state: RunState
    sink: RaySink
    watcher: Watcher
    held_out: Tracker
    learns: bool
    """Whether it has a learner; one without evaluates a model that does not change."""
    clip: ClipWatch
    code_version: str

    @property
    def steps_before(self) -> int:
        """Learner steps that were taken before it and are not lost."""
        return self.saved.step if self.goes_on and self.saved else 0

    def begin(self) -> None:
        """Writes down that it begins; what the one before left half done is put right, and the problems are stored."""
        row: dict[str, Any] = {"time": time.time(), "event": "started", "attempt": self.folder.attempts()}
        row["run"] = self.folder.key
        if self.inputs.code.files:
            row["code"] = self.inputs.code.hash
        if self.goes_on:
            step = self.saved.step if self.saved else None
            self.watcher.read_earlier()
            row |= {"event": "resumed", "step": step, "given_back": self.flow.resume()}
            where = f"after step {step}" if self.saved else "at its beginning: it has no checkpoint"
            self.console.print(f"Attempt {row['attempt']} goes on {where}.", markup=False)
        self.folder.add_event(row)
        for part in (self.inputs.problems, self.inputs.held_out_problems):
            self.flow.problems.put_many(
                (problem.id, problem.suite.to_json(), problem.suite.content_hash) for problem in part
            )
        self.flow.marker.mark_problems_stored()

    def learner_task(self) -> LearnerTask:
        """What the learner is to do."""
        inputs = self.inputs
        return LearnerTask(
            config=self.config,
            spec=inputs.spec,
            corpus=inputs.corpus,
            training_ids=[problem.id for problem in inputs.problems],
            held_out=[self._held_out_set(tasks) for tasks in inputs.held_out],
            folder=self.folder.path.resolve(),
            code_version=self.code_version,
            prompt=inputs.prompt,
            code=inputs.code,
            key=self.folder.key,
        )

    def _held_out_set(self, tasks: HeldOutTasks) -> HeldOutSet:
        figures = tasks.to_ask(self.config.evaluation.by_name[tasks.set].ks).figures
        return HeldOutSet([problem.id for problem in tasks.asked], tasks.set, tasks.about(), figures)


def wire(
    config: Config,
    inputs: Inputs,
    folder: RunFolder,
    console: Console,
    calls: RayThread,
    stack: ExitStack,
    saved: Checkpoint | None,
    goes_on: bool,
    tracker: Callable[[Flow, RunFolder], Tracker] | None = None,
) -> Attempt:
    """Starts the run's Redis, or connects to the one that is named, and takes charge of the run there.

    `stack`: ends what is started here, after everything else; `tracker`: makes what looks after the evaluations of an
    attempt without a learner. Raises UserError where the run cannot go on.
    """
    notices = Notices(folder)
    redis = None
    if not config.redis.url:
        # Workers on other nodes of a cluster reach the server at the address by which Ray knows this node.
        address = calls.call("the address of this machine", node_address, CALL_TIMEOUT_S)
        redis = RedisSupervisor(folder.path / run_files.REDIS, address, config, notices.restarted)
        stack.callback(redis.stop)
    url, near = (config.redis.url, "") if redis is None else (redis.url, redis.socket)
    flow = stack.enter_context(closing(Flow(FlowAddress.from_config(config, url, folder.key, near, uuid.uuid4().hex))))
    logs = resume_checks.take_charge(flow, folder, saved)
    state, sink = RunState(clock=time.monotonic), RaySink(folder.path.name)
    return Attempt(
        config=config,
        inputs=inputs,
        folder=folder,
        console=console,
        calls=calls,
        saved=saved,
        goes_on=goes_on,
        notices=notices,
        redis=redis,
        flow=flow,
        logs=logs,
        state=state,
        sink=sink,
        watcher=Watcher(flow, folder, state),
        held_out=HeldOutTracker(flow, folder, state, inputs.held_out, config.evaluation)
        if tracker is None
        else tracker(flow, folder),
        learns=tracker is None,
        clip=clip_watch(config),
        code_version=code_version(),
    )
