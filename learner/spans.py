"""From a line of a program to its tokens, exactly: through the character offset that each sampled token carries."""

from __future__ import annotations

import re

from buffer.records import Program

# What the compiler counts as the end of a line. Not str.splitlines, which also breaks at form feeds and Unicode separators.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$")


def lines_of(text: str) -> list[tuple[int, int]]:
    """Half-open character spans of the lines of `text`, line ends included, as the compiler counts them."""
    return [match.span() for match in _LINE.finditer(text)]


def resolve_line(text: str, line: int) -> int | None:
    """The 1-based line that an error at `line` belongs to: a line past the end is the last that is not blank; none if all are."""
    spans = lines_of(text)
    if 1 <= line <= len(spans):
        return line
    return _last_line(text, spans) if line > len(spans) else None


def is_last_line(text: str, line: int) -> bool:
    """Whether an error at the 1-based `line` is on the last line that is not blank, or past the end."""
    last = _last_line(text, lines_of(text))
    return last is not None and resolve_line(text, line) == last


def line_span(program: Program, line: int | None) -> tuple[int, int] | None:
    """The tokens of a 1-based line as [S, E): those that share a character with it, its line end included.

    Neighbours with the same offset hold pieces of the same character (its bytes) and go together. None when there is no line, or no
    token of it. Raises ValueError when there are not as many offsets as tokens.
    """
    offsets = program.offsets
    if len(offsets) != len(program.token_ids):
        raise ValueError(f"program {program.id}: {len(offsets)} offsets for {len(program.token_ids)} tokens")
    resolved = resolve_line(program.text, line) if line is not None else None
    if resolved is None:
        return None
    begin, end = lines_of(program.text)[resolved - 1]
    touched: list[int] = []
    stop = len(program.text)  # end of the characters of token i: the next greater offset
    following = stop
    for index in reversed(range(len(offsets))):
        if offsets[index] < following:
            stop, following = following, offsets[index]
        if offsets[index] < end and stop > begin and offsets[index] < stop:
            touched.append(index)
    return (touched[-1], touched[0] + 1) if touched else None


def _last_line(text: str, spans: list[tuple[int, int]]) -> int | None:
    for number in range(len(spans), 0, -1):
        begin, end = spans[number - 1]
        if text[begin:end].strip():
            return number
    return None
