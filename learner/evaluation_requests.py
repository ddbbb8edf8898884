"""What the learner asks the actors and executors for beside training: held-out evaluations, and a look after a warm
start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rltf.buffer.evaluations import label_of
from rltf.buffer.flow import Flow
from rltf.config import Config
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Score
from rltf.learner.engine import TrainingEngine
from rltf.learner.schedule import Position, evaluations_since_best
from rltf.learner.task import Figures
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
        held_out_ids: Sequence[str],
        flow: Flow,
        engine: TrainingEngine,
        waiter: Waiter,
        checkpoints: CheckpointWriter,
        held_out: Mapping[str, Any],
        figures: Figures | None = None,
    ) -> None:
        """`checkpoints` keep the scores; `held_out`: what these are about; `figures`: see `LearnerTask`."""
        self._config = config
        self._held_out_ids = list(held_out_ids)
        self._held_out = {"tasks": len(held_out_ids)} | dict(held_out)
        self._flow = flow
        self._engine = engine
        self._waiter = waiter
        self._checkpoints = checkpoints
        self._figures = figures
        self._is_rank_0 = engine.world.rank == 0
        self._read: set[str] = set()
        """Labels whose samples are not needed here any more."""

    def request(self, position: Position, step: int, last: bool = False) -> None:
        """Asks for a held-out evaluation of the newest version, which has taken `step` steps. `last`: no more follow.

        Scores of earlier ones are noted, so that Redis does not keep their samples.
        """
        self.record_scores(position)
        if self._held_out_ids:
            label = self._flow.evaluations.fresh_label(label_of(step), position.version) if self._is_rank_0 else ""
            settings = self._config.evaluation
            self._request(
                label, position.version, self._held_out_ids, settings.last_samples if last else settings.samples
            )
            position.evaluated.append((step, label))

    def restore(self, position: Position, last: bool) -> None:
        """To be called once by a learner that goes on from a checkpoint; `last`: no more steps follow. Collective.

        An evaluation that Redis does not know, because it lost its last second with the machine, is asked for again: at
        once when the newest version has the weights that it was of, else of the next version.
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
        del position.evaluated[-lost:]
        if step == position.step and not position.changed:
            self.request(position, step, last)
        else:
            position.evaluate = step

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
                passed = sum(sample.feedback.outcome == "pass" for sample in samples)
                asked = progress.expected / max(1, len(self._held_out_ids))
                figures = dict(self._figures(samples, round(asked))) if self._figures else {}
                pass_at_1 = passed / max(1, asked * self._held_out["tasks"])
                self._checkpoints.set_score(label, Score(step, pass_at_1, figures))
                self._done_with(label)

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
        judged = position.evaluated
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
            if score is not None and (value := score.value(self._config.evaluation.best_by)) is not None:
                found.append(value)
        return found

    def before_and_after(self, position: Position) -> dict[str, Any]:
        """Held-out figures of the first and the last evaluation, on rank 0, once both are complete. Collective.

        Raises StopRequested and StallTimeout.
        """
        scores: dict[str, Any] = {}
        evaluated = position.evaluated
        for when, (step, label) in zip(("before", "after"), evaluated[:1] + evaluated[-1:], strict=False):
            if not self._engine.broadcast_int(int(self._checkpoints.score(label) is not None)):
                self._waiter.evaluation(label)
                self.record_scores(position)
            if (score := self._checkpoints.score(label)) is not None:
                scores[when] = {"step": step, **score.figures, "pass@1": score.pass_at_1}
        return self._held_out | scores if scores else {}

    def _done_with(self, label: str) -> None:
        self._flow.evaluations.close(label, "learner")
        self._read.add(label)

    def _request(self, label: str, version: int, ids: list[str], samples: int) -> None:
        if self._is_rank_0:
            size = self._config.actors.problems_per_batch
            chunks = [ids[start : start + size] for start in range(0, len(ids), size)]
            self._flow.evaluations.request(label, version, chunks, samples)
