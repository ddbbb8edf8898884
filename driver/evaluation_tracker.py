"""An evaluation of a model that does not change: asked for chunk by chunk, so that Redis holds few programs at a time.

A chunk is one evaluation of the buffer, known by its label: what was asked for, written, judged and read is in Redis,
and an attempt that goes on finds it there.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rltf.buffer.flow import Flow
from rltf.config import ActorsConfig
from rltf.evaluation.summary import Example
from rltf.telemetry.recorder import Row

SERIES = "evaluate"
"""What the numbers of programs count in (`buffer.evaluations.Chunk`): the same in every evaluation, whatever its chunks
are."""


@dataclass(frozen=True)
class Part:
    """Programs that are asked for together: some of each of some problems."""

    label: str
    problem_ids: list[str]
    first: int
    """Number of each problem's first program."""
    samples: int

    @property
    def programs(self) -> int:
        """How many they are."""
        return len(self.problem_ids) * self.samples


def parts_of(problem_ids: Sequence[str], samples: int, settings: ActorsConfig, actors: int) -> list[Part]:
    """The whole evaluation in parts of one batch of an actor at most, and one for each of so many `actors` at least.

    Problems are together as long as all programs of each fit into the batch; those of a problem with more come in
    several parts.
    """
    rows = settings.problems_per_batch * settings.samples_per_problem
    at_once = min(samples, rows)
    together = max(1, min(math.ceil(len(problem_ids) / actors), rows // at_once))
    return [
        Part(
            f"part-{first:06d}-{start:06d}",
            list(problem_ids[start : start + together]),
            first,
            min(at_once, samples - first),
        )
        for start in range(0, len(problem_ids), together)
        for first in range(0, samples, at_once)
    ]


class EvaluationTracker:
    """Keeps enough parts asked for that no actor waits, and no more; ends the run with the last of them."""

    def __init__(self, flow: Flow, parts: Sequence[Part], actors: int) -> None:
        self._flow = flow
        self._left = deque(parts)
        self._ahead = 4 * actors + 4
        self._asked: dict[str, Part] = {}
        self._done = 0
        """Programs of parts that are complete."""
        self._total = sum(part.programs for part in parts)
        self._goes_on = False

    @property
    def pending(self) -> bool:
        """See Tracker."""
        return bool(self._asked or self._left)

    def progress(self) -> tuple[int, int] | None:
        """See Tracker."""
        finished = sum(self._flow.evaluations.progress(label).finished for label in self._asked)
        return self._done + finished, self._total

    def read(self, step_rows: Sequence[Row]) -> list[str]:
        """See Tracker."""
        flow = self._flow
        if not self._goes_on:
            self._goes_on = True
            flow.control.set_phase("evaluation")
        flow.control.heartbeat("driver")  # an actor without work waits for others, who may be long at theirs
        for label in [label for label in self._asked if flow.evaluations.is_complete(label)]:
            flow.evaluations.close(label)
            self._done += self._asked.pop(label).programs
        while self._left and len(self._asked) < self._ahead:
            part = self._left.popleft()
            if flow.evaluations.is_closed(part.label):
                self._done += part.programs
                continue
            flow.evaluations.request(part.label, 0, [part.problem_ids], part.samples, part.first, SERIES)
            self._asked[part.label] = part
        if not self.pending:
            flow.control.set_phase("done")
        return []

    def close(self) -> None:
        """See Tracker: what is not complete stays for the attempt that goes on."""

    def result(self) -> dict[str, object]:
        """See Tracker."""
        return {}

    def curve(self) -> list[list[float]]:
        """See Tracker."""
        return []

    def examples(self) -> list[Example]:
        """See Tracker."""
        return []
