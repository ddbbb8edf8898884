"""What a model is shown of a problem. Training, generation and evaluation use the same text, byte for byte.

The released code of the paper trains on one prompt and generates from another (newlines differ, and one chooses the
format line by `starter_code.py`, the other by `fn_name`). Here there is one: the layout of APPS' own training code,
with the format line chosen by how the tests really call the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rltf.config.choice import chosen
from rltf.config.user_code import UserFunction, is_user_name
from rltf.problems.problem import Problem

MAX_QUESTION_CHARS = 150_000
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


def apps(problem: Problem) -> Prompt:
    """APPS' own (arXiv 2105.09938), which CodeRL and RLTF train with: question, starter code, how it is called."""
    call_based = problem.suite.kind != "stdin"
    answer_format = "\nUse Call-Based format\n" if call_based else "\nUse Standard Input format\n"
    return Prompt("\nQUESTION:\n", problem.question, f"\n{problem.starter_code}\n{answer_format}\nANSWER:\n")


def mbpp(problem: Problem) -> Prompt:
    """MBPP's own (arXiv 2108.07732), zero-shot: the question and the first of the tests.

    Those tests are among the ones that judge the program; the paper shows three.
    """
    starter = f"\n\n{problem.starter_code}\n" if problem.starter_code else ""
    shown = problem.suite.asserts[: problem.shown_tests]
    if not shown:
        return Prompt("", problem.question, f"{starter}\n")
    tests = "".join(f"{statement}\n" for statement in shown)
    return Prompt("", problem.question, f"{starter or ' '}Your code should satisfy these tests:\n\n{tests}\n")


def starter(problem: Problem) -> Prompt:
    """The question and a line end."""
    return Prompt("", problem.question, "\n")


Style = Callable[[Problem], Prompt]
STYLES: dict[str, Style] = {"apps": apps, "mbpp": mbpp, "starter": starter}
"""Every format in which a problem can be shown, by the names that `Problem.prompt_style` gives them."""
AUTO = "auto"
"""The `problems.prompt_style` that leaves each problem its data set's own."""


def _is_text(given: object) -> bool:
    """Whether it is text that UTF-8 can hold, as tokenizers need it."""
    return isinstance(given, str) and given == given.encode(errors="replace").decode()


class UserStyle(UserFunction):
    """A prompt style of the user's (`run.code`), `def style(problem: Problem) -> Prompt`."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "problems.prompt_style", ["problem"])

    def __call__(self, problem: Problem) -> Prompt:
        """The prompt. Raises UserError where the function raises anything, or gives no Prompt of UTF-8 text."""
        subject = f"problem {problem.id}"
        prompt = self.call(subject, problem)
        if not isinstance(prompt, Prompt) or not all(map(_is_text, (prompt.before, prompt.question, prompt.after))):
            raise self.refused(subject, prompt, "a rltf.problems.Prompt of three texts")
        return prompt


def style_named(name: str) -> Style:
    """A prompt style, the user's own for `module:name`. Raises UserError for a name that none has."""
    return UserStyle(name) if is_user_name(name) else chosen(STYLES, name, "problems.prompt_style")


def prompt_of(problem: Problem) -> Prompt:
    """Prompt of a problem in its `prompt_style`."""
    prompt = style_named(problem.prompt_style)(problem)
    return replace(prompt, question=prompt.question[:MAX_QUESTION_CHARS])
