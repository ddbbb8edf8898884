"""One attempt of a run, from its first worker to its report."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from rltf.buffer.connection import DataLost, ServerLost
from rltf.driver.attempt import Attempt
from rltf.driver.nodes import NodeKinds
from rltf.driver.ray_thread import CALL_TIMEOUT_S, KILL_TIMEOUT_S
from rltf.driver.result import Result
from rltf.driver.stopping import stopping
from rltf.driver.supervisor import START_TIMEOUT_S
from rltf.driver.watching import Watch
from rltf.driver.workers import MARGIN_S, STOP_LEARNER_S, Workers
from rltf.monitor.status_line import Goal, StatusLine


def run(attempt: Attempt, kinds: NodeKinds, start_timeout_s: float, kind: type[Result] = Result) -> None:
    """Starts the parts, watches them to the end, stops them, reports; what was gathered is kept whatever ends the run.

    `start_timeout_s`: longest wait for a worker's process; `kind`: how it ends. Raises as `Watch.until_done` does, and
    the first OSError or DiskFailure of what is written at the end.
    """
    attempt.begin()
    parts = _start(attempt, kinds, start_timeout_s)
    config, result = attempt.config, kind(attempt)
    # Each step of the end is done, whatever becomes of the others; the last that is named here first.
    with ExitStack() as ending:
        ending.callback(result.report)
        ending.callback(result.read_the_rest)
        ending.callback(_stop, attempt, parts)
        warm = config.warm_start
        goal = Goal(config.learner.steps, config.learner.max_seconds, 0 if warm.until_pass else warm.steps)
        with StatusLine(attempt.console, goal) as line:
            try:
                Watch(attempt, parts, line).until_done()
            except (ServerLost, DataLost):
                result.reachable = False  # Redis was waited for long enough, or there is nothing to read
                raise
            finally:
                stopping.end()
    if config.redis.url:
        attempt.flow.delete_run()  # all that is left of a finished run is in its folder; one that was stopped can go on


def _start(attempt: Attempt, kinds: NodeKinds, start_timeout_s: float) -> Workers:
    """Starts all workers; their loops begin while they are watched."""
    inputs = attempt.inputs
    starts = partial(
        Workers,
        attempt.config,
        inputs.spec,
        inputs.problems,
        inputs.held_out_problems,
        attempt.flow,
        inputs.code,
        attempt.logs,
        attempt.notices.restarted,
        start_timeout_s,
        kinds,
        attempt.learner_task() if attempt.learns else None,
    )
    return attempt.calls.call("the start of the workers", starts, START_TIMEOUT_S + start_timeout_s + CALL_TIMEOUT_S)


def _stop(attempt: Attempt, parts: Workers) -> None:
    """Ends the workers; a Ray that is gone is left to the guard."""
    calls = attempt.calls
    if stopping.stop_requests and attempt.learns:
        attempt.console.print(
            "Stopping: the learner finishes its step and writes a checkpoint. Once more: without that. A third "
            "time: at once.",
            markup=False,
        )
    if not calls.gone:
        calls.call("the workers' end", partial(parts.stop, lambda: stopping.hurried), STOP_LEARNER_S + 2 * MARGIN_S)
    if calls.broken:
        calls.kill_processes()
    else:
        calls.call("ray.kill", parts.kill, KILL_TIMEOUT_S)
