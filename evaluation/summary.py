"""What the samples of one held-out evaluation say: pass@k, outcomes, error types, and example programs before and after
training.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rltf.buffer.records import OUTCOMES, Sample, count_error_types
from rltf.evaluation.estimators import max_at_k
from rltf.evaluation.pass_at_k import Estimate, mean_of, mean_pass_at_k


@dataclass(frozen=True)
class HeldOutResult:
    """One held-out evaluation."""

    tasks: int
    """Problems counted, those without a single graded program included."""
    samples: int
    """Programs graded."""
    missing: int
    """Problems asked for without a graded program (lost to infrastructure failures); they count as not passed."""
    lost: int
    """Programs asked for without a verdict (infrastructure failures), those of `missing` included; they count as not
    passed."""
    not_asked: int
    """Problems that no program could be asked for (`evaluation.tasks`); they count as not passed."""
    pass_at: Mapping[int, Estimate]
    max_at: Mapping[int, Estimate]
    """Share of tests that the best of k programs passes."""
    outcomes: Mapping[str, int]
    """Programs by outcome, all four present."""
    error_types: Mapping[str, int]
    """Programs that did not pass, by error type, most frequent first; `WrongAnswer` for a failed test."""
    versions: tuple[int, ...]
    """Policy versions that wrote the programs, ascending."""
    program_share: float = 1.0
    """Of the responses, those that hold a program."""

    @property
    def figures(self) -> dict[str, Estimate]:
        """pass@k and max@k by name."""
        named = {f"pass@{k}": estimate for k, estimate in self.pass_at.items()}
        return named | {f"max@{k}": estimate for k, estimate in self.max_at.items()}

    def as_row(self, *, label: str, step: int, seconds: float, time: float, name: str = "") -> dict[str, Any]:
        """A JSON-able row for the run folder.

        `seconds`: since the first training program was begun; `time`: since the epoch; `name`: of a further held-out
        set, which only its rows have.
        """
        row: dict[str, Any] = {
            "label": label,
            **({"set": name} if name else {}),
            "step": step,
            "seconds": seconds,
            "time": time,
            "tasks": self.tasks,
            "samples": self.samples,
        }
        row |= {
            "missing": self.missing,
            "lost": self.lost,
            "not_asked": self.not_asked,
            "versions": list(self.versions),
        }
        for name, estimate in self.figures.items():
            row |= {name: estimate.value, f"{name}_se": estimate.standard_error}
        row |= {"outcomes": dict(self.outcomes), "error_types": dict(self.error_types)}
        return row | {"program_share": self.program_share}


def summarise(
    samples: Iterable[Sample],
    problem_ids: Iterable[str] = (),
    ks: Sequence[int] = (1,),
    programs: int = 0,
    not_asked: int = 0,
) -> HeldOutResult:
    """Folds the samples of one evaluation.

    `problem_ids`: the problems that were asked for, `programs`: how many programs for each, `not_asked`: further
    problems; what is missing of them all counts as not passed, so that it cannot raise the score. A greedy program
    counts like any other. Raises ValueError when there is neither sample nor problem, and when `programs` and a
    problem's samples both are fewer than the largest k.
    """
    graded: dict[str, list[tuple[bool, float]]] = {problem_id: [] for problem_id in problem_ids}
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    error_types: list[str] = []
    versions: set[int] = set()
    without = 0
    for sample in samples:
        outcome = sample.feedback.outcome
        graded.setdefault(sample.program.problem_id, []).append((outcome == "pass", sample.feedback.share_passed))
        outcomes[outcome] += 1
        without += not sample.program.has_program
        versions.update(run.version for run in sample.program.versions)
        if outcome != "pass":
            error_types.append(sample.feedback.error_name)
    if not graded:
        raise ValueError("a held-out evaluation of no problems")
    most = max(ks)
    whole = [_filled(found, max(len(found), programs) if found else most) for found in graded.values()]
    whole += [_filled([], most)] * not_asked
    counts = [(len(found), sum(passed for passed, _ in found)) for found in whole]
    return HeldOutResult(
        tasks=len(whole),
        samples=sum(len(found) for found in graded.values()),
        missing=sum(not found for found in graded.values()),
        lost=sum(max(0, programs - len(found)) for found in graded.values()),
        not_asked=not_asked,
        pass_at={k: mean_pass_at_k(counts, k) for k in ks},
        max_at={k: mean_of([max_at_k([share for _, share in found], k) for found in whole]) for k in ks},
        outcomes=dict(outcomes),
        error_types=count_error_types(error_types),
        versions=tuple(sorted(versions)),
        program_share=1 - without / max(1, outcomes.total()),
    )


def _filled(found: list[tuple[bool, float]], programs: int) -> list[tuple[bool, float]]:
    """Whether each program of a problem passes, and its share of the tests; those without a verdict pass none."""
    return found + [(False, 0.0)] * (programs - len(found))


@dataclass(frozen=True)
class Asked:
    """What the evaluations of one held-out set ask for, and what is made of their samples."""

    problem_ids: tuple[str, ...]
    ks: tuple[int, ...] = (1,)
    """The k of pass@k and max@k; of an evaluation with fewer programs per problem those that it allows."""
    not_asked: int = 0
    """Further problems, that no program can be asked for."""

    def result(self, samples: Iterable[Sample], programs: int) -> HeldOutResult:
        """Of an evaluation with so many programs per problem."""
        ks = [k for k in self.ks if k <= programs] or [1]
        return summarise(samples, self.problem_ids, ks, programs, self.not_asked)

    def figures(self, samples: Iterable[Sample], programs: int) -> dict[str, float]:
        """Its pass@k and max@k by name."""
        return {name: found.value for name, found in self.result(samples, programs).figures.items()}


@dataclass(frozen=True)
class Example:
    """What the policy wrote for one held-out problem, before training and after."""

    problem_id: str
    question: str
    before: Sample
    after: Sample


def before_and_after(
    before: Iterable[Sample], after: Iterable[Sample], questions: Mapping[str, str], count: int = 3
) -> list[Example]:
    """Up to `count` problems with the programs written for them before and after, the most telling first.

    A program that failed and then passed comes before any other pair, pairs whose first program erred in a way not
    shown yet before repetitions, and short programs before long ones; the choice depends on nothing but the samples.
    """
    first = _by_problem(before)
    last = _by_problem(after)
    pairs = [
        Example(problem_id, questions.get(problem_id, problem_id), first[problem_id][0], last[problem_id][0])
        for problem_id in sorted(first.keys() & last.keys())
    ]
    pairs.sort(
        key=lambda pair: (_rank(pair), len(pair.after.program.text) + len(pair.before.program.text), pair.problem_id)
    )
    chosen: list[Example] = []
    kinds: Counter[tuple[str, str]] = Counter()
    for repetitions in range(count + 1):
        for pair in pairs:
            kind = (pair.before.feedback.outcome, pair.before.feedback.error_name)
            if (
                len(chosen) < count
                and pair not in chosen
                and kinds[kind] <= repetitions
                and (repetitions or _rank(pair) == 0)
            ):
                kinds[kind] += 1
                chosen.append(pair)
    return chosen


def _rank(pair: Example) -> int:
    was, is_now = pair.before.feedback.outcome == "pass", pair.after.feedback.outcome == "pass"
    return {(False, True): 0, (True, True): 1, (False, False): 2, (True, False): 3}[was, is_now]


def _by_problem(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    grouped: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.program.id):
        grouped[sample.program.problem_id].append(sample)
    return grouped
