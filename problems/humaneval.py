"""HumanEval (Chen et al., arXiv 2107.03374): 164 heads of functions to be completed, judged by `check(candidate)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from rltf.problems.files import unix_lines
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.python_source import docstring_of, parsed
from rltf.problems.records import Format, problems_of, rows_of, text
from rltf.problems.spec import Source, Spec


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of a `humaneval` SPEC. Raises UserError when the file cannot be read."""
    yield from problems_of(spec, rows_of(spec, "openai/openai_humaneval", "test"), FORMAT)


def from_record(name: str, record: dict[str, Any]) -> Problem:
    """Problem of one record. Raises ValueError with what is wrong with it."""
    entry_point, test = entry_point_of(record), unix_lines(text(record, "test"))
    prompt = parsed("its prompt", unix_lines(text(record, "prompt")))
    setup = _helpers(prompt, parsed("its test", test), entry_point) + test
    suite = TestSuite("assert", entry_point, (), (), (f"check({entry_point})",), setup=setup)
    return completion(name, record, suite)


def _helpers(prompt: ast.Module, test: ast.Module, entry_point: str) -> str:
    """Functions of the prompt that the test calls too: those of the program could be any others."""
    used = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)} - {entry_point}
    helpers = [node for node in prompt.body if isinstance(node, ast.FunctionDef) and node.name in used]
    if not helpers:
        return ""
    imports = [node for node in prompt.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.unparse(ast.Module([*imports, *helpers], [])) + "\n"


def entry_point_of(record: dict[str, Any]) -> str:
    """Name of the function to be written. Raises ValueError when it is none."""
    entry_point = text(record, "entry_point")
    if not entry_point.isidentifier():
        raise ValueError(f"entry_point {entry_point!r} is no name of a function")
    return entry_point


def completion(name: str, record: dict[str, Any], suite: TestSuite, style: str = "humaneval") -> Problem:
    """A problem whose published prompt is code, to which the reference is appended: the question is its docstring."""
    prompt = unix_lines(text(record, "prompt"))
    solution = unix_lines(text(record, "canonical_solution"))
    tree = parsed("its prompt", prompt)
    return Problem(
        id=name,
        question=docstring_of(tree, suite.fn_name or "") or docstring_of(tree) or prompt,
        starter_code=prompt,
        suite=suite,
        solutions=(prompt + solution,),
        difficulty="unknown",
        prompt_style=style,
    )


FORMAT = Format("task_id", ("task_id", "prompt", "entry_point", "canonical_solution", "test"), from_record)
SOURCE = Source("humaneval", "HumanEval; a bare `humaneval` comes from the hub", load, ("ids",), path="FILE", hub=True)
