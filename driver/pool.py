"""How many actors and executors an attempt has: what was asked for by hand, else what the load wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from rltf.driver.attempt import Attempt
from rltf.driver.ray_thread import CALL_TIMEOUT_S
from rltf.driver.scaling import ExecutorScaling, Seen
from rltf.driver.workers import Workers
from rltf.telemetry.vocabulary import plural


class Pool:
    """Looks once a second; what changes is an event of the run and a sentence."""

    def __init__(self, attempt: Attempt, workers: Workers, say: Callable[[str], None]) -> None:
        config = attempt.config
        self._attempt = attempt
        self._workers = workers
        self._say = say
        self._scaling = ExecutorScaling(config.executor.count, config.executor.most)
        self._counts = {"actor": config.actors.count, "executor": config.executor.count}
        self._wishes: dict[str, int | None] = {}

    def look(self) -> None:
        """Takes in wishes and load, and adds workers or lets them go. Raises RunFailed where Ray does not answer."""
        control = self._attempt.flow.control
        for kind in self._counts:
            wish = control.wished_count(kind)
            if wish is None or wish == self._wishes.get(kind):
                continue
            self._wishes[kind] = wish
            if kind == "executor":
                self._scaling.set(wish)
            self._change(kind, wish, "asked for by hand")
        if self._scaling.least < self._scaling.most:
            self._change("executor", self._scaling.update(self._seen(), time.monotonic()), "by the work queue")

    def _seen(self) -> Seen:
        state = self._attempt.state
        now = time.time()
        waits = {(wait.kind, wait.waits_for): wait.share for wait in state.waits(now)}
        queued = state.ledger.get("queued", 0)
        running = self._workers.running("executor")
        return Seen(queued, state.rates(now)["graded"], running, waits.get(("learner", "executor"), 0.0))

    def _change(self, kind: str, count: int, why: str) -> None:
        before = self._counts[kind]
        if count == before:
            return
        self._counts[kind] = count
        scale = partial(self._workers.scale, kind, count)
        left = self._attempt.calls.call("a change of the number of workers", scale, CALL_TIMEOUT_S)
        state = self._attempt.state
        state.retired = {name for name in state.retired | set(left) if name not in self._workers.supervisor.units}
        event = {"time": time.time(), "event": "scaled", "part": kind, "reason": why, "before": before, "count": count}
        self._attempt.folder.add_event(event)
        self._say(f"{count} {plural(kind, count)} in place of {before}, {why}")
