"""From scores to results.json: every figure of an evaluation, overall and by difficulty."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rltf.buffer.records import OUTCOMES, count_error_types
from rltf.evaluation.bootstrap import intervals, means
from rltf.evaluation.errors import CATEGORIES, ELSE, three_way
from rltf.evaluation.estimators import max_at_k, n_at_k, pass_curve
from rltf.evaluation.scores import ProblemScores, SetScores

ALL = "all"
"""The group of all problems."""
SUBMISSIONS = (1, 5)
"""The n of n@k."""
_EASIEST_FIRST = ("introductory", "easy", "interview", "medium", "medium_hard", "hard", "competition", "very_hard")
_SHORT = {"introductory": "Intro", "interview": "Inter", "competition": "Comp"}
"""As the paper heads its columns."""


def heading(group: str) -> str:
    """A group of problems as a column is headed."""
    return _SHORT.get(group.lower(), group)


def results_of(sets: Sequence[SetScores], ks: Sequence[int], seed: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What results.json says: `facts` (model, sampling ..), the sets with their figures, and every problem's counts.

    `ks`: the k of pass@k, max@k and n@k; one that no problem has enough programs for is left out. `seed`: of the
    bootstrap.
    """
    return {
        **facts,
        "k": list(ks),
        "sets": [
            {
                "problems": one.name,
                "groups": {
                    name: _figures(problems, _possible(one.problems, ks), seed, curve=name == ALL)
                    for name, problems in groups(one.problems).items()
                },
                "failed_without_program": [
                    {"problem": row.id, "reason": row.why_none} for row in one.problems if row.failed_unasked
                ],
                "without_verdict": {row.id: row.lost for row in one.problems if row.lost > 0},
                "left_out": [{"problem": skipped.where, "reason": skipped.reason} for skipped in one.left_out],
            }
            for one in sets
        ],
        "problems": [problem_row(one.name, row) for one in sets for row in one.problems],
    }


def problem_row(name: str, row: ProblemScores) -> dict[str, Any]:
    """A problem's counts; `accepted` is there where it has example tests."""
    found = {
        "id": row.id,
        "set": name,
        "difficulty": row.difficulty,
        "tests": row.tests,
        "samples": row.samples,
        "passed": row.passed,
        "tests_passed": math.fsum(row.shares) / max(1, row.samples),
        "failed_without_program": row.failed_unasked,
    }
    return found | ({"accepted": row.accepted} if row.examples else {})


def groups(problems: Sequence[ProblemScores]) -> dict[str, list[ProblemScores]]:
    """Problems by difficulty, the easiest first, and all of them last; these alone where there is one difficulty."""
    names = sorted({row.difficulty for row in problems}, key=_place)
    by_name = {name: [row for row in problems if row.difficulty == name] for name in names}
    return (by_name if len(names) > 1 else {}) | {ALL: list(problems)}


def _place(difficulty: str) -> tuple[int, str]:
    known = difficulty.lower()
    return (_EASIEST_FIRST.index(known) if known in _EASIEST_FIRST else len(_EASIEST_FIRST), difficulty)


def _possible(problems: Sequence[ProblemScores], ks: Sequence[int]) -> list[int]:
    """The k that some problem of a set has enough programs for."""
    most = max((row.samples for row in problems), default=0)
    return [k for k in ks if k <= most]


def metrics(problems: Sequence[ProblemScores], ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """By name of a metric its value for each problem, (P,): NaN where the problem has too few programs for it; none
    where all have.
    """
    found = {f"pass@{k}": [_pass_at(row, k) for row in problems] for k in ks}
    found |= {f"max@{k}": [_max_at(row, k) for row in problems] for k in ks}
    if any(row.examples for row in problems):
        found |= {f"{n}@{k}": [_n_at(row, n, k) for row in problems] for k in ks for n in SUBMISSIONS if n < k}
    arrays = {name: np.array(values, np.float64) for name, values in found.items()}
    return {name: values for name, values in arrays.items() if not np.isnan(values).all()}


def _pass_at(row: ProblemScores, k: int) -> float:
    if row.failed_unasked:
        return 0.0
    return float(pass_curve(row.samples, row.passed)[k - 1]) if k <= row.samples else math.nan


def _max_at(row: ProblemScores, k: int) -> float:
    if row.failed_unasked:
        return 0.0
    return max_at_k(row.shares, k) if k <= row.samples else math.nan


def _n_at(row: ProblemScores, n: int, k: int) -> float:
    if row.failed_unasked:
        return 0.0
    return n_at_k(row.samples, row.accepted, row.passed, n, k) if k <= row.samples else math.nan


def _figures(problems: Sequence[ProblemScores], ks: Sequence[int], seed: int, curve: bool) -> dict[str, Any]:
    values = metrics(problems, ks)
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    errors: Counter[str] = Counter()
    categories: Counter[str] = Counter(dict.fromkeys((*CATEGORIES, ELSE), 0))
    for row in problems:
        outcomes.update(row.outcomes)
        errors.update(row.errors)
        categories.update(row.categories)
    figures: dict[str, Any] = {
        "problems": len(problems),
        "programs": outcomes.total(),
        "metrics": _with_intervals(values, seed),
        "outcomes": dict(outcomes),
        "error_mix": three_way(outcomes) | {"errors": dict(categories)},
        "error_types": count_error_types(errors.elements()),
        "by_length": _by_length(problems),
        "by_tests": _by_tests(problems),
    }
    return figures | ({"pass_at_every_k": _curve(problems)} if curve else {})


def _with_intervals(values: Mapping[str, NDArray[np.float64]], seed: int) -> dict[str, Any]:
    if not values:
        return {}
    matrix = np.stack(list(values.values()), axis=1)
    ends = intervals(matrix, seed)
    return {
        name: {"value": float(mean), "low": float(low), "high": float(high), "problems": int(number)}
        for name, mean, low, high, number in zip(
            values, means(matrix), ends[0], ends[1], (~np.isnan(matrix)).sum(axis=0), strict=True
        )
    }


def _curve(problems: Sequence[ProblemScores]) -> list[float]:
    """pass@1 .. pass@n over all problems, n the fewest programs that a problem with any has."""
    least = min((row.samples for row in problems if row.samples), default=0)
    if not least or any(row.asked and not row.samples for row in problems):
        return []
    total = np.sum([pass_curve(row.samples, row.passed)[:least] for row in problems if row.samples], axis=0)
    return [float(value) for value in total / len(problems)]


def _by_length(problems: Sequence[ProblemScores]) -> list[dict[str, Any]]:
    """Programs and the share of them that passes, by length: tokens, or characters where a program has no tokens."""
    found: Counter[tuple[int, bool]] = Counter()
    for row in problems:
        found.update(row.lengths)
    return [
        _bin(bits, found[bits, True], found[bits, True] + found[bits, False]) for bits in sorted({b for b, _ in found})
    ]


def _by_tests(problems: Sequence[ProblemScores]) -> list[dict[str, Any]]:
    """The same by the number of tests of the problem."""
    found: dict[int, list[int]] = {}
    for row in problems:
        into = found.setdefault(max(row.tests, 1).bit_length() - 1, [0, 0])
        into[0] += row.passed
        into[1] += row.samples
    return [_bin(bits, passed, programs) for bits, (passed, programs) in sorted(found.items()) if programs]


def _bin(bits: int, passed: int, programs: int) -> dict[str, Any]:
    """Bins are powers of two, both ends included."""
    return {"from": 2**bits, "to": 2 ** (bits + 1) - 1, "programs": programs, "pass_rate": passed / programs}
