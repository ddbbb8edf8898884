"""What all workers of a run agree on: phase, policy versions, the order of visits, who shows life."""

from __future__ import annotations

from typing import Literal, cast

from rltf.buffer.lua import Place

Phase = Literal["warm_start", "training", "imitation", "final_evaluation", "evaluation", "done"]
"""imitation: training steps without programs of the actors, which write only what evaluations ask for; evaluation:
there is no learner, and the driver asks for them."""
Role = Literal["learner", "driver", "actor"]
"""Who shows life: the learner while it runs, the driver while it waits for a worker's place in the cluster, the actors
together while they compute programs."""


class Control(Place):
    """A few shared values; every worker looks at them between two pieces of work."""

    def next_visits(self, n: int, actor: str) -> list[int]:
        """`n` visit numbers for `actor`, ascending; visit numbers order the problems over all actors.

        A visit is handed out until its group, whose id is `visit_id`, is pushed: first the actor's own that an earlier
        life of it did not push, then those that another actor released, then new ones. So no problem is skipped and
        none is visited twice when an actor dies. An actor pushes all visits of a call, or releases them
        (`OnlineBuffer.release`), before it asks again.
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

    def set_phase(self, phase: Phase) -> None:
        """Says what the run is doing; in a new phase no evaluation is awaited."""
        self._client.hset(self._keys.control, mapping={"phase": phase, "awaited": ""})

    def phase(self) -> Phase | None:
        """What the run is doing; None before the learner has begun."""
        return cast("Phase | None", self._text("phase"))

    def wish_stop(self) -> None:
        """Asks the driver to stop the run as a signal would; it looks once a second."""
        self._client.hset(self._keys.control, "wish:stop", 1)

    def wish_count(self, kind: str, count: int) -> None:
        """Asks the driver for so many workers of a kind, `executor` or `actor`; it looks once a second."""
        self._client.hset(self._keys.control, f"wish:{kind}", count)

    def wished_count(self, kind: str) -> int | None:
        """How many workers of a kind this attempt was asked for; None where nobody has asked."""
        value = self._text(f"wish:{kind}")
        return None if value is None else int(value)

    def stop_wished(self) -> bool:
        """Whether somebody has asked this attempt to stop."""
        return self._text("wish:stop") is not None

    def await_evaluation(self, waits: bool) -> None:
        """Says whether the learner waits for an evaluation, and for nothing else."""
        self._client.hset(self._keys.control, "awaited", "evaluation" if waits else "")

    def evaluation_awaited(self) -> bool:
        """Whether the learner takes no step before an evaluation is there."""
        return bool(self._text("awaited"))

    def heartbeat(self, role: Role) -> None:
        """Says that `role` goes on, or waits for somebody with a bound of its own: those who wait for it may
        wait on.
        """
        self._client.hincrby(self._keys.control, f"life:{role}", 1)

    def heartbeats(self, *roles: Role) -> tuple[int, ...]:
        """How often each of `roles` has shown life; numbers that stay the same for long mean that none of
        them goes on.
        """
        return tuple(
            int(value or 0) for value in self._client.hmget(self._keys.control, [f"life:{role}" for role in roles])
        )

    def resume(self) -> None:
        """Forgets the phase of an earlier attempt, and what was wished of it; a part of `Flow.resume`."""
        self._client.hdel(self._keys.control, "phase", "awaited", "wish:stop", "wish:executor", "wish:actor")

    def _text(self, name: str) -> str | None:
        value = self._client.hget(self._keys.control, name)
        return None if value is None else bytes(value).decode()
