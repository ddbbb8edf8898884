"""What Python's own parser says of a program that did not compile: where it breaks off, and inside of what.

Only texts are parsed here that an executor's compiler has refused before, within its limits of time and memory.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from codeop import PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]  # what codeop asks the parser with, in no stub

from rltf.learner.spans import last_line_start


def syntax_error(text: str, flags: int = 0) -> SyntaxError | None:
    """The error with which this interpreter refuses `text`; none where it compiles, or ends for another reason than its
    syntax.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an invalid escape, say
            # Line ends made one kind here: a backslash before \r\n at the end would be taken for one before an empty
            # line.
            compile(re.sub("\r\n?", "\n", text), "<program>", "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        return error
    except (ValueError, OverflowError, RecursionError, MemoryError):  # null bytes, nesting that the parser cannot hold
        return None
    return None


def breaks_off(text: str) -> bool:
    """Whether the parser gets to the end of `text` without an error and finds that something is missing."""
    error = syntax_error(text, PyCF_ALLOW_INCOMPLETE_INPUT)
    return error is not None and error.msg == "incomplete input"


def broken_at_the_end(text: str) -> bool:
    """Whether `text` does not parse because of how it ends: what stands before its last line that is not blank has no
    error.

    The compiler may say so of an earlier line: of one that opens a bracket that is not closed, say.
    """
    if syntax_error(text, ast.PyCF_ONLY_AST) is None:
        return False  # found after parsing, which no missing part can cause
    start = last_line_start(text)
    return start is not None and (breaks_off(text[:start]) or syntax_error(text[:start]) is None)


def unterminated_triple_quote(text: str, line: int | None) -> bool:
    """Whether `text` is refused for a triple-quoted string without an end, at the 1-based `line` where one is given.

    Where such a string is formatted, and a replacement field in it is open, Python 3.12 and later name the field's
    line.
    """
    error = syntax_error(text)
    if error is None or (line is not None and line != error.lineno):
        return False
    return "triple-quoted" in error.msg or (breaks_off(text) and _in_formatted_string(text))


def _in_formatted_string(text: str) -> bool:
    """Whether a triple-quoted formatted string has begun where the tokens end; before Python 3.12 these are no tokens
    of their own.
    """
    opened: list[str] = []
    try:
        for item in tokenize.generate_tokens(io.StringIO(text, newline=None).readline):
            kind = tokenize.tok_name[item.type]
            if kind.endswith("STRING_START"):
                opened.append(item.string)
            elif kind.endswith("STRING_END"):
                opened.pop()
    except (tokenize.TokenError, SyntaxError):
        pass  # the end of the tokens
    return any(start.endswith(('"""', "'''")) for start in opened)
