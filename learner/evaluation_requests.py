"""What the learner asks the actors and executors for beside training: held-out evaluations, and a look after a warm
start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rltf.buffer.evaluations import label_of, set_of
from rltf.buffer.flow import Flow
from rltf.buffer.records import Sample
from rltf.config import Config
from rltf.config.evaluation import MAIN
from rltf.config.workers import ActorsConfig
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Score
from rltf.learner.engine import TrainingEngine
from rltf.learner.schedule import Position, evaluations_since_best
from rltf.learner.task import HeldOutSet
from rltf.learner.waiting import Waiter

MAX_PASS_PROBLEMS = 64
"""Training problems that are tried after a round of the warm start (`warm_start.until_pass`)."""


class EvaluationRequests:
    """Asks for programs of a published version and notes the scores.

    Rank 0 speaks to the rest of the system; every rank calls.
    """

    def __init__(
        self,
        config: Config,
        held_out: Sequence[HeldOutSet],
        flow: Flow,
        engine: TrainingEngine,
        waiter: Waiter,
        checkpoints: CheckpointWriter,
    ) -> None:
        """`checkpoints` keep the scores."""
        self._config = config
        self._held_out = {one.name: one for one in held_out}
        self._flow = flow
        self._engine = engine
        self._waiter = waiter
        self._checkpoints = checkpoints
        self._is_rank_0 = engine.world.rank == 0
        self._read: set[str] = set()
        """Labels whose samples are not needed here any more."""
        self._written: set[str] = set()
        """Labels of which every program is written."""

    @property
    def names(self) -> list[str]:
        """Of the held-out sets."""
        return list(self._held_out)

    def request(self, position: Position, step: int, names: Iterable[str], last: bool = False) -> None:
        """Asks for evaluations of the newest version, which has taken `step` steps, of the held-out sets of these
        names. `last`: no more follow.

        Scores of earlier ones are noted, so that Redis does not keep their samples.
        """
        self.record_scores(position)
        for name in [name for name in names if name in self._held_out]:
            label = label_of(step, name)
            if self._is_rank_0:
                label = self._flow.evaluations.fresh_label(label, position.version)
            settings = self._config.evaluation.by_name[name]
            samples = settings.last_samples if last else settings.samples
            self._request(label, position.version, list(self._held_out[name].problem_ids), samples)
            position.evaluated.append((step, label))

    def await_written(self, position: Position) -> None:
        """To be called before a version is published, or evaluated again, that others follow: the evaluations so far
        have to be written, so that there are never many versions to be kept for them. Collective.

        Raises StopRequested and StallTimeout.
        """
        self._waiter.written([label for _, label, _ in self.unwritten(position)])

    def request_last(self, position: Position) -> None:
        """As `request`, of all sets that the newest version was not evaluated on yet; no more follow."""
        done = [set_of(label) for step, label in position.evaluated if step == position.step]
        if missing := [name for name in self._held_out if name not in done]:
            self.request(position, position.step, missing, last=True)

    def restore(self, position: Position, last: bool) -> None:
        """To be called once by a learner that goes on from a checkpoint; `last`: no more steps follow. Collective.

        An evaluation that Redis does not know, because it lost its last second with the machine, is asked for again: at
        once when the newest version has the weights that it was of, else of the next version.

        Raises StopRequested and StallTimeout, and leaves the position as it was then.
        """
        lost = 0
        if self._is_rank_0:
            for _, label in reversed(position.evaluated):
                if self._checkpoints.score(label) is not None or self._flow.evaluations.is_requested(label):
                    break
                lost += 1
        if not (lost := self._engine.broadcast_int(lost)):
            return
        step = position.evaluated[-1][0]
        names = dict.fromkeys(set_of(label) for _, label in position.evaluated[-lost:])
        at_once = step == position.step and not position.changed
        if at_once and not last:
            self.await_written(position)
        del position.evaluated[-lost:]
        if at_once:
            self.request(position, step, names, last)
        else:
            position.evaluate(names)

    def unwritten(self, position: Position) -> list[tuple[int, str, int]]:
        """Evaluations of which the actors have not written every program yet: step, label and version; none on other
        ranks than 0.
        """
        found = []
        for step, label in position.evaluated if self._is_rank_0 else ():
            if label in self._written or not self._flow.evaluations.is_requested(label):
                continue
            progress = self._flow.evaluations.progress(label)
            if progress.written:
                self._written.add(label)
            else:
                found.append((step, label, progress.version))
        return found

    def count_passing(self, version: int, training_ids: Sequence[str]) -> int:
        """How many of the first training problems a sample of `version` passes.

        Collective; rank 0 alone gets the number.

        Raises StopRequested and StallTimeout.
        """
        label = f"warm-start-{version:03d}"
        self._request(label, version, list(training_ids[:MAX_PASS_PROBLEMS]), self._config.evaluation.samples)
        samples = self._waiter.evaluation(label)
        if self._is_rank_0:
            self._flow.evaluations.close(label)
        return sum(sample.feedback.outcome == "pass" for sample in samples)

    def record_scores(self, position: Position) -> None:
        """Notes the scores of evaluations that have become complete, for the best checkpoint and the model card."""
        if not self._is_rank_0:
            return
        for step, label in position.evaluated:
            if label in self._read:
                continue
            if self._checkpoints.score(label) is not None:
                self._done_with(label)
                continue
            if not (progress := self._flow.evaluations.progress(label)).complete:
                continue
            # Of results that the driver has read and sent on before they were seen here nothing is left; its own files
            # have them.
            if samples := self._flow.evaluations.results(label):
                self._checkpoints.set_score(label, self._score(step, set_of(label), samples, progress.expected))
                self._done_with(label)

    def _score(self, step: int, name: str, samples: Sequence[Sample], expected: int) -> Score:
        """`expected`: programs that were asked for."""
        held_out = self._held_out[name]
        passed = sum(sample.feedback.outcome == "pass" for sample in samples)
        asked = expected / max(1, len(held_out.problem_ids))
        figures = dict(held_out.figures(samples, round(asked))) if held_out.figures else {}
        return Score(step, passed / max(1, asked * _tasks(held_out)), figures, name)

    def unscored_steps(self, position: Position) -> list[int]:
        """Steps whose evaluation is not complete yet; the best checkpoint may be one of them."""
        return [step for step, label in position.evaluated if self._checkpoints.score(label) is None]

    def is_out_of_patience(self, position: Position) -> bool:
        """Whether `evaluation.patience` evaluations in a row were no better than the best before them. Collective.

        What is not complete yet is not waited for, except where the run is deterministic: there the newest evaluation
        alone does not count yet, so that training ends at the same step every time. Raises StopRequested and
        StallTimeout.
        """
        patience = self._config.evaluation.patience
        if not patience:
            return False
        judged = [one for one in position.evaluated if set_of(one[1]) == self._config.evaluation.best_set]
        if self._config.run.deterministic:
            judged = judged[:-1]
            for _, label in judged:
                if not self._engine.broadcast_int(int(self._checkpoints.score(label) is not None)):
                    self._waiter.evaluation(label)
        self.record_scores(position)
        since = evaluations_since_best(self._values(judged)) if self._is_rank_0 else 0
        return self._engine.broadcast_int(int(since >= patience)) > 0

    def _values(self, evaluated: Sequence[tuple[int, str]]) -> list[float]:
        """`evaluation.best_by` of each, up to the first that is not complete, without those whose samples are gone."""
        found = []
        for _, label in evaluated:
            score = self._checkpoints.score(label)
            if score is None and not self._flow.evaluations.is_closed(label):
                break
            if score is not None and (value := score.value(self._config.evaluation.best_figure)) is not None:
                found.append(value)
        return found

    def before_and_after(self, position: Position) -> dict[str, Any]:
        """Held-out figures of the first and the last evaluation, on rank 0, once both are complete: of the main set,
        and of the others by name in `sets`. Collective.

        Raises StopRequested and StallTimeout.
        """
        found = {name: self._before_and_after(position, name) for name in self._held_out}
        main = found.pop(MAIN, {})
        return main | ({"sets": found} if found else {})

    def _before_and_after(self, position: Position, name: str) -> dict[str, Any]:
        scores: dict[str, Any] = {}
        evaluated = [one for one in position.evaluated if set_of(one[1]) == name]
        for when, (step, label) in zip(("before", "after"), evaluated[:1] + evaluated[-1:], strict=False):
            if not self._engine.broadcast_int(int(self._checkpoints.score(label) is not None)):
                self._waiter.evaluation(label)
                self.record_scores(position)
            if (score := self._checkpoints.score(label)) is not None:
                scores[when] = {"step": step, **score.figures, "pass@1": score.pass_at_1}
        held_out = self._held_out[name]
        return {"tasks": _tasks(held_out)} | dict(held_out.about) | scores if scores else {}

    def _done_with(self, label: str) -> None:
        self._flow.evaluations.close(label, "learner")
        self._read.add(label)

    def _request(self, label: str, version: int, ids: list[str], samples: int) -> None:
        if self._is_rank_0:
            self._flow.evaluations.request(label, version, chunks_of(ids, samples, self._config.actors), samples)


def chunks_of(ids: list[str], samples: int, actors: ActorsConfig) -> list[list[str]]:
    """The problems of an evaluation in chunks of at most as many programs as an actor samples together, and about as
    many chunks as actors where that is enough.
    """
    rows = actors.problems_per_batch * actors.samples_per_problem
    size = max(1, min(math.ceil(len(ids) / actors.count), rows // samples))
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _tasks(held_out: HeldOutSet) -> int:
    """Problems that a score is a mean over."""
    return int(held_out.about.get("tasks", len(held_out.problem_ids)))
