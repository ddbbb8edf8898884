"""From a line of a program to its tokens, exactly: through the spans of the response that the program is made of, and
the character offset that each sampled token carries.
"""

from __future__ import annotations

from collections.abc import Sequence

from rltf.buffer.records import Program
from rltf.problems.fences import lines_of, within

_BLANK = " \t\f\r\n"
"""What the compiler passes over. Not str.strip's own, which has no-break spaces and others that it refuses, with their
line."""


def resolve_line(text: str, line: int) -> int | None:
    """The 1-based line that an error at `line` belongs to: of lines behind the last that is not blank, that one; none
    if all are.

    Of a program that breaks off before blank lines Python names one of these.
    """
    last = _last_line(text, lines_of(text))
    return min(line, last) if last is not None and line >= 1 else None


def is_last_line(text: str, line: int) -> bool:
    """Whether an error at the 1-based `line` is on the last line that is not blank, or behind it."""
    last = _last_line(text, lines_of(text))
    return last is not None and resolve_line(text, line) == last


def last_line_start(text: str) -> int | None:
    """Index of the first character of the last line that is not blank; none where all are."""
    spans = lines_of(text)
    last = _last_line(text, spans)
    return spans[last - 1][0] if last is not None else None


def line_span(program: Program, line: int | None) -> tuple[int, int] | None:
    """The tokens of a 1-based line as [S, E): from the first to the last that shares a character with it, its line end
    included.

    None when there is no line, or no token of it. Raises ValueError when there are not as many offsets as tokens.
    """
    characters = _characters(program, line)
    return tokens_over(program, _in_text(program, *characters)) if characters else None


def program_span(program: Program) -> tuple[int, int] | None:
    """[S, E) from the first to the last token of the program; of a response that is one as a whole all tokens.

    None when there is none.
    """
    if program.has_program and program.spans:
        return tokens_over(program, program.parts)
    length = len(program.token_ids)
    return (0, length) if length else None


def first_text_span(program: Program, line: int | None, indented: bool = False) -> tuple[int, int] | None:
    """The tokens over the first place at which the text of a 1-based line occurs in the program, blanks around it left
    off.

    The indentation counts where `indented`. That is how RLTF's released code finds a line: a text that occurs earlier,
    as a line or inside one, is blamed in its stead. None and ValueError as for `line_span`.
    """
    characters = _characters(program, line)
    if characters is None:
        return None
    code = program.code
    text = code[slice(*characters)]
    text = text.rstrip() if indented else text.strip()
    begin = code.find(text)
    return tokens_over(program, _in_text(program, begin, begin + len(text)))


def tokens_over(program: Program, parts: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """[S, E) from the first to the last of `tokens_in`; None where there is none."""
    touched = tokens_in(program, parts)
    return (touched[0], touched[-1] + 1) if touched else None


def tokens_in(program: Program, parts: Sequence[tuple[int, int]]) -> list[int]:
    """The tokens that share a character with one of the parts [begin, end) of the text, which are in order.

    A token without text, whose offset is the text's length, shares none. Of neighbours with the same offset each holds
    bytes of the one character there, and the last reaches to the next greater one.
    """
    offsets, length = program.offsets, len(program.text)
    touched: list[int] = []
    following = length
    previous = -1
    left = list(parts)
    for index in reversed(range(len(offsets))):
        start = offsets[index]
        if start == length:
            continue
        stop = start + 1 if start == previous else following
        following, previous = start, start
        while left and left[-1][0] >= stop:
            left.pop()  # it lies behind this token, and so behind all that are left
        if left and start < left[-1][1]:
            touched.append(index)
    return touched[::-1]


def _characters(program: Program, line: int | None) -> tuple[int, int] | None:
    """Half-open character span of a line in the code, its line end included."""
    if len(program.offsets) != len(program.token_ids):
        raise ValueError(f"program {program.id}: {len(program.offsets)} offsets for {len(program.token_ids)} tokens")
    code = program.code
    resolved = resolve_line(code, line) if line is not None else None
    return lines_of(code)[resolved - 1] if resolved is not None else None


def _in_text(program: Program, begin: int, end: int) -> list[tuple[int, int]]:
    """The parts of the response that hold the characters [begin, end) of the code; none for what the prompt wrote."""
    lead = len(program.lead)
    return within(program.parts, begin - lead, end - lead)


def _last_line(text: str, spans: list[tuple[int, int]]) -> int | None:
    for number in range(len(spans), 0, -1):
        begin, end = spans[number - 1]
        if text[begin:end].strip(_BLANK):
            return number
    return None
