"""Runs programs that are made of the starter set's own lines, which are trusted, in this process.

Shared by the starter tests.
"""

import builtins
import contextlib
import copy
import io
import warnings
from typing import Any

from rltf.problems import Problem


def passes(problem: Problem, program: str) -> bool:
    """Whether the program passes every test of its problem; any exception is a no."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            code = compile(program, "<program>", "exec")
        except SyntaxError:
            return False
    suite = problem.suite
    try:
        if suite.kind == "call":
            names: dict[str, Any] = {}
            exec(code, names)
            return all(
                names[suite.fn_name](*copy.deepcopy(arguments)) == expected
                for arguments, expected in zip(suite.inputs, suite.outputs, strict=True)
            )
        return all(
            _output(code, text).split() == expected.split()
            for text, expected in zip(suite.inputs, suite.outputs, strict=True)
        )
    except Exception:
        return False


def _output(code: Any, text: str) -> str:
    lines = iter(text.splitlines())
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        exec(code, {"__builtins__": {**vars(builtins), "input": lambda: next(lines)}})
    return written.getvalue()
