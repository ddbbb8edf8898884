"""Problems, the unit tests that judge them, the prompts that state them, and the programs of supervised training."""

from rltf.problems.corpus import Corpus, tokenizer_texts
from rltf.problems.loading import corpus_of, load_problems, read_problems
from rltf.problems.problem import Problem, ProblemSet, Skipped, TestSuite, UnreadFields
from rltf.problems.prompts import Prompt, prompt_of
from rltf.problems.split import ProblemSplit, load_problem_split

__all__ = [
    "Corpus",
    "Problem",
    "ProblemSet",
    "ProblemSplit",
    "Prompt",
    "Skipped",
    "TestSuite",
    "UnreadFields",
    "corpus_of",
    "load_problems",
    "load_problem_split",
    "prompt_of",
    "read_problems",
    "tokenizer_texts",
]
