"""The held-out evaluations as the driver keeps them: rows for the run folder, the curve, programs before and after."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rltf.buffer.evaluations import EvaluationProgress
from rltf.buffer.flow import Flow
from rltf.buffer.records import Sample
from rltf.config import EvaluationConfig
from rltf.evaluation.collector import CompletedEvaluation, HeldOutCollector
from rltf.evaluation.summary import Example, before_and_after
from rltf.evaluation.tasks import HeldOutTasks
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.telemetry.recorder import Row


class HeldOutTracker:
    """Looks after all held-out sets of a run; the first is the main one."""

    def __init__(
        self,
        flow: Flow,
        folder: RunFolder,
        state: RunState,
        tasks: Sequence[HeldOutTasks],
        settings: EvaluationConfig | None = None,
    ) -> None:
        """`tasks`: of each set; none where nothing is evaluated."""
        by_name = (settings or EvaluationConfig()).by_name
        self._sets = [SetTracker(flow, folder, state, one, by_name[one.set].ks) for one in tasks]
        self._steps = [int(row["step"]) for row in folder.steps()]
        """Of earlier attempts; evaluations that one asked for and did not see complete are looked for."""

    @property
    def pending(self) -> bool:
        """Whether an evaluation has been asked for and is not complete."""
        return any(one.pending for one in self._sets)

    def progress(self) -> tuple[int, int] | None:
        """Programs of the evaluations under way: finished, asked for; None while there is none."""
        under_way = [progress for one in self._sets for progress in one.under_way()]
        return (sum(one.finished for one in under_way), sum(one.expected for one in under_way)) if under_way else None

    def read(self, step_rows: Sequence[Row]) -> list[str]:
        """Takes in what has become complete; a sentence for each."""
        steps, self._steps = self._steps + [int(row["step"]) for row in step_rows], []
        return [sentence for one in self._sets for sentence in one.read(steps)]

    def close(self) -> None:
        """Sends the held-out programs to the archive that are not there yet; nobody needs them in the buffer
        any more.
        """
        for one in self._sets:
            one.close()

    def result(self) -> dict[str, Any]:
        """`held_out` of result.json: what the figures are about (`HeldOutTasks.about`), and `scores` of the evaluations
        so far; those of further sets by name in `sets`.
        """
        main, *others = [one.result() for one in self._sets] or [{}]
        names = [one.name for one in self._sets[1:]]
        sets = {name: found for name, found in zip(names, others, strict=True) if found}
        return main | ({"sets": sets} if sets else {})

    def curve(self) -> list[list[float]]:
        """`curve` of the evaluations of the main set so far."""
        return self._sets[0].curve() if self._sets else []

    def examples(self) -> list[Example]:
        """Three problems of the main set with the programs before and after training; none where only one evaluation
        was completed.
        """
        return self._sets[0].examples() if self._sets else []


class SetTracker:
    """Reads each evaluation of a held-out set once it is complete; keeps the first and the last one's programs."""

    def __init__(
        self, flow: Flow, folder: RunFolder, state: RunState, tasks: HeldOutTasks, ks: Sequence[int] = (1,)
    ) -> None:
        """`ks`: the k of its figures."""
        self.name = tasks.set
        self._flow = flow
        self._folder = folder
        self._state = state
        self._title = tasks.title
        self._questions = {problem.id: problem.question for problem in tasks.asked}
        self._about = tasks.about()
        self._rows: list[Row] = folder.held_out(self.name)
        known = [row["label"] for row in self._rows]
        self._collector = HeldOutCollector(flow, tasks.to_ask(ks), known, self.name)
        for row in self._rows:
            flow.evaluations.close(row["label"], "driver")  # again, if the attempt before was killed in between
        self._first: Sequence[Sample] = ()
        self._last: Sequence[Sample] = ()

    @property
    def pending(self) -> bool:
        """Whether an evaluation has been asked for and is not complete."""
        return bool(self._collector.pending)

    def under_way(self) -> list[EvaluationProgress]:
        """How far each of those is."""
        return [self._flow.evaluations.progress(label) for label in self._collector.pending]

    def read(self, steps: Sequence[int]) -> list[str]:
        """Takes in what has become complete, `steps` being those whose rows are new; a sentence for each."""
        return [self._take(collected) for collected in self._collector.collect(steps)]

    def _take(self, collected: CompletedEvaluation) -> str:
        seconds = self._state.rl_seconds_of_step(collected.step)
        row = collected.held_out.as_row(
            label=collected.label, step=collected.step, seconds=seconds, time=time.time(), name=self.name
        )
        self._folder.add_held_out(row)
        self._flow.evaluations.close(collected.label, "driver")
        for label in collected.superseded:
            self._flow.evaluations.close(
                label
            )  # the learner that asked for it is dead, and the one that lives does not know it
        self._state.held_out[self.name] = row
        self._rows = sorted(
            [kept for kept in self._rows if kept["step"] != row["step"]] + [row], key=lambda kept: int(kept["step"])
        )
        if self._rows[0] is row:
            self._first = collected.samples
        self._last = collected.samples
        scores = ", ".join(f"{figure} {estimate}" for figure, estimate in collected.held_out.figures.items())
        lost = (
            f"; {collected.held_out.lost:,} programs without a verdict count as not passed"
            if collected.held_out.lost
            else ""
        )
        return f"step {collected.step}: {self._title} {scores} after {seconds:.0f} s of training{lost}"

    def close(self) -> None:
        """See HeldOutTracker."""
        for row in self._rows:
            self._flow.evaluations.close(row["label"])

    def result(self) -> dict[str, Any]:
        """What the figures are about, and `scores`; empty before the first evaluation is complete."""
        return self._about | scores(self._rows) if self._rows else {}

    def curve(self) -> list[list[float]]:
        """`curve` of the evaluations so far."""
        return curve(self._rows)

    def examples(self) -> list[Example]:
        """See HeldOutTracker."""
        if len(self._rows) < 2:
            return []
        first = self._first
        if not first:  # an earlier attempt's
            label = self._rows[0]["label"]
            kept = (row.sample for row in self._folder.samples())
            first = [sample for sample in kept if sample is not None and sample.program.label == label]
        return before_and_after(first, self._last, self._questions)


def scores_of_all(evaluations: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """`scores` of the main set, and of further ones by name in `sets`; `evaluations`: rows by the set's name."""
    sets = {name: scores(rows) for name, rows in evaluations.items() if name and rows}
    return scores(evaluations.get("", ())) | ({"sets": sets} if sets else {})


def scores(rows: Sequence[Row]) -> dict[str, Any]:
    """Step, pass@k and max@k, their standard errors and `lost`, programs without a verdict, before and after training;
    `rows`: of evaluations, by step.

    Without `after` where only one evaluation was completed, empty where none was.
    """
    if not rows:
        return {}
    found = zip(("before", "after"), [*rows[:1], *rows[1:][-1:]], strict=False)
    kept = {
        when: {key: row[key] for key in row if key in ("step", "lost") or key.startswith(("pass@", "max@"))}
        for when, row in found
    }
    return {"tasks": rows[-1]["tasks"]} | kept


def curve(rows: Sequence[Row]) -> list[list[float]]:
    """[[step, seconds of training, pass@1], ...]."""
    return [[row["step"], row["seconds"], row["pass@1"]] for row in rows]
