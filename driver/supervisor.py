"""Looks after the run's workers: asks how they are, starts dead ones again, ends the run when one cannot be kept alive.

Never waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import ray
from ray.exceptions import RayError

from rltf.buffer.worker_loop import STOP_TIMEOUT_S, Health, NotSchedulable
from rltf.config import RestartConfig
from rltf.driver import RunFailed
from rltf.driver.autoscaler import autoscaler_words
from rltf.driver.nodes import Death, Resources, actor_host, cause_of_death, format_resources, missing_host, shortage
from rltf.monitor.absence import Absence
from rltf.telemetry.vocabulary import kind_of

FOR_PLACE = ("waiting for a", "waiting for room")
"""How it is said that a worker waits for a host, or for room on one."""
MAX_DELAY_S = 30.0
"""Longest pause before a restart."""


class BackOff:
    """Counts the deaths of one part. A part that lived for `restart.forget_s` begins anew."""

    def __init__(self, name: str, settings: RestartConfig) -> None:
        """`name`: the part in words, for the sentence that ends the run."""
        self._name = name
        self._settings = settings
        self._deaths = 0
        self._died_at = float("-inf")

    def next_delay(self, reason: str, now: float) -> float:
        """Seconds to wait before the next start. Raises RunFailed when it has died too often."""
        if now - self._died_at > self._settings.forget_s:
            self._deaths = 0
        self._deaths += 1
        self._died_at = now
        limit = self._settings.limit
        if self._deaths > limit:
            often = (
                f"{self._deaths} times, each within {self._settings.forget_s:g} s of the last"
                if limit
                else "and restart.limit is 0"
            )
            raise RunFailed(f"{self._name} died {often}: {reason}")
        return min(MAX_DELAY_S, self._settings.pause_s * 2.0 ** (self._deaths - 1))


HEALTH_CHECK_INTERVAL_S = 1.0
"""Between two questions to a worker."""
START_TIMEOUT_S = 300.0
"""Longest wait for a worker's process on nodes that run already."""

OnDeath = Callable[[str], dict[str, Any]]
"""From the reason of a death to what is to be told of the restart beside it."""
OnRestart = Callable[[str, str, dict[str, Any]], None]
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


