"""Programs for supervised training: the warm start, the supervised term of the objective, the control run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from rltf.problems.problem import Problem
from rltf.problems.prompts import Prompt, prompt_of

TOKENIZER_DRAWS = 2000
"""Corpus programs that a tokenizer is trained on, each with its prompt."""


class Corpus(Protocol):
    """A source of pairs to train on."""

    def draw(self, rng: random.Random) -> tuple[Prompt, str]:
        """A prompt and the text of a program for it. All randomness comes from `rng`."""
        ...


class SolutionCorpus:
    """Uniform over the solutions of all problems, as the paper's released code draws: a problem with many solutions
    comes more often.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._pairs = [(prompt_of(problem), program) for problem in problems for program in problem.solutions]
        if not self._pairs:
            raise ValueError("no problem has a solution")

    def draw(self, rng: random.Random) -> tuple[Prompt, str]:
        """A prompt and one of its problem's solutions."""
        return rng.choice(self._pairs)


class MixedCorpus:
    """Several corpora, each with its share of what is drawn."""

    def __init__(self, corpora: Sequence[Corpus], weights: Sequence[int]) -> None:
        self._corpora = list(corpora)
        self._weights = list(weights)

    def draw(self, rng: random.Random) -> tuple[Prompt, str]:
        """What the corpus draws that is drawn first."""
        return rng.choices(self._corpora, self._weights)[0].draw(rng)


def tokenizer_texts(corpus: Corpus, seed: int) -> list[str]:
    """Prompts and programs that a tokenizer is trained on, the same for the same seed."""
    rng = random.Random(f"{seed}:tokenizer")
    pairs = [corpus.draw(rng) for _ in range(TOKENIZER_DRAWS)]
    return [text for prompt, program in pairs for text in (prompt.text, program)]
