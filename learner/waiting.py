"""The learner's waits: each has a bound, and a name for the part that is waited for."""

from __future__ import annotations

import threading
import time

from buffer.flow import Flow
from buffer.records import Group, Sample
from learner.engine import TrainingEngine
from monitor.metrics import Recorder

_LOOK_S = 0.5
_DRAWN, _STOPPED, _STALLED = 0, 1, 2


class Stopped(Exception):
    """The run was asked to end."""


class Stalled(RuntimeError):
    """Nothing moved for longer than `run.stall_timeout_s`; the message names who was waited for."""


def draw_groups(
    flow: Flow,
    engine: TrainingEngine,
    step: int,
    groups: int,
    version: int,
    stall_timeout_s: float,
    stop: threading.Event,
    recorder: Recorder,
) -> list[Group]:
    """The groups of one step, on every rank. Collective: rank 0 waits for them, the others for rank 0.

    Raises Stopped and Stalled, on every rank alike. The wait goes on as long as programs are generated or graded.
    """
    drawn: list[Group] | None = None
    verdict, sentence = _DRAWN, ""
    if engine.world.rank == 0:
        drawn = flow.online.draw(step, groups, version)
        progress = Progress(stall_timeout_s)
        while drawn is None and verdict == _DRAWN:
            flow.control.show_life("learner")
            counts = flow.ledger.counts()
            part = _waited_for(counts)
            if stop.is_set() or flow.control.stopping() is not None:
                verdict = _STOPPED
            elif progress.stalled(tuple(counts.values())):
                verdict = _STALLED
                places = ", ".join(f"{value} {name}" for name, value in counts.items() if value) or "no program yet"
                sentence = (
                    f"The learner waited {stall_timeout_s:g} s for the {part}: step {step} needs {groups} groups, "
                    f"and nothing was generated or graded meanwhile ({places})"
                )
            else:
                with recorder.phase("wait", waits_for=part):
                    drawn = flow.online.draw(step, groups, version, block_s=_LOOK_S)
    verdict = engine.agree(verdict)
    if verdict == _STOPPED:
        raise Stopped(f"while waiting for the groups of step {step}")
    if verdict == _STALLED:
        raise Stalled(sentence or f"rank 0 of the learner gave up waiting for the groups of step {step}")
    if drawn is None:
        drawn = flow.online.draw(step, groups, version)
    if drawn is None:
        raise RuntimeError(f"rank {engine.world.rank} cannot draw the groups of step {step}, which rank 0 has drawn")
    # Not in the order in which the executors were done, so that the same groups always give the same step.
    return sorted(drawn, key=lambda group: group.id)


def wait_for_evaluation(flow: Flow, label: str, stall_timeout_s: float, stop: threading.Event, recorder: Recorder) -> list[Sample] | None:
    """The samples of an evaluation once it is complete; None when the run is asked to end before. Raises Stalled.

    For rank 0 alone: the other ranks have to be told what came of it.
    """
    progress = Progress(stall_timeout_s)
    while not (state := flow.evaluations.progress(label)).complete:
        flow.control.show_life("learner")
        part = "actor" if state.finished == state.pushed else "executor"
        if stop.is_set() or flow.control.stopping() is not None:
            return None
        if progress.stalled((state.pushed, state.finished, state.chunks_done)):
            raise Stalled(
                f"The learner waited {stall_timeout_s:g} s for the {part}: "
                f"evaluation {label} has {state.finished} of {state.expected} results"
            )
        with recorder.phase("wait", waits_for=part):
            time.sleep(0.2)
    return flow.evaluations.results(label)


class Progress:
    """Tells when what it is shown has not changed for too long."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._seen: tuple[int, ...] | None = None
        self._since = time.monotonic()

    def stalled(self, state: tuple[int, ...]) -> bool:
        """Whether `state` has been the same for the timeout."""
        if state != self._seen:
            self._seen, self._since = state, time.monotonic()
        return time.monotonic() - self._since > self._timeout_s


def _waited_for(counts: dict[str, int]) -> str:
    """Who has to act for more groups to be buffered: whoever holds most of the programs under way."""
    return "executor" if counts["queued"] + counts["executing"] > 0 else "actor"
