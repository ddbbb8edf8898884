"""Problems, the unit tests that judge them, the prompts that state them, and the programs of supervised training."""

from problems.corpus import Corpus, corpus_of
from problems.loading import load_problems
from problems.problem import Problem, ProblemSet, Skipped, TestSuite
from problems.prompts import Prompt, prompt_of

__all__ = ["Corpus", "Problem", "ProblemSet", "Prompt", "Skipped", "TestSuite", "corpus_of", "load_problems", "prompt_of"]
