"""Problems, the unit tests that judge them, the prompts that state them, and the programs of supervised training."""

from rltf.problems.corpus import Corpus, tokenizer_texts
from rltf.problems.held_out import ProblemSets, problem_sets
from rltf.problems.loading import corpus_of, load_problems, read_problems
from rltf.problems.problem import Problem, ProblemSet, Skipped, TestSuite, Unread
from rltf.problems.prompts import Prompt, prompt_of

__all__ = [
    "Corpus",
    "Problem",
    "ProblemSet",
    "ProblemSets",
    "Prompt",
    "Skipped",
    "TestSuite",
    "Unread",
    "corpus_of",
    "load_problems",
    "problem_sets",
    "prompt_of",
    "read_problems",
    "tokenizer_texts",
]