@dataclass
class Unit:
    """Workers that live and die together: one actor, one executor, all ranks of the learner."""

    name: str
    start: Callable[[], Started]
    """Starts all of them and returns at once."""
    on_death: OnDeath
    """Called with the reason when it has died, before it is started again; raises RunFailed where it must not be."""
    back_off: BackOff
    resources: Callable[[], Resources]
    """What each member asks the cluster for; raises NotSchedulable where that is not known yet."""
    spare: bool
    """Whether the run goes on without it while others of its kind run."""
    members: dict[str, Member] = field(default_factory=dict)
    state: Literal["waiting", "starting", "running"] = "waiting"
    since: float = 0.0
    """When it came into its state, on the monotonic clock; while it waits, when it is due."""
    down_since: float = 0.0
    """When it was to start first, or died first since it ran."""
    absent_since: float = field(default_factory=time.time)
    """The same, in seconds since the epoch."""
    awaits: str = ""
    """What its start waits for, where it could not be started yet."""
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

    def __init__(
        self, settings: RestartConfig, on_restart: OnRestart, start_timeout_s: float = START_TIMEOUT_S
    ) -> None:
        """`on_restart`: called when a unit that died runs again; `start_timeout_s`: longest wait for a process."""
        self._settings = settings
        self._on_restart = on_restart
        self.start_timeout_s = start_timeout_s
        self.notes: list[str] = []
        """Sentences for whoever watches the run, who takes them out."""
        self.deaths: list[tuple[str, str]] = []
        """Units that died, with the reason, for whoever watches the run, who takes them out."""
        self._dead_units: dict[str, tuple[Death, dict[str, Any]]] = {}
        """Of each unit that died and does not run again yet: why it died first, and what is to be told of the restart
        beside it."""
        self.units: dict[str, Unit] = {}
        self._leaving: list[tuple[Unit, list[Any], float]] = []
        """Units that were taken leave of, the answers to that, and when they are ended without one."""

    def add(
        self,
        name: str,
        start: Callable[[], Started],
        on_death: OnDeath,
        resources: Callable[[], Resources],
        spare: bool = False,
    ) -> None:
        """Takes charge of a unit, which starts with the next `poll`. `resources` and `spare`: see Unit."""
        now = time.monotonic()
        self.units[name] = Unit(
            name, start, on_death, BackOff(name, self._settings), resources, spare, since=now, down_since=now
        )

    def retire(self, name: str) -> None:
        """Takes leave of a unit: its loop ends after what it is at, for at most STOP_TIMEOUT_S, then its process."""
        unit = self.units.pop(name)
        self._dead_units.pop(name, None)
        stopped = [member.handle.stop.remote(STOP_TIMEOUT_S) for member in unit.members.values()]
        self._leaving.append((unit, stopped, time.monotonic() + 2 * STOP_TIMEOUT_S))

    def _see_off(self, now: float) -> None:
        """Ends those that were taken leave of and are done, or were waited for long enough."""
        for leaving in list(self._leaving):
            unit, stopped, deadline = leaving
            if now > deadline or all(map(_is_ready, stopped)):
                self._leaving.remove(leaving)
                unit.kill()
                unit.on_death("it was not needed any more")  # what it may still have goes to the others

    def poll(self) -> None:
        """Looks at every unit. Raises RunFailed with the unit that cannot go on and the reason."""
        now = time.monotonic()
        self._see_off(now)
        for unit in self.units.values():
            if unit.state == "waiting" and now >= unit.since:
                self._begin(unit, now)
            if unit.state == "waiting":
                if unit.awaits and now - unit.down_since > self.start_timeout_s:
                    self._late(unit)
            elif (death := self._look(unit, now)) is not None:
                self._handle_death(unit, death, now)

    @property
    def running(self) -> bool:
        """Whether every unit runs."""
        return all(unit.state == "running" for unit in self.units.values())

    @property
    def starting(self) -> bool:
        """Whether a unit waits for its processes, or for a host for them, and not yet for longer than that may take."""
        return any((unit.state == "starting" or unit.awaits) and not unit.late for unit in self.units.values())

    def absent(self) -> dict[str, Absence]:
        """Units that do not run, by name; one that waits for a host or for room has the autoscaler's words too."""
        found: dict[str, Absence] = {}
        autoscaler: str | None = None
        for unit in self.units.values():
            if unit.state == "running":
                continue
            waits = _awaited(unit)
            if waits.startswith(FOR_PLACE):
                autoscaler = autoscaler_words() if autoscaler is None else autoscaler
                waits += f"; {autoscaler}" if autoscaler else ""
            died = self._dead_units[unit.name][0].cause if unit.name in self._dead_units else ""
            found[unit.name] = Absence(waits, unit.absent_since, died)
        return found

    def handles(self) -> dict[str, Any]:
        """Handles of all workers that were started, by name."""
        return {name: member.handle for unit in self.units.values() for name, member in unit.members.items()}

    def kill(self) -> None:
        """Ends every process. Safe to call twice."""
        for unit in (*self.units.values(), *(unit for unit, _, _ in self._leaving)):
            unit.kill()

    def _begin(self, unit: Unit, now: float) -> None:
        try:
            started = unit.start()
        except NotSchedulable as error:
            unit.since, unit.awaits = now + self._settings.pause_s, str(error)
            return
        except ValueError as error:
            if "already taken" not in str(error):
                raise
            unit.since, unit.awaits = now + self._settings.pause_s, "waiting for Ray to forget the dead one's name"
            return
        unit.awaits = ""
        unit.members = {name: Member(handle, starting) for name, (handle, starting) in started.items()}
        unit.state, unit.since = "starting", now

    def _look(self, unit: Unit, now: float) -> Death | None:
        """Takes in what its members have answered and asks them again; why it counts as dead, or nothing."""
        for name, member in unit.members.items():
            try:
                if cause := self._look_at(name, member, now):
                    return Death(f"{name}: {cause}", cause, never_ran=False)
            except RayError as error:
                return cause_of_death(name, member.handle, member.starting is None, error)
        if unit.state == "starting":
            if all(member.starting is None for member in unit.members.values()):
                unit.state, unit.since, unit.late = "running", now, False
                if unit.name in self._dead_units:
                    unit.restarts += 1
                    death, facts = self._dead_units.pop(unit.name)
                    self._on_restart(unit.name, death.reason, facts)
            elif now - unit.since > self.start_timeout_s:
                self._late(unit)
        return None

    def _late(self, unit: Unit) -> None:
        """It does not start: told once if others of its kind run. Raises RunFailed if none does."""
        kind = kind_of(unit.name)
        others = any(kind_of(other.name) == kind and other.state == "running" for other in self.units.values())
        if unit.late and others:
            return
        name = next((name for name, member in unit.members.items() if member.starting is not None), unit.name)
        autoscaler = autoscaler_words()
        sentence = f"{name} did not start within {self.start_timeout_s:g} s: {_why_not(unit)}"
        sentence += f"; {autoscaler}" if autoscaler else ""
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
        if member.question is None and now - member.asked_at >= HEALTH_CHECK_INTERVAL_S:
            member.question, member.asked_at = member.handle.health.remote(), now
        elif member.question is not None and _is_ready(member.question):
            health: Health = ray.get(member.question)
            member.question = None
            if health["final"]:
                raise RunFailed(f"{name}: {health['failure']}")
            return health["failure"]
        elif member.question is not None and now - member.asked_at > self._settings.answer_s:
            return f"it has not answered for {self._settings.answer_s:g} s"
        return ""

    def _handle_death(self, unit: Unit, death: Death, now: float) -> None:
        unit.kill()
        if unit.state == "running":
            unit.down_since, unit.absent_since = now, time.time()
        # Until Ray knows that a node is dead it goes on placing workers there: such a try says nothing about the
        # worker.
        lost = death.never_ran and now - unit.down_since <= self.start_timeout_s
        if unit.name not in self._dead_units:
            self.deaths.append((unit.name, death.reason))
        pause_s = self._settings.pause_s if lost else unit.back_off.next_delay(death.reason, now)
        facts = unit.on_death(death.reason)
        self._dead_units.setdefault(unit.name, (death, facts))
        unit.state, unit.since = "waiting", now + pause_s


def _awaited(unit: Unit) -> str:
    """What a unit that does not run waits for, in words."""
    if unit.state == "waiting":
        return _held_up(unit) if unit.awaits else "waiting for its next start"
    member = next((member for member in unit.members.values() if member.starting is not None), None)
    if member is not None and (host := actor_host(member.handle)):
        return f"starting on {host}"
    return missing_host(unit.resources()) or "waiting for room"


def _held_up(unit: Unit) -> str:
    """What the start of a unit that could not be started waits for: a host before anything else."""
    with suppress(NotSchedulable):
        return missing_host(unit.resources()) or unit.awaits
    return unit.awaits


def _why_not(unit: Unit) -> str:
    """Why a unit has not started, in full."""
    member = next((member for member in unit.members.values() if member.starting is not None), None)
    if member is None:
        return f"it is {_held_up(unit)}"
    if host := actor_host(member.handle):
        return f"it has its place on {host}, and its process there does not come up"
    asked = unit.resources()
    return f"it asks for {format_resources(asked)}, and {shortage(asked)}"


def _is_ready(reference: Any) -> bool:
    ready, _ = ray.wait([reference], timeout=0)
    return bool(ready)
