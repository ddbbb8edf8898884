"""What is in a problem set, in figures."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rltf.problems.problem import ProblemSet
from rltf.problems.prompts import prompt_of
from rltf.problems.split import statement_of


def summary(problems: ProblemSet) -> dict[str, Any]:
    """Figures of a set: counts, kinds, tests, references, difficulties, duplicates, lengths in characters."""
    statements = Counter(map(statement_of, problems))
    return {
        "problems": len(problems),
        "left_out": len(problems.skipped),
        "kinds": dict(Counter(problem.suite.kind for problem in problems)),
        "difficulty": dict(Counter(problem.difficulty for problem in problems)),
        "tests": spread([problem.suite.count for problem in problems]),
        "with_examples": sum(bool(problem.example_tests) for problem in problems),
        "with_solutions": sum(bool(problem.solutions) for problem in problems),
        "solutions": sum(len(problem.solutions) for problem in problems),
        "duplicates": len(problems) - len(statements),
        "prompt_characters": spread([len(prompt_of(problem).text) for problem in problems]),
        "solution_characters": spread([len(program) for problem in problems for program in problem.solutions]),
    }


def spread(numbers: Sequence[int], limit: int | None = None) -> dict[str, float]:
    """Sum, least, median, 90th percentile and most of some numbers, and how many are above a limit; empty for none."""
    if not numbers:
        return {}
    ordered = sorted(numbers)
    found = {
        "sum": sum(ordered),
        "min": ordered[0],
        "median": statistics.median(ordered),
        "p90": ordered[(9 * (len(ordered) - 1) + 5) // 10],
        "max": ordered[-1],
    }
    return found if limit is None else found | {"limit": limit, "above": sum(number > limit for number in ordered)}
