"""Finds the held-out evaluations that the learner asks for and folds each one when it is complete."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from rltf.buffer.evaluations import label_of, labels_of
from rltf.buffer.flow import Flow
from rltf.buffer.records import Sample
from rltf.evaluation.summary import Asked, HeldOutResult


@dataclass(frozen=True)
class CompletedEvaluation:
    """A complete evaluation."""

    step: int
    label: str
    held_out: HeldOutResult
    samples: Sequence[Sample]
    superseded: tuple[str, ...] = ()
    """Labels of the same step that were asked for before, of weights that the learner has lost."""


class HeldOutCollector:
    """Looks after the evaluations of one held-out set of a run.

    The learner asks for the evaluation of step N, if at all, before it ends step N + 1; so a step without a new request
    is forgotten as soon as the row of a later one has been seen. After a crash it goes back some steps, and asks again
    for the evaluations of weights that it has lost: the step it went back to, and those whose rows come again, are
    looked at again. Results stay in the buffer until the label is closed.
    """

    def __init__(self, flow: Flow, asked: Asked, known: Collection[str] = (), name: str = "") -> None:
        """`asked`: programs without a verdict count as not passed; `known`: labels done with; `name`:
        of the set (`buffer.evaluations.label_of`).
        """
        self._flow = flow
        self._asked = asked
        self._name = name
        self._known = set(known)
        self._open = {0}
        self._newest = 0
        self.pending: tuple[str, ...] = ()
        """Labels asked for and not complete at the last look."""

    def collect(self, steps: Iterable[int] = ()) -> list[CompletedEvaluation]:
        """The evaluations that have become complete since the last call, in order of their steps.

        `steps`: those whose rows are new, in the order of the rows.
        """
        for step in steps:
            self._open |= {step} if step > self._newest else {step - 1, step}
            self._newest = step
        complete: list[CompletedEvaluation] = []
        pending: list[str] = []
        for step in sorted(self._open):
            label = self._flow.evaluations.latest_label(label_of(step, self._name))
            if label is None or label in self._known:  # not asked for, or not yet
                if step < self._newest:
                    self._open.discard(step)
                continue
            if not self._flow.evaluations.is_complete(label):
                pending.append(label)
                continue
            if self._flow.evaluations.is_closed(
                label
            ):  # it was read, and its row in the run's folder is lost: what is left here is nothing
                self._known.add(label)
                continue
            samples = self._flow.evaluations.results(label)
            programs = self._flow.evaluations.expected(label) // max(1, len(self._asked.problem_ids))
            held_out = self._asked.result(samples, programs)
            complete.append(
                CompletedEvaluation(
                    step,
                    label,
                    held_out,
                    samples,
                    tuple(takewhile(label.__ne__, labels_of(label_of(step, self._name)))),
                )
            )
            self._known.add(
                label
            )  # its step stays open: a learner that crashes before the next row may ask for it again
        self.pending = tuple(pending)
        return complete
