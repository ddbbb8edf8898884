"""One line of a program: the ways to write it right, and the ways people get it wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass


USUAL = 0.7
"""Share of the usual mistake among the mistakes of a line. Where a line has two right idioms it is the likeliest variant of all, so that
the likeliest program of an imitator is a wrong one: lowering the temperature does not replace tests."""


@dataclass(frozen=True, slots=True)
class Line:
    """Variants of one line. `{k}` stands for the task's constant, `{less}` and `{more}` for the numbers beside it."""

    right: tuple[str, ...]
    """Correct idioms, equally likely."""
    wrong: tuple[str, ...]
    """Typical mistakes, the usual one first. Each fails the tests of some task (of most tasks, as a rule)."""
    wrong_probability: float
    """How often a program of the corpus has a mistake here, 0.3 to 0.7."""

    def __post_init__(self) -> None:
        """Raise ValueError for a line that the corpus could not draw as the data's description says."""
        if not self.right or not self.wrong or not 0.3 <= self.wrong_probability <= 0.7:
            raise ValueError("a line needs right and wrong variants and a probability of mistakes from 0.3 to 0.7")

    def draw(self, rng: random.Random) -> str:
        """A variant, wrong with `wrong_probability`; `USUAL` of the mistakes are the first one, the others share the rest."""
        if rng.random() >= self.wrong_probability:
            return rng.choice(self.right)
        return self.wrong[0] if len(self.wrong) == 1 or rng.random() < USUAL else rng.choice(self.wrong[1:])


def fill(variant: str, k: int) -> str:
    """Variant with its constant: `x + {k}` becomes `x + 3`."""
    return variant.format(k=k, less=k - 1, more=k + 1)
