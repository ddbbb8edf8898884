"""The data flow of one run: every place a program can be, behind one connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rltf.buffer.connection import connect, redacted
from rltf.buffer.control import Control
from rltf.buffer.evaluations import Evaluations
from rltf.buffer.keys import Keys, base_of
from rltf.buffer.ledger import Ledger
from rltf.buffer.lua import Scripts
from rltf.buffer.marker import Marker
from rltf.buffer.online_buffer import OnlineBuffer
from rltf.buffer.problem_store import ProblemStore
from rltf.buffer.records import Purpose
from rltf.buffer.telemetry_stream import TelemetryStream
from rltf.buffer.work_queue import WorkQueue
from rltf.config import BufferConfig, Config

MAX_TRIES = 3
"""Tries without a verdict after which a program is a dead letter."""


@dataclass(frozen=True)
class FlowAddress:
    """All that a process needs to take part in a run's data flow; picklable."""

    url: str = field(repr=False)
    """Redis server, password included."""
    run: str
    """Name of the run: all its keys begin with it."""
    buffer: BufferConfig
    groups_per_step: int
    """Groups drawn for one learner step."""
    groups_per_version: int
    """Groups drawn between two published policy versions."""
    group_size: int
    """Programs of one group, the greedy one included."""
    greedy_per_group: int = 0
    """Greedy programs among them, which are compared with and not trained on: no bound in samples counts them."""
    seed: int = 0
    """Seed of the order in which snapshots are drawn."""
    evaluation_programs: int = 0
    """Programs of the largest held-out evaluation of every set: the archive has room for them beside
    `buffer.archive_capacity`."""
    timeout_s: float = 10.0
    outage_s: float = 60.0
    socket: str = ""
    """Unix socket of the same server, for processes on its machine; empty: none."""
    token: str = field(default="", repr=False)
    """Of the attempt that may move the run's data (`buffer.marker`); empty: that of a reader, which is not looked
    at."""

    @property
    def run_name(self) -> str:
        """The run's name for people: that of its folder, without what makes `run` unique."""
        return self.run.rpartition("-")[0] or self.run

    @classmethod
    def from_config(cls, config: Config, url: str, run: str, socket: str = "", token: str = "") -> FlowAddress:
        """The address of the flow of a configured run on the server at `url`, which listens at `socket` too if that is
        given.
        """
        return cls(
            url=url,
            run=run,
            buffer=config.buffer,
            groups_per_step=config.learner.groups_per_step,
            # Offline no version follows before the last step.
            groups_per_version=config.learner.groups_per_step * (config.learner.publish_every or config.learner.steps),
            group_size=config.group_size,
            greedy_per_group=int(config.actors.greedy),
            seed=config.run.seed,
            evaluation_programs=config.evaluation.programs,
            timeout_s=config.redis.timeout_s,
            outage_s=config.redis.outage_s,
            socket=socket,
            token=token,
        )


class Flow:
    """Every place of one run. Cheap to make; each process makes its own, the threads of a process may share it."""

    def __init__(self, address: FlowAddress) -> None:
        """Connects; raises UserError when the server cannot be used, ServerLost when it does not answer for `outage_s`
        seconds.
        """
        self.address = address
        self.client = connect(address.url, address.timeout_s, address.outage_s, patient=True, socket=address.socket)
        train, evaluation = Keys(address.run, "train"), Keys(address.run, "evaluation")
        base = base_of(address.run)
        where = redacted(address.url)
        for_training = Scripts(self.client, base, _settings(address, "train"), where)
        for_evaluation = Scripts(self.client, base, _settings(address, "evaluation"), where)
        self.marker = Marker(self.client, for_training, train, address.token)
        self.problems = ProblemStore(self.client, train)
        self.work = WorkQueue(self.client, for_training, train, "train", address.timeout_s)
        self.evaluation_work = WorkQueue(self.client, for_evaluation, evaluation, "evaluation", address.timeout_s)
        self.online = OnlineBuffer(self.client, for_training, train)
        self.evaluations = Evaluations(self.client, for_evaluation, evaluation)
        self.ledger = Ledger(
            self.client,
            {"train": for_training, "evaluation": for_evaluation},
            {"train": train, "evaluation": evaluation},
        )
        self.telemetry = TelemetryStream(self.client, for_training, train)
        self.control = Control(self.client, for_training, train)

    def resume(self) -> int:
        """To be called by the driver of a run that goes on, before it starts the first worker; returns the programs
        given back.

        Phase and stop of the earlier attempt are forgotten. What its executors held goes back to the queue without a
        failed try, what its actors had reserved is dropped, and visits that they were handed and did not push are
        handed out again before new ones. The learner calls `online.resume` itself, with the position in its checkpoint.
        """
        given_back = self.work.requeue_all() + self.evaluation_work.requeue_all()
        self.control.resume()
        return given_back

    def delete_run(self) -> None:
        """Deletes all that the run keeps on the server: for the end of a run, once what it left has been read."""
        client: Any = self.client
        cursor = -1
        while cursor:
            cursor, keys = client.scan(max(cursor, 0), match=base_of(self.address.run) + "*", count=1000)
            if keys:
                client.unlink(*keys)

    def close(self) -> None:
        """Closes the connections of this process; what is in Redis stays."""
        self.client.close()


def _settings(address: FlowAddress, purpose: Purpose) -> dict[str, Any]:
    """What the scripts need to know of the configuration; -1 stands for no bound."""
    buffer = address.buffer
    # The scripts count programs, the configuration samples to train on.
    size, sampled = address.group_size, address.group_size - address.greedy_per_group
    capacity = buffer.capacity * size // sampled
    # More than this can never be buffered in whole groups, so waiting for more would not end.
    fill = min(-(-buffer.fill_before_start * size // sampled), capacity - size + 1)
    return {
        "purpose": purpose,
        "token": address.token,
        "capacity": capacity,
        "when_full": buffer.when_full,
        "work_capacity": buffer.work_capacity,
        "archive_capacity": buffer.archive_capacity + address.evaluation_programs,
        "lease_ms": int(1000 * buffer.lease_s),
        "max_tries": MAX_TRIES,
        "max_uses": buffer.max_uses,
        "groups_per_step": address.groups_per_step,
        "refresh_steps": buffer.refresh_steps,
        "max_staleness": -1 if buffer.max_staleness is None else buffer.max_staleness,
        "when_stale": buffer.when_stale,
        "groups_per_version": address.groups_per_version,
        "group_size": address.group_size,
        "fill": fill,
        "seed": address.seed,
    }
