"""What a model is shown of a problem. Training, generation and evaluation use the same text, byte for byte.

The released code of the paper trains on one prompt and generates from another (newlines differ, and one chooses the
format line by `starter_code.py`, the other by `fn_name`). Here there is one: the layout of APPS' own training code,
with the format line chosen by how the tests really call the program.
"""

from __future__ import annotations

from dataclasses import dataclass

from rltf.problems.problem import Problem

LONGEST_QUESTION = 150_000
"""Characters of a question that are looked at before it is cut to a number of tokens."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in three parts, of which only `question` may be cut: the tail tells the model what to write."""

    before: str
    question: str
    after: str

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.before + self.question + self.after


def prompt_of(problem: Problem) -> Prompt:
    """Prompt of a problem in its `prompt_style`."""
    question = problem.question[:LONGEST_QUESTION]
    if problem.prompt_style == "apps":
        return _apps(question, problem.starter_code, call_based=problem.suite.kind != "stdin")
    if problem.prompt_style == "mbpp":
        return _mbpp(question, problem.starter_code, problem.suite.asserts[: problem.shown_tests])
    return Prompt("", question, "\n")


def _apps(question: str, starter_code: str, call_based: bool) -> Prompt:
    """The format of Hendrycks et al. (arXiv 2105.09938), which CodeRL and RLTF train with."""
    answer_format = "\nUse Call-Based format\n" if call_based else "\nUse Standard Input format\n"
    return Prompt("\nQUESTION:\n", question, "\n" + starter_code + "\n" + answer_format + "\nANSWER:\n")


def _mbpp(question: str, starter_code: str, shown: tuple[str, ...]) -> Prompt:
    """The format of Austin et al.

    (arXiv 2108.07732), zero-shot: description and, they show three, the first of the tests.

    Those tests are among the ones that judge the program.
    """
    starter = f"\n\n{starter_code}\n" if starter_code else ""
    if not shown:
        return Prompt("", question, f"{starter}\n")
    tests = "".join(f"{statement}\n" for statement in shown)
    return Prompt("", question, f"{starter or ' '}Your code should satisfy these tests:\n\n{tests}\n")
