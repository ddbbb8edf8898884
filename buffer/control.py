"""What all workers of a run agree on: phase, stop, policy versions, the order of visits."""

from __future__ import annotations

from typing import Any, Literal, cast

import redis

from buffer.keys import Keys
from buffer.lua import Scripts
from buffer.numbered import NumberedMessages

Phase = Literal["warm_start", "training", "imitation", "final_evaluation", "done"]
"""imitation: training steps without programs of the actors, which write only what evaluations ask for."""


class Control:
    """A few shared values; every worker looks at them between two pieces of work."""

    def __init__(self, client: redis.Redis, scripts: Scripts, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys
        self._messages = NumberedMessages(scripts)

    def next_visits(self, n: int, actor: str) -> list[int]:
        """`n` visit numbers for `actor`, ascending; visit numbers order the problems over all actors.

        A visit is handed out until its group, whose id is `visit_id`, is pushed: first the actor's own that an earlier life of it did
        not push, then those that another actor released, then new ones. So no problem is skipped and none is visited twice when an
        actor dies. An actor pushes all visits of a call, or releases them (`OnlineBuffer.release`), before it asks again.
        """
        return [int(visit) for visit in self._messages.send("next_visits", n, actor)]

    @staticmethod
    def visit_id(visit: int) -> str:
        """The group id of a visit."""
        return f"{visit:08d}"

    def set_version(self, version: int) -> None:
        """Says that policy version `version` is published."""
        self._client.hset(self._keys.control, "version", version)

    def version(self) -> int:
        """Newest policy version that was ever published in this run; -1 before the first."""
        return int(self._text("version") or -1)

    def stop(self, reason: str) -> None:
        """Asks every worker to end; the first reason stays."""
        self._client.hsetnx(self._keys.control, "stop", reason)

    def stopping(self) -> str | None:
        """Why the run is to end; None while it goes on."""
        return self._text("stop")

    def set_phase(self, phase: Phase) -> None:
        """Says what the run is doing."""
        self._client.hset(self._keys.control, "phase", phase)

    def phase(self) -> Phase | None:
        """What the run is doing; None before the learner has begun."""
        return cast("Phase | None", self._text("phase"))

    def show_life(self, role: str) -> None:
        """Says that `role` goes on, or waits for somebody with a bound of its own: those who wait for it may wait on."""
        self._client.hincrby(self._keys.control, f"life:{role}", 1)

    def life(self, role: str) -> int:
        """How often `role` has shown life; a number that stays the same for long means that it does not go on."""
        return int(self._text(f"life:{role}") or 0)

    def resume(self) -> None:
        """Forgets phase and stop of an earlier attempt; a part of `Flow.resume`."""
        self._client.hdel(self._keys.control, "stop", "phase")

    def _text(self, name: str) -> str | None:
        value = self._client.hget(self._keys.control, name)
        return None if value is None else bytes(value).decode()
