"""Looks after the run's workers: asks how they are, starts dead ones again, ends the run when one cannot be kept alive. Never waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import ray
from ray.exceptions import RayError

from buffer.worker_loop import Health
from config import RestartConfig
from driver import RunFailed
from driver.back_off import BackOff
from monitor.vocabulary import kind_of

ASK_EVERY_S = 1.0
"""Between two questions to a worker."""
START_TIMEOUT_S = 300.0
"""Longest wait for a worker's process on nodes that run already."""

Mourn = Callable[[str], dict[str, Any]]
"""From the reason of a death to what is to be told of the restart beside it."""
Told = Callable[[str, str, dict[str, Any]], None]
"""Gets the name of a part that was started again, the reason of its death, and what else there is to say."""
Started = dict[str, tuple[Any, Any]]
"""By name the handle of a worker, and a reference that is ready when its loop runs."""


@dataclass
class Member:
    """One process of a unit."""

    handle: Any
    starting: Any
    """Ready when its loop runs; none afterwards."""
    question: Any = None
    """The question under way."""
    asked_at: float = 0.0
    state: str = "starting"


@dataclass
class Unit:
    """Workers that live and die together: one actor, one executor, all ranks of the learner."""

    name: str
    start: Callable[[], Started]
    """Starts all of them and returns at once."""
    mourn: Mourn
    """Called with the reason when it has died, before it is started again; raises RunFailed where it must not be."""
    back_off: BackOff
    asks: str
    """What each member asks the cluster for, in words."""
    spare: bool
    """Whether the run goes on without it while others of its kind run."""
    members: dict[str, Member] = field(default_factory=dict)
    state: Literal["waiting", "starting", "running"] = "waiting"
    since: float = 0.0
    """When it came into its state, on the monotonic clock; while it waits, when it is due."""
    restarts: int = 0
    late: bool = False
    """Whether it has been told that it does not start."""

    def kill(self) -> None:
        """Ends every process of it."""
        for member in self.members.values():
            ray.kill(member.handle)
        self.members = {}


class Supervisor:
    """Asks every worker once a second; each question, start and pause has a bound, and none is waited for."""

    def __init__(self, settings: RestartConfig, told: Told, start_timeout_s: float = START_TIMEOUT_S) -> None:
        """`told`: called when a unit that died runs again; `start_timeout_s`: longest wait for a worker's process."""
        self._settings = settings
        self._told = told
        self.start_timeout_s = start_timeout_s
        self.notes: list[str] = []
        """Sentences for whoever watches the run, who takes them out."""
        self._deaths: dict[str, tuple[str, dict[str, Any]]] = {}
        self.units: dict[str, Unit] = {}

    def add(self, name: str, start: Callable[[], Started], mourn: Mourn, asks: str, spare: bool = False) -> None:
        """Takes charge of a unit, which starts with the next `poll`. `asks` and `spare`: see Unit."""
        self.units[name] = Unit(name, start, mourn, BackOff(name, self._settings), asks, spare, since=time.monotonic())

    def poll(self) -> None:
        """Looks at every unit. Raises RunFailed with the unit that cannot go on and the reason."""
        now = time.monotonic()
        for unit in self.units.values():
            if unit.state == "waiting" and now >= unit.since:
                self._begin(unit, now)
            if unit.state != "waiting":
                reason = self._look(unit, now)
                if reason:
                    self._bury(unit, reason, now)

    @property
    def running(self) -> bool:
        """Whether every unit runs."""
        return all(unit.state == "running" for unit in self.units.values())

    @property
    def starting(self) -> bool:
        """Whether a unit waits for its processes, and not yet for longer than they may take."""
        return any(unit.state == "starting" and not unit.late for unit in self.units.values())

    def handles(self) -> dict[str, Any]:
        """Handles of all workers that were started, by name."""
        return {name: member.handle for unit in self.units.values() for name, member in unit.members.items()}

    def restarts(self) -> dict[str, int]:
        """How often each unit that died was started again."""
        return {unit.name: unit.restarts for unit in self.units.values() if unit.restarts}

    def kill(self) -> None:
        """Ends every process. Safe to call twice."""
        for unit in self.units.values():
            unit.kill()

    def _begin(self, unit: Unit, now: float) -> None:
        try:
            started = unit.start()
        except ValueError as error:  # Ray has not yet forgotten the name of the dead one
            if "already taken" not in str(error):
                raise
            unit.since = now + self._settings.pause_s
            return
        unit.members = {name: Member(handle, starting) for name, (handle, starting) in started.items()}
        unit.state, unit.since = "starting", now

    def _look(self, unit: Unit, now: float) -> str:
        """Takes in what its members have answered and asks them again; why it counts as dead, or nothing."""
        for name, member in unit.members.items():
            try:
                reason = self._look_at(name, member, now)
            except RayError as error:
                reason = (
                    f"{name} has died: {_last_line(error)}" if member.starting is None else f"{name} did not start: {_last_line(error)}"
                )
            if reason:
                return reason
        if unit.state == "starting":
            if all(member.starting is None for member in unit.members.values()):
                unit.state, unit.since, unit.late = "running", now, False
                if unit.name in self._deaths:
                    unit.restarts += 1
                    self._told(unit.name, *self._deaths.pop(unit.name))
            elif now - unit.since > self.start_timeout_s:
                self._late(unit)
        return ""

    def _late(self, unit: Unit) -> None:
        """It does not start: told once if others of its kind run. Raises RunFailed if none does."""
        kind = kind_of(unit.name)
        others = any(kind_of(other.name) == kind and other.state == "running" for other in self.units.values())
        if unit.late and others:
            return
        name = next(name for name, member in unit.members.items() if member.starting is not None)
        sentence = f"{name} did not start within {self.start_timeout_s:g} s: it asks for {unit.asks}, and the cluster has {_free()} free"
        if not (unit.spare and others):
            raise RunFailed(f"{sentence}; add nodes, ask for less, or look whether its node hangs")
        self.notes.append(f"{sentence}; the run goes on with the other {kind}s meanwhile")
        unit.late = True

    def _look_at(self, name: str, member: Member, now: float) -> str:
        if member.starting is not None:
            if not _is_ready(member.starting):
                return ""
            ray.get(member.starting)
            member.starting = None
        if member.question is None and now - member.asked_at >= ASK_EVERY_S:
            member.question, member.asked_at = member.handle.health.remote(), now
        elif member.question is not None and _is_ready(member.question):
            health: Health = ray.get(member.question)
            member.question, member.state = None, health["state"]
            if health["final"]:
                raise RunFailed(f"{name}: {health['failure']}")
            return f"{name}: {health['failure']}" if health["failure"] else ""
        elif member.question is not None and now - member.asked_at > self._settings.answer_s:
            return f"{name} has not answered for {self._settings.answer_s:g} s"
        return ""

    def _bury(self, unit: Unit, reason: str, now: float) -> None:
        unit.kill()
        pause_s = unit.back_off.died(reason, now)
        self._deaths[unit.name] = reason, unit.mourn(reason)
        unit.state, unit.since = "waiting", now + pause_s


def _free() -> str:
    """What no worker has taken of the cluster's nodes that are up, in words."""
    free = ray.available_resources()
    return ", ".join(f"{free[name]:g} {name}" for name in ("CPU", "GPU", "executor", "trainer") if free.get(name)) or "nothing"


def _is_ready(reference: Any) -> bool:
    ready, _ = ray.wait([reference], timeout=0)
    return bool(ready)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()
