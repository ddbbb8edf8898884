"""Programs for supervised training: the warm start, the supervised term of the objective, the control run."""

from __future__ import annotations

import random
from typing import Protocol

from rltf.config import UserError
from rltf.problems.problem import Problem, ProblemSet
from rltf.problems.prompts import Prompt, prompt_of
from rltf.problems.starter.corpus import StarterCorpus


class Corpus(Protocol):
    """A source of pairs to train on."""

    def draw(self, rng: random.Random) -> tuple[Prompt, str]:
        """A prompt and the text of a program for it. All randomness comes from `rng`."""
        ...


class SolutionCorpus:
    """Uniform over the solutions of all problems, as the paper's released code draws: a problem with many solutions
    comes more often.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self._pairs = [(prompt_of(problem), program) for problem in problems for program in problem.solutions]
        if not self._pairs:
            raise ValueError("no problem has a solution")

    def draw(self, rng: random.Random) -> tuple[Prompt, str]:
        """A prompt and one of its problem's solutions."""
        return rng.choice(self._pairs)


def corpus_of(problem_set: ProblemSet) -> Corpus:
    """Corpus of a set: for `starter` programs drawn with bugs, never a reference; otherwise the solutions.

    Raises UserError when there is nothing to train on.
    """
    if problem_set.problems and all(problem.prompt_style == "starter" for problem in problem_set):
        return StarterCorpus(problem_set.problems)
    try:
        return SolutionCorpus(problem_set.problems)
    except ValueError:
        raise UserError(
            f"{problem_set.name}: none of its problems has a solution, so there is nothing for supervised training"
        ) from None
