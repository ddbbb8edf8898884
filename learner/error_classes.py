"""Which part of a program an error is to be blamed on: RLTF's Table 2 (arXiv 2307.04349), and where the released code
departs from it.

Errors are told apart by their exception class and by facts about the program. Only the switches that stand for the
released code look at messages, as that code does; it was written for those of Python 3.9 and earlier.
"""

from __future__ import annotations

from typing import Literal

from rltf.buffer.records import Feedback, Program
from rltf.config import RltfConfig
from rltf.learner.parsing import broken_at_the_end, unterminated_triple_quote
from rltf.learner.spans import is_last_line

ErrorClass = Literal["U_line", "U_global", "U_ignore"]

SYNTAX_ERRORS = frozenset({"SyntaxError", "IndentationError", "TabError"})
UNFINISHED_MESSAGES = ("unexpected EOF while parsing", "invalid syntax", "EOL while scanning string literal")
"""What the released code takes for unfinished code where it is said of the last line."""
AFTER_PARSING = ("duplicate argument", "import * only allowed at module level")
"""Syntax errors that the released code leaves out."""
WITHOUT_TRACEBACK = frozenset({"RuntimeError", "NonZeroExit", "SystemExit", "Crash"})
"""Runtime errors that the released code leaves out: by name, or as nothing usable is on the standard error."""


def error_class(program: Program, feedback: Feedback, config: RltfConfig) -> ErrorClass | None:
    """The row of Table 2 that an error falls in; none for a pass or a failure.

    The most specific row decides: an indentation error or an unterminated triple-quoted string is ignored, also at the
    end of a program that was cut off; any other syntax error is U_global if the program ended at the token limit and
    the error is on its last line that is not blank, or nothing but that line's end is wrong and Python names an earlier
    one, as where a bracket was opened: the code was unfinished. Classes that the table does not name are its "Else"
    row, U_line. A response without a program has nothing that could be blamed: U_ignore.
    """
    if feedback.outcome not in ("runtime_error", "compile_error"):
        return None
    if not program.has_program:
        return "U_ignore"
    kind = feedback.error_type
    compiled = feedback.outcome == "runtime_error"
    left_out = kind in WITHOUT_TRACEBACK if compiled else kind not in SYNTAX_ERRORS
    if config.other_errors == "ignore" and left_out:
        return "U_ignore"
    if kind == "TimeLimit":
        return "U_global" if config.timeouts == "global" else "U_ignore"
    if kind == "RecursionError":
        return "U_global"
    if kind in ("IndentationError", "TabError"):
        return _indentation(feedback, config)
    return "U_line" if compiled or kind != "SyntaxError" else _syntax(program, feedback, config)


def _syntax(program: Program, feedback: Feedback, config: RltfConfig) -> ErrorClass:
    if config.triple_quoted == "ignore" and unterminated_triple_quote(program.code, feedback.line):
        return "U_ignore"
    if config.other_errors == "ignore" and any(message in feedback.message for message in AFTER_PARSING):
        return "U_ignore"
    at_the_end = feedback.line is not None and is_last_line(program.code, feedback.line)
    if config.unfinished == "length":
        unfinished = program.finish_reason == "length" and (at_the_end or broken_at_the_end(program.code))
    else:
        unfinished = at_the_end and any(message in feedback.message for message in UNFINISHED_MESSAGES)
    return "U_global" if unfinished else "U_line"


def _indentation(feedback: Feedback, config: RltfConfig) -> ErrorClass:
    """Unmatched dedents and mixed tabs, which the released code ignores too, or another indentation error."""
    ambiguous = feedback.error_type == "TabError" or "unindent does not match" in feedback.message
    return "U_ignore" if config.indentation_errors == "ignore" or ambiguous else "U_line"
