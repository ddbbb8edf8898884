"""What a model is shown of a problem. Training, generation and evaluation use the same text, byte for byte.

The released code of the paper trains on one prompt and generates from another (newlines differ, and one chooses the
format line by `starter_code.py`, the other by `fn_name`). Here there is one: the layout of APPS' own training code,
with the format line chosen by how the tests really call the program.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rltf.config import UserFunction, chosen, is_user_name
from rltf.problems.problem import Problem
from rltf.problems.prompt_templates import ENDING, FOLDER, PromptTemplate

MAX_QUESTION_CHARS = 150_000
"""Characters of a question that are looked at before it is cut to a number of tokens."""
_CALLED = re.compile(r"(?<![\w.])([^\W\d]\w*)\s*\(")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in three parts, of which only `question` may be cut: the tail tells the model what to write."""

    before: str
    question: str
    after: str
    answer_prefix: str = ""
    """How the response begins, by the prompt itself (`prompt.answer_prefix`)."""
    program: str = ""
    """Which part of the response is the program (`prompt.program`); empty: the prompt does not say."""
    stop: tuple[str, ...] = ()
    """Texts that end a response, beside those of `prompt.stop`."""
    entry_point: str = ""
    """The function asked for; empty where there is none."""
    starter_code: str = ""
    """Code that the program is to begin with."""

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.before + self.question + self.after


Style = Callable[[Problem], Prompt]


class TemplateStyle:
    """A prompt style that is a Jinja file (`problems.prompt_templates`)."""

    def __init__(self, path: Path) -> None:
        self._template = PromptTemplate(path)

    @property
    def about(self) -> str:
        """What it is, in a sentence."""
        return self._template.about

    def __call__(self, problem: Problem) -> Prompt:
        """The prompt. Raises UserError as PromptTemplate.parts."""
        return Prompt(**self._template.parts(problem, problem.shown_asserts, entry_point(problem)))


STYLES: dict[str, TemplateStyle] = {
    name: TemplateStyle(FOLDER / f"{name}{ENDING}")
    for name in ("apps", "mbpp", "mbpp_marked", "mbpp_three_shot", "humaneval", "evalplus", "instruct", "starter")
}
"""Every format in which a problem can be shown, by the names that `Problem.prompt_style` gives them."""
AUTO = "auto"
"""The `problems.prompt_style` that leaves each problem its data set's own."""


def entry_point(problem: Problem) -> str:
    """The function that a problem asks for: the one its tests name, or the first of the program's that they call."""
    suite = problem.suite
    if suite.fn_name or suite.kind != "assert":
        return suite.fn_name or ""
    called = (name for test in suite.asserts for name in _CALLED.findall(test))
    return next((name for name in called if not keyword.iskeyword(name) and not hasattr(builtins, name)), "")


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
    """A prompt style: the user's own for `module:name` and for a Jinja file.

    Raises UserError for a name that none has.
    """
    if name.endswith(ENDING):
        return TemplateStyle(Path(name))
    return UserStyle(name) if is_user_name(name) else chosen(STYLES, name, "problems.prompt_style")


def prompt_of(problem: Problem) -> Prompt:
    """Prompt of a problem in its `prompt_style`."""
    prompt = style_named(problem.prompt_style)(problem)
    return replace(
        prompt,
        question=prompt.question[:MAX_QUESTION_CHARS],
        entry_point=prompt.entry_point or entry_point(problem),
        starter_code=prompt.starter_code or problem.starter_code,
    )
