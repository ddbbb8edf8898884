"""From the unit tests' Feedback to the rewards of RLTF (arXiv 2307.04349, Eq. 3-5 and Table 2). Pure functions.

Errors are told apart by their exception class and by facts about the program, never by the text of a message.
"""

from __future__ import annotations

import io
import token
import tokenize
from dataclasses import dataclass
from typing import Literal

from buffer.records import Feedback, Outcome, Program
from learner.spans import is_last_line, line_span

ErrorClass = Literal["U_line", "U_global", "U_ignore"]
Span = tuple[int, int]

COARSE: dict[Outcome, float] = {"pass": 1.0, "failure": -0.3, "runtime_error": -0.6, "compile_error": -1.0}
"""R_coarse by outcome (Eq. 3)."""

GLOBAL_ERRORS = frozenset({"TimeLimit", "RecursionError"})
"""Table 2: errors of the program as a whole."""
IGNORED_ERRORS = frozenset({"IndentationError", "TabError"})
"""Table 2: Indentation Error."""


@dataclass(frozen=True, slots=True)
class Fine:
    """The fine-grained feedback on one program."""

    reward: float
    """R_fine; 0.0 in U_ignore."""
    span: Span | None
    """[S, E) in tokens; None when there is no line to blame or no token of it, and so no fine term."""
    error_class: ErrorClass


def coarse_reward(feedback: Feedback) -> float:
    """R_coarse (Eq. 3), one of 1.0, -0.3, -0.6, -1.0."""
    return COARSE[feedback.outcome]


def adaptive_reward(feedback: Feedback) -> float:
    """R_adaptive (Eq. 5): -0.3 + 1.3 N_pass / (N_pass + N_fail) of a failure.

    A pass counts 1.0, which is the formula's value there, and an error its coarse reward: the formula is defined where every test
    ran to its end, and a baseline program may be anything.
    """
    if feedback.outcome != "failure":
        return coarse_reward(feedback)
    return -0.3 + 1.3 * feedback.passed / max(1, feedback.run)


def binary_reward(feedback: Feedback) -> float:
    """1.0 when every test passed, else 0.0."""
    return float(feedback.outcome == "pass")


def pass_ratio(feedback: Feedback) -> float:
    """Share of the problem's tests that passed, tests that were not reached counted as failed."""
    return feedback.passed / max(1, len(feedback.tests) or feedback.run)


def error_class(program: Program, feedback: Feedback) -> ErrorClass | None:
    """The row of Table 2 that an error falls in; none for a pass or a failure.

    The most specific row decides: an indentation error or an unterminated triple-quoted string is ignored, also at the end of a
    program that was cut off; any other syntax error is U_global if the program ended at the token limit and the error is on its last
    line that is not blank, as the code was unfinished. Classes that the table does not name are its "Else" row, U_line.
    """
    if feedback.outcome not in ("runtime_error", "compile_error"):
        return None
    if feedback.error_type in IGNORED_ERRORS:
        return "U_ignore"
    if feedback.error_type in GLOBAL_ERRORS:
        return "U_global"
    if feedback.outcome == "compile_error" and feedback.error_type == "SyntaxError":
        if _unterminated_triple_quote(program.text, feedback.line):
            return "U_ignore"
        if program.finish_reason == "length" and feedback.line is not None and is_last_line(program.text, feedback.line):
            return "U_global"
    return "U_line"


def fine_feedback(program: Program, feedback: Feedback, fine_reward: float = -0.3) -> Fine | None:
    """R_fine with its span [S, E) in tokens (Eq. 4); None when there is no error.

    Raises ValueError when the program's offsets do not fit its tokens.
    """
    kind = error_class(program, feedback)
    if kind is None:
        return None
    if kind == "U_line":
        return Fine(fine_reward, line_span(program, feedback.line), kind)
    length = len(program.token_ids)
    return Fine(0.0 if kind == "U_ignore" else fine_reward, (0, length) if length else None, kind)


def _unterminated_triple_quote(text: str, line: int | None) -> bool:
    """Whether a triple-quoted string begins in `text`, on `line` where one is given, and does not end in it.

    Closing quotes put behind the text end such a string and no other: the tokenizer then yields a string that reaches beyond the
    text.
    """
    end = len(_lines(text))
    for quotes in ('"""', "'''"):
        starts: list[int] = []
        try:
            for item in tokenize.generate_tokens(io.StringIO(f"{text}\n{quotes}\n").readline):
                if item.type == token.STRING:
                    starts.append(item.start[0])
                elif _named(item.type, "_START"):
                    starts.append(item.start[0])
                    continue
                elif not _named(item.type, "_END"):
                    continue
                start = starts.pop()
                if start <= end < item.end[0]:
                    return line is None or line == start
        except (tokenize.TokenError, SyntaxError):
            continue
    return False


def _named(kind: int, suffix: str) -> bool:
    """Whether a token type is one of the formatted strings' (FSTRING_START, TSTRING_END, ..), which Python 3.12 brought."""
    return token.tok_name[kind].endswith(f"STRING{suffix}")


def _lines(text: str) -> list[str]:
    return io.StringIO(text).readlines()
