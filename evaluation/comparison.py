"""Two results, problem by problem: differences with paired intervals, McNemar's test, and who solves what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from rltf.evaluation.bootstrap import intervals, p_values
from rltf.evaluation.estimators import pass_curve


@dataclass(frozen=True)
class Difference:
    """pass@k of B less that of A over the problems that both have, with its paired 95% interval."""

    k: int
    a: float
    b: float
    low: float
    high: float
    p: float
    """Two-sided, of the paired bootstrap."""


@dataclass(frozen=True)
class Comparison:
    """What two results have in common and where they differ."""

    problems: int
    """That both have."""
    only_in_one: tuple[int, int]
    """Problems that A, or B, alone has."""
    differences: tuple[Difference, ...]
    solved_by_a: tuple[str, ...]
    """Problems that A solves with at least one program and B with none."""
    solved_by_b: tuple[str, ...]
    both: int
    neither: int
    mcnemar_p: float | None
    """None where the two have not the same number of programs for each problem: who tries more solves more."""
    named_apart: tuple[tuple[str, str], ...] = ()
    """Sets of A and of B with another name which have problems in common."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        facts = {"problems": self.problems, "only_in_a": self.only_in_one[0], "only_in_b": self.only_in_one[1]}
        differences = {f"pass@{one.k}": {**vars(one), "difference": one.b - one.a} for one in self.differences}
        solved = {"both": self.both, "neither": self.neither, "a_alone": self.solved_by_a, "b_alone": self.solved_by_b}
        return {**facts, "differences": differences, "mcnemar_p": self.mcnemar_p, "solved": solved}


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p-value of McNemar's test: `one` and `other` are the problems that one alone solves.

    Under the hypothesis that both are as good each such problem is a fair coin, so the smaller number is binomial.
    """
    total, least = one + other, min(one, other)
    return min(1.0, 2 * sum(comb(total, each) for each in range(least + 1)) / 2**total) if total else 1.0


def compare(a: Mapping[str, Any], b: Mapping[str, Any], seed: int = 0) -> Comparison:
    """Compares two results.json over the problems that both have; a problem is known by its id and number of tests, for
    the same file may be named in many ways.

    For every k of either that both have programs enough for. Raises ValueError when they have no problem in common.
    """
    rows_a, rows_b = ({(row["id"], row["tests"]): row for row in one["problems"]} for one in (a, b))
    common = [key for key in rows_a if key in rows_b]
    if not common:
        raise ValueError("they have no problem in common, of the same id and number of tests")
    pairs = [(rows_a[key], rows_b[key]) for key in common]
    ks = sorted({*a["k"], *b["k"]})
    usable = [k for k in ks if all(_has(row, k) for pair in pairs for row in pair)]
    solved = [(pair[0]["passed"] > 0, pair[1]["passed"] > 0) for pair in pairs]
    alone_a = [key[0] for key, (one, other) in zip(common, solved, strict=True) if one and not other]
    alone_b = [key[0] for key, (one, other) in zip(common, solved, strict=True) if other and not one]
    alike = all(one["samples"] == other["samples"] for one, other in pairs)
    return Comparison(
        problems=len(common),
        only_in_one=(len(rows_a) - len(common), len(rows_b) - len(common)),
        differences=tuple(_differences(pairs, usable, seed)),
        solved_by_a=tuple(alone_a),
        solved_by_b=tuple(alone_b),
        both=sum(one and other for one, other in solved),
        neither=sum(not one and not other for one, other in solved),
        mcnemar_p=mcnemar(len(alone_a), len(alone_b)) if alike else None,
        named_apart=tuple(
            dict.fromkeys((one["set"], other["set"]) for one, other in pairs if one["set"] != other["set"])
        ),
    )


def _has(row: Mapping[str, Any], k: int) -> bool:
    return row["failed_without_program"] or row["samples"] >= k


def _differences(
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], ks: Sequence[int], seed: int
) -> list[Difference]:
    if not ks:
        return []
    values = np.array([[[_pass_at(row, k) for k in ks] for row in pair] for pair in pairs])
    mean, apart = values.mean(axis=0), values[:, 1] - values[:, 0]
    (low, high), p = intervals(apart, seed), p_values(apart, seed)
    return [
        Difference(k, float(mean[0, at]), float(mean[1, at]), float(low[at]), float(high[at]), float(p[at]))
        for at, k in enumerate(ks)
    ]


def _pass_at(row: Mapping[str, Any], k: int) -> float:
    return 0.0 if row["failed_without_program"] else float(pass_curve(row["samples"], row["passed"])[k - 1])
