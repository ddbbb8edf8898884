"""Prompt styles that are Jinja files: the project's own in `problems/templates`, and a user's.

A template is rendered in Jinja's sandbox. It is given `question`, `starter_code`, `tests` (those that may be shown, as
texts), `kind` (stdin, call or assert), `entry_point` (empty where no function is asked for), `difficulty`, `id` and
`demonstrations` (solved problems of a few-shot prompt, each a `question`, `tests` and `code`), and may set
`answer_prefix` (how the response begins), `program` (which part of it is the program, `prompt.program`) and `stop`
(texts that end it). `raise_exception(text)` refuses a problem.
"""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rltf.config import UserError, first_line
from rltf.config.choice import first_sentence, suggest
from rltf.config.prompt import AUTO, PROGRAMS
from rltf.problems.problem import Problem

FOLDER = Path(__file__).with_name("templates")
ENDING = ".jinja"
QUESTION = "\ue000question\ue001"
"""Stands in for the question where it is looked for: characters of Unicode's private use."""
_COMMENT = re.compile(r"\{#-?(.*?)-?#\}", re.DOTALL)


class PromptTemplate:
    """A prompt style that is a Jinja file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def about(self) -> str:
        """First sentence of the comment that the file begins with."""
        found = _COMMENT.match(self.path.read_text(encoding="utf-8"))
        return first_sentence(found[1]) if found else ""

    def parts(self, problem: Problem, tests: Sequence[str], entry_point: str) -> dict[str, Any]:
        """The fields of a Prompt.

        Raises UserError, with file and line, where the template cannot be rendered, sets what it should not, or has the
        question more than once, for then it could not be cut to fit.
        """
        values = {
            "starter_code": problem.starter_code,
            "tests": tests,
            "kind": problem.suite.kind,
            "entry_point": entry_point,
            "difficulty": problem.difficulty,
            "id": problem.id,
            "demonstrations": [_solved(one, problem.shown_tests) for one in problem.demonstrations],
        }
        found = self._rendered(problem, values | {"question": problem.question})
        frame = str(self._rendered(problem, values | {"question": QUESTION}))
        before, marked, after = frame.partition(QUESTION)
        text = str(found)
        if QUESTION in after:
            raise UserError(f"{self.path} has the question more than once for problem {problem.id}")
        if not marked:
            before, after = "", text  # nothing of it may be cut
        elif not (text.startswith(before) and text[len(before) :].endswith(after)):
            raise UserError(f"{self.path}: what stands around the question of problem {problem.id} depends on it")
        return {
            "before": before,
            "question": text[len(before) : len(text) - len(after)],
            "after": after,
            **self._settings(found),
        }

    def _settings(self, module: Any) -> dict[str, Any]:
        prefix, program = getattr(module, "answer_prefix", ""), getattr(module, "program", "")
        stop = getattr(module, "stop", [])
        if not isinstance(prefix, str) or not isinstance(program, str):
            raise UserError(f"{self.path}: answer_prefix and program must be texts")
        if program and (program not in PROGRAMS or program == AUTO):
            raise UserError(f"{self.path}: program {program!r} is unknown; {suggest(program, PROGRAMS)}")
        if not isinstance(stop, list) or not all(isinstance(text, str) and text for text in stop):
            raise UserError(f"{self.path}: stop must be a list of texts that are not empty")
        return {"answer_prefix": prefix, "program": program, "stop": tuple(stop)}

    def _rendered(self, problem: Problem, values: dict[str, Any]) -> Any:
        """The rendered text, which has what the template sets as attributes."""
        template = _compiled(self.path)
        try:
            return template.make_module(values)
        except Exception as error:  # of whatever kind: the template is the user's
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(self.path)]
            line = f", line {template.get_corresponding_lineno(frames[-1].lineno)}" if frames else ""
            raise UserError(f"{self.path}{line}, for problem {problem.id}: {first_line(error)}") from error


def _solved(problem: Problem, shown_tests: int) -> dict[str, Any]:
    """A problem of a few-shot prompt, with as many tests as the prompt's own problem shows."""
    tests = replace(problem, shown_tests=shown_tests).shown_asserts
    return {"question": problem.question, "tests": tests, "code": problem.solutions[0].rstrip()}


def _refuse(text: str) -> None:
    """Raises ValueError: of a template that cannot put a problem."""
    raise ValueError(text)


@functools.cache
def _compiled(path: Path) -> Any:
    """Raises UserError where there is no such file, or it is no template."""
    try:
        from jinja2 import StrictUndefined, TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ModuleNotFoundError:
        raise UserError(
            "prompts are written with the package jinja2, which is not installed: pip install jinja2"
        ) from None
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["raise_exception"] = _refuse
    try:
        source = path.read_text(encoding="utf-8")
        code = environment.compile(source, filename=str(path))
    except OSError as error:
        raise UserError(f"problems.prompt_style {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"problems.prompt_style {path} is no UTF-8 text") from None
    except TemplateSyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.message}") from None
    return environment.template_class.from_code(environment, code, environment.make_globals(None))
