"""Words for what several parts show: kinds of workers and what they make, outcomes, evaluations.

Roles are KIND-NUMBER (`actor-0`, `executor-3`, `learner-0`); each kind makes one thing, counted by `PRODUCTS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OUTCOME_WORDS = {
    "pass": "passed",
    "failure": "wrong answer",
    "runtime_error": "runtime error",
    "compile_error": "syntax error",
}


@dataclass(frozen=True, slots=True)
class Product:
    """What workers of one kind make: the counter's name and the verb shown."""

    kind: str
    counter: str
    verb: str


PRODUCTS = (
    Product("actor", "programs", "generated"),
    Product("executor", "programs", "graded"),
    Product("learner", "samples", "trained"),
)


def outcome_shares(outcomes: Mapping[str, int]) -> dict[str, float]:
    """Each outcome's share of all programs, all four present; empty for no programs."""
    total = sum(outcomes.values())
    return {outcome: outcomes.get(outcome, 0) / total for outcome in OUTCOME_WORDS} if total else {}


_FIGURE = re.compile(r"(pass|max)@([1-9]\d*)")


def figures_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the figures that one of the evaluations has: every pass@k, then every max@k, k ascending."""
    found = {match for row in rows for name in row if (match := _FIGURE.fullmatch(name))}
    ordered = sorted((match[1] == "max", int(match[2]), match[0]) for match in found)
    return list(dict.fromkeys(name for _, _, name in ordered))


def estimate(row: Mapping[str, Any], figure: str = "pass@1", digits: int = 3) -> str:
    """A figure of an evaluation with its standard error; a dash where it had too few programs per problem for it."""
    if figure not in row:
        return "–"
    error = row.get(f"{figure}_se")
    return f"{row[figure]:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")


def without_better(best_by: str, evaluations: int) -> str:
    """Why training ended early, in words: "no better pass@1 for 3 evaluations"."""
    return f"no better {best_by} for {evaluations} {plural('evaluation', evaluations)}"


def kind_of(role: str) -> str:
    """`executor-3` is an `executor`; a role without a number is a kind of its own."""
    kind, dash, number = role.rpartition("-")
    return kind if dash and number.isdigit() else role


def few(names: Sequence[str], shown: int = 3) -> str:
    """ "executor-0, executor-1, executor-2 and 5 more"."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def plural(kind: str, number: int = 2) -> str:
    """The kind in words: 1 actor, 2 actors."""
    return kind if number == 1 else f"{kind}s"
