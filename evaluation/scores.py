"""The samples of an evaluation, folded problem by problem: all that figures are made from, some numbers per program."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rltf.buffer.records import Feedback, Sample
from rltf.evaluation.errors import category
from rltf.problems import Problem, Skipped


@dataclass
class ProblemScores:
    """What became of the programs of one problem."""

    id: str
    difficulty: str
    tests: int
    """That judge a program."""
    examples: tuple[int, ...]
    """Positions of the tests among them that the model may know."""
    asked: int
    """Programs that were asked for, or that the file holds."""
    why_none: str = ""
    """Why no program can be written for it; it then counts as failed."""
    passed: int = 0
    accepted: int = 0
    """Programs that pass the example tests; all where there are none."""
    shares: array[float] = field(default_factory=lambda: array("d"))
    """Of each program with a verdict, the share of tests that it passes."""
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """Programs by `Feedback.error_name`, of those that did not pass."""
    categories: Counter[str] = field(default_factory=Counter)
    """Programs that ended in an error, by `evaluation.errors.category`."""
    lengths: Counter[tuple[int, bool]] = field(default_factory=Counter)
    """Programs by length, in bits of its number of tokens or characters, and by whether they pass."""

    @property
    def samples(self) -> int:
        """Programs with a verdict."""
        return len(self.shares)

    @property
    def lost(self) -> int:
        """Programs asked for without one."""
        return self.asked - self.samples

    @property
    def failed_unasked(self) -> bool:
        """Whether it has no program and counts as failed: its prompt does not fit, or the file has none for it."""
        return self.asked == 0

    def add(self, sample: Sample) -> None:
        """Takes in one program."""
        feedback, passed = sample.feedback, sample.feedback.outcome == "pass"
        self.passed += passed
        self.accepted += accepts(feedback, self.examples)
        self.shares.append(feedback.share_passed)
        self.outcomes[feedback.outcome] += 1
        if not passed:
            self.errors[feedback.error_name] += 1
        if not passed and feedback.outcome != "failure":
            self.categories[category(feedback.error_name)] += 1
        length = len(sample.program.token_ids) or len(sample.program.text)
        self.lengths[max(length, 1).bit_length() - 1, passed] += 1


def accepts(feedback: Feedback, examples: tuple[int, ...]) -> bool:
    """Whether the program passes these of its tests, by position from 0."""
    tests = feedback.tests
    return all(position < len(tests) and tests[position].outcome == "pass" for position in examples)


@dataclass(frozen=True)
class SetScores:
    """The problems of one SPEC with their scores."""

    name: str
    problems: tuple[ProblemScores, ...]
    left_out: tuple[Skipped, ...] = ()
    """Problems of the data that no program can be judged by."""

    @classmethod
    def of(
        cls,
        name: str,
        problems: Sequence[Problem],
        asked: dict[str, int],
        too_long: Iterable[Skipped] = (),
        left_out: Sequence[Skipped] = (),
    ) -> SetScores:
        """Empty scores.

        `asked`: programs asked for by problem id; `too_long`: problems, among `problems`, whose prompt does not fit.
        """
        reasons = {skipped.id: skipped.reason for skipped in too_long}
        rows = [
            ProblemScores(
                problem.id,
                problem.difficulty,
                problem.suite.count,
                problem.example_tests,
                asked.get(problem.id, 0),
                reasons.get(problem.id, "" if asked.get(problem.id) else "there is no program for it"),
            )
            for problem in problems
        ]
        return cls(name, tuple(rows), tuple(left_out))


def fold(sets: Iterable[SetScores], samples: Iterable[Sample]) -> set[str]:
    """Adds every sample to its problem; versions of the executors that judged them."""
    by_id = {problem.id: problem for one in sets for problem in one.problems}
    executors = set()
    for sample in samples:
        by_id[sample.program.problem_id].add(sample)
        executors.add(sample.feedback.executor_version)
    return executors
