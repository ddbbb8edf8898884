"""One line of a program: the ways to write it right, and the ways people get it wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineTemplate:
    """Variants of one line. `{k}` stands for the task's constant, `{less}` and `{more}` for the numbers beside it."""

    right: tuple[str, ...]
    """Correct idioms, equally likely."""
    wrong: tuple[str, ...]
    """Typical mistakes, equally likely. Each fails the tests of some task (of most tasks, as a rule)."""
    wrong_probability: float
    """How often a program of the corpus has a mistake here, 0.3 to 0.7."""

    def __post_init__(self) -> None:
        """Raise ValueError for a line that the corpus could not draw as the data's description says."""
        if not self.right or not self.wrong or not 0.3 <= self.wrong_probability <= 0.7:
            raise ValueError("a line needs right and wrong variants and a probability of mistakes from 0.3 to 0.7")

    def draw(self, rng: random.Random) -> str:
        """A variant, wrong with `wrong_probability`."""
        return rng.choice(self.wrong if rng.random() < self.wrong_probability else self.right)


def fill(variant: str, k: int) -> str:
    """Variant with its constant: `x + {k}` becomes `x + 3`."""
    return variant.format(k=k, less=k - 1, more=k + 1)
