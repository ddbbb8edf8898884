"""The learner's waits: each has a bound, and a name for the part that is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rltf.buffer.flow import Flow
from rltf.buffer.ledger import format_counts
from rltf.buffer.records import Group, Sample
from rltf.buffer.stall_clock import StallClock, StallTimeout, StopRequested
from rltf.learner.engine import TrainingEngine
from rltf.telemetry.recorder import Recorder

_DRAW_TIMEOUT_S = 0.5
_POLL_INTERVAL_S = 0.2
KEEPALIVE_INTERVAL_S = 20.0
"""Rank 0 tells the other ranks so often that it still waits: their wait in a collective has a bound of its own
(`World.timeout_s`)."""
_DONE, _STOPPED, _STALLED, _WAITING = range(4)


class Waiter:
    """Waits on rank 0 for the rest of the system, the other ranks for rank 0.

    What is raised is raised on every rank alike.
    """

    def __init__(
        self,
        flow: Flow,
        engine: TrainingEngine,
        stall_timeout_s: float,
        stop: threading.Event,
        recorder: Recorder,
        meanwhile: Callable[[], None],
    ) -> None:
        """`meanwhile` is called on rank 0 several times a second of a wait."""
        self._flow = flow
        self._engine = engine
        self._stall_timeout_s = stall_timeout_s
        self._stop = stop
        self._recorder = recorder
        self._meanwhile = meanwhile

    def groups(self, step: int, groups: int, version: int) -> list[Group]:
        """The groups of one step, on every rank. Collective.

        The wait goes on as long as something is computed for programs, or they are written or graded.

        Raises StopRequested and StallTimeout.
        """
        online = self._flow.online
        drawn: list[Group] | None = online.draw(step, groups, version) if self._engine.world.rank == 0 else None

        def look() -> _Seen | None:
            nonlocal drawn
            if drawn is not None:
                return None
            counts = self._flow.ledger.counts()
            what = f"step {step} needs {groups} groups, and nothing was generated or graded ({format_counts(counts)})"
            part = "executor" if counts["queued"] + counts["executing"] > 0 else "actor"
            return _Seen(part, self._flow.ledger.activity(), what)

        def wait() -> None:
            nonlocal drawn
            drawn = online.draw(step, groups, version, block_s=_DRAW_TIMEOUT_S)

        self._wait(look, wait, f"the groups of step {step}")
        if drawn is None:
            drawn = online.draw(step, groups, version)
        if drawn is None:
            raise RuntimeError(
                f"rank {self._engine.world.rank} cannot draw the groups of step {step}, which rank 0 has drawn"
            )
        # Not in the order in which the executors were done, so that the same groups always give the same step.
        return sorted(drawn, key=lambda group: group.id)

    def evaluation(self, label: str) -> list[Sample]:
        """The samples of an evaluation once it is complete, on rank 0; none on the others, which need not know `label`.

        Collective.

        Raises StopRequested and StallTimeout.
        """
        evaluations = self._flow.evaluations

        def look() -> _Seen | None:
            state = evaluations.progress(label)
            if state.complete:
                return None
            part = "actor" if state.finished == state.pushed else "executor"
            what = f"evaluation {label} has {state.finished} of {state.expected} results"
            return _Seen(part, (state.pushed, state.finished, state.chunks_done), what)

        self._wait_for_evaluation(look, "an evaluation")
        return evaluations.results(label) if self._engine.world.rank == 0 else []

    def written(self, labels: Sequence[str]) -> None:
        """Waits until the actors have written all programs of these evaluations; labels are looked at on rank 0 alone.
        Collective.

        Raises StopRequested and StallTimeout.
        """

        def look() -> _Seen | None:
            for label in labels:
                state = self._flow.evaluations.progress(label)
                if not state.written:
                    what = f"evaluation {label} has {state.pushed} of {state.expected} programs"
                    return _Seen("actor", (state.pushed, state.finished, state.chunks_done), what)
            return None

        self._wait_for_evaluation(look, "an evaluation to be written")

    def _wait_for_evaluation(self, look: Callable[[], _Seen | None], what: str) -> None:
        """As `_wait`; actors hear of it, and write nothing else meanwhile."""
        said = False

        def wait() -> None:
            nonlocal said
            if not said:
                self._flow.control.await_evaluation(True)
                said = True
            time.sleep(_POLL_INTERVAL_S)

        try:
            self._wait(look, wait, what)
        finally:
            if said:
                self._flow.control.await_evaluation(False)

    def _wait(self, look: Callable[[], _Seen | None], wait: Callable[[], None], what: str) -> None:
        """`look`: what is seen while the wait goes on, nothing when it is over; `wait`: a short one.

        Both on rank 0 alone.
        """
        clock = StallClock(self._stall_timeout_s)
        sentence = ""
        while True:
            verdict, told_at = _DONE, time.monotonic()
            while self._engine.world.rank == 0 and (seen := look()) is not None:
                self._meanwhile()
                clock.see((*seen.counts, *self._flow.control.heartbeats("driver", "actor")))
                if self._stop.is_set():
                    verdict = _STOPPED
                elif clock.run_out:
                    verdict, sentence = (
                        _STALLED,
                        f"The learner waited {self._stall_timeout_s:g} s for the {seen.part}: {seen.what}",
                    )
                elif self._engine.world.size > 1 and time.monotonic() - told_at > KEEPALIVE_INTERVAL_S:
                    verdict = _WAITING
                if verdict != _DONE:
                    break
                with self._recorder.phase("wait", waits_for=seen.part):
                    wait()
            verdict = self._engine.broadcast_int(verdict)
            if verdict == _DONE:
                return
            if verdict == _STOPPED:
                raise StopRequested(f"while waiting for {what}")
            if verdict == _STALLED:
                raise StallTimeout(sentence or f"rank 0 of the learner gave up waiting for {what}")


class _Seen(NamedTuple):
    """What the wait is for."""

    part: str
    counts: tuple[int, ...]
    """Stay the same when nothing moves."""
    what: str
    """For the sentence that ends the wait."""
