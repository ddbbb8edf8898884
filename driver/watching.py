"""The driver's eye on an attempt: is every part alive, does anything move, what do the workers tell?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from rltf.buffer.connection import ServerError, ServerLost
from rltf.buffer.ledger import format_counts
from rltf.buffer.stall_clock import StallClock
from rltf.config import run_files
from rltf.driver import RunFailed, resume_checks
from rltf.driver.attempt import Attempt
from rltf.driver.hosts import HostWatch
from rltf.driver.pool import Pool
from rltf.driver.ray_thread import CALL_TIMEOUT_S
from rltf.driver.stopping import stopping
from rltf.driver.workers import Workers
from rltf.monitor.absence import Absence
from rltf.monitor.status_line import StatusLine
from rltf.monitor.watcher import CONFIRMING_CHECKS
from rltf.telemetry.console import warn
from rltf.telemetry.recorder import Row
from rltf.telemetry.vocabulary import without_better

_POLL_INTERVAL_S = 0.25
_HOSTS_CHECK_INTERVAL_S = 2.0
_WISHES_CHECK_INTERVAL_S = 1.0
_ABSENT_CHECK_INTERVAL_S = 1.0
"""Between two looks at workers that do not run, for which Ray's head is asked."""


class Watch:
    """Looks a few times a second, until the learner is done."""

    def __init__(self, attempt: Attempt, workers: Workers, line: StatusLine) -> None:
        self._attempt = attempt
        self._supervisor = workers.supervisor
        self._pool = Pool(attempt, workers, line.note)
        self._line = line
        self._stall = StallClock(attempt.config.run.stall_timeout_s)
        self._told_end = False
        """Whether it was told that training has ended early."""
        self._looked_at = float("-inf")
        """When it was last looked at who does not run."""
        self._hosts = HostWatch()
        self._looked_at_hosts = float("-inf")
        self._looked_for_wishes = float("-inf")

    def until_done(self) -> None:
        """Raises RunFailed when a part failed or nothing moves, ServerLost and DataLost as the flow does."""
        while not self._look():
            self._refuse_stall()
            time.sleep(_POLL_INTERVAL_S)

    def _look(self) -> bool:
        """Looks at everything once; whether the run is done."""
        self._look_at_parts()
        rows = self._attempt.watcher.poll()
        self._look_at_ledger()
        self._keep_config(rows)
        self._show(rows)
        return self._attempt.state.phase == "done" and not self._attempt.held_out.pending

    def _look_at_parts(self) -> None:
        """Redis, Ray and the workers. Raises KeyboardInterrupt where a stop was wished for."""
        attempt, config = self._attempt, self._attempt.config
        if attempt.redis is not None:
            attempt.redis.check()
        stopping.check()
        if time.monotonic() - self._looked_for_wishes >= _WISHES_CHECK_INTERVAL_S:
            self._looked_for_wishes = time.monotonic()
            if attempt.flow.control.stop_wished():
                stopping.request()
            self._pool.look()
        attempt.calls.check()
        # Ray's answers about the workers, and Redis, which takes back what a dead one held.
        bound_s = CALL_TIMEOUT_S + config.redis.outage_s + config.redis.timeout_s
        try:
            attempt.calls.call("a question to the workers", self._supervisor.poll, bound_s)
        except RunFailed:
            with suppress(ServerLost, ServerError):
                attempt.flow.marker.check()  # a part may have failed for a loss before it was seen here
            raise
        finally:
            while self._supervisor.deaths:
                attempt.notices.died(*self._supervisor.deaths.pop(0))
        self._tell_absent()
        self._tell_hosts()

    def _tell_hosts(self) -> None:
        """Tells of hosts that came and went."""
        if time.monotonic() - self._looked_at_hosts >= _HOSTS_CHECK_INTERVAL_S:
            self._looked_at_hosts = time.monotonic()
            for event in self._attempt.calls.call("the list of hosts", self._hosts.look, CALL_TIMEOUT_S):
                self._attempt.notices.host(event)

    def _tell_absent(self) -> None:
        """Keeps and shows who does not run."""
        supervisor, state = self._supervisor, self._attempt.state
        while supervisor.notes:
            warn(supervisor.notes.pop(0))
        if not supervisor.running and time.monotonic() - self._looked_at < _ABSENT_CHECK_INTERVAL_S:
            return
        self._looked_at = time.monotonic()
        absent: dict[str, Absence] = {}
        if not supervisor.running:
            absent = self._attempt.calls.call("a look at who does not run", supervisor.absent, CALL_TIMEOUT_S)
        if absent != state.absent:
            state.absent = absent
            self._attempt.folder.write_absent(absent)

    def _look_at_ledger(self) -> None:
        """Raises RunFailed when it stays out of balance; it is looked at whenever a part was started again."""
        attempt = self._attempt
        if attempt.watcher.imbalances >= CONFIRMING_CHECKS:
            raise RunFailed(
                f"{attempt.state.imbalance}, in {CONFIRMING_CHECKS} checks in a row: something outside of the run has "
                "changed its data in Redis; "
                f"it cannot go on with them: {resume_checks.recovery_advice(attempt.folder.path)}",
                resumable=False,
            )
        if attempt.notices.tell_restarts() and (imbalance := attempt.watcher.check_ledger()):
            warn(imbalance)

    def _keep_config(self, rows: Sequence[Row]) -> None:
        """Whatever is still refused is so before the first step: what an attempt was given is the run's only from then
        on.
        """
        phase = self._attempt.state.phase
        if (
            phase
            and (rows or phase in ("final_evaluation", "evaluation", "done"))
            and not self._attempt.folder.config_kept
        ):
            self._attempt.folder.keep_config()

    def _show(self, rows: Sequence[Row]) -> None:
        """On the status line and in Ray's metrics."""
        attempt, state = self._attempt, self._attempt.state
        for row in rows:
            attempt.sink.step(row)
        for sentence in attempt.held_out.read(rows):
            self._line.note(sentence)
        if state.stopped_early and not self._told_end:
            self._told_end = True
            reason = without_better(attempt.config.evaluation.best_by, state.stopped_early)
            self._line.note(f"stopped early after step {state.step.get('step', 0)}: {reason}")
        state.fold_evaluation(attempt.held_out.progress(), time.time())
        if clipped := attempt.clip.fold(rows).news():
            warn(clipped)
        self._line.update(state)
        attempt.sink.run(state.numbers(time.time()))

    def _refuse_stall(self) -> None:
        """Raises RunFailed when nothing has moved for too long; a start has a bound of its own."""
        attempt, state = self._attempt, self._attempt.state
        if self._supervisor.starting:
            attempt.flow.control.heartbeat("driver")
            self._stall.restart()
        self._stall.see(state.progress())
        if self._stall.run_out:
            raise RunFailed(
                f"nothing has moved for {attempt.config.run.stall_timeout_s:g} s: "
                f"{state.waits_in_words(time.time())}; last seen: "
                f"step {state.step.get('step', 0)}, {format_counts(state.ledger)}; the logs are in "
                f"{attempt.folder.path}/{run_files.LOGS}"
            )
