"""HumanEval (Chen et al., arXiv 2107.03374): 164 heads of functions to be completed, judged by `check(candidate)`.

HumanEvalPack (Muennighoff et al., arXiv 2308.07124) and LeetCodeDataset (Xia et al., arXiv 2504.14655) have the same
fields; the first calls `check` itself, the parameter of which has the function's name; the second asks for a method of
a class `Solution`, and its prompt has imports and helpers of the tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rltf.problems.files import unix_lines
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.python_source import docstring_of, function_of, imports_of, parsed, require_compiles
from rltf.problems.records import Format, problems_of, rows_of, text
from rltf.problems.spec import Source, Spec

METHOD_TIME_LIMIT_S = 15.0
"""CPU seconds of a `check` of LeetCodeDataset, which has about a hundred calls in it."""


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of a `humaneval` SPEC. Raises UserError when the file cannot be read."""
    yield from problems_of(spec, rows_of(spec, "openai/openai_humaneval", "test"), FORMAT)


def from_record(name: str, record: dict[str, Any]) -> Problem:
    """Problem of one record. Raises ValueError with what is wrong with it."""
    written = text(record, "entry_point")
    function = entry_point_of(record)
    test = _without_call(unix_lines(text(record, "test_setup", "")) + unix_lines(text(record, "test")))
    require_compiles("its test", test)
    prompt = parsed("its prompt", unix_lines(text(record, "prompt")))
    setup = _helpers(prompt, parsed("its test", test), {function, "Solution"}) + test
    limit = METHOD_TIME_LIMIT_S if written != function else None
    suite = TestSuite("assert", function, (), (), (f"check({written})",), setup=setup, time_limit_s=limit)
    return completion(name, record, suite)


def _without_call(test: str) -> str:
    """Test code without the calls of `check` at its end, which HumanEvalPack has: the test itself calls it."""
    tree = parsed("its test", test)
    lines = test.splitlines(keepends=True)
    while tree.body and _is_check(tree.body[-1]):
        last = tree.body.pop()
        lines = lines[: last.lineno - 1]
    return "".join(lines)


def _is_check(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"


def _helpers(prompt: ast.Module, test: ast.Module, asked: set[str]) -> str:
    """Definitions of the prompt that the test uses too: those of the program could be any others."""
    defined: dict[str, ast.stmt] = {}
    for node in prompt.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign):
            defined |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    used, new = set[str](), _names_in(test)
    while new := (new & defined.keys()) - asked - used:
        used |= new
        new = set().union(*(_names_in(defined[name]) for name in new))
    helpers = list(dict.fromkeys(node for name, node in defined.items() if name in used))
    if not helpers:
        return ""
    imports = [node for node in prompt.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.unparse(ast.Module([*imports, *helpers], [])) + "\n"


def _names_in(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def entry_point_of(record: dict[str, Any]) -> str:
    """Name of the function, or the method of a class `Solution`, to be written. Raises ValueError when it is none."""
    entry_point = text(record, "entry_point")
    function = function_of(entry_point)
    if function is None:
        raise ValueError(f"entry_point {entry_point!r} is no name of a function")
    return function


def completion(name: str, record: dict[str, Any], suite: TestSuite, style: str = "humaneval") -> Problem:
    """A problem whose published prompt is code, to which the reference is appended: the question is its docstring."""
    prompt = unix_lines(text(record, "prompt"))
    field = (
        "completion" if record.get("canonical_solution") is None and "completion" in record else "canonical_solution"
    )
    solution = unix_lines(text(record, field))
    tree = parsed("its prompt", prompt)
    described = unix_lines(text(record, "problem_description", ""))
    return Problem(
        id=name,
        question=described or docstring_of(tree, suite.fn_name or "") or docstring_of(tree) or prompt,
        starter_code=prompt,
        suite=replace(suite, prelude=imports_of(prompt)),
        solutions=(prompt + solution,),
        difficulty="unknown",
        prompt_style=style,
    )


_FIELDS = (
    *("task_id", "prompt", "entry_point", "canonical_solution", "test"),
    # of HumanEvalPack
    *("declaration", "import", "test_setup", "example_test", "buggy_solution", "bug_type", "failure_symptoms"),
    *("docstring", "instruction", "signature"),
    # of LeetCodeDataset
    *("completion", "problem_description", "starter_code", "query", "response", "input_output", "difficulty", "tags"),
    *("question_id", "estimated_date", "meta"),
)
FORMAT = Format("task_id", _FIELDS, from_record)
SOURCE = Source(
    "humaneval",
    "HumanEval, HumanEvalPack and LeetCodeDataset; a bare `humaneval` comes from the hub",
    load,
    ("ids",),
    path="FILE",
    hub=True,
)
