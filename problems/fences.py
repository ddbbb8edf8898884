"""Fenced code blocks of a response, as CommonMark has them, and the lines of a text.

What a model writes is not trusted: it is looked through once, line by line, and nothing of it is parsed or run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""[begin, end) in characters."""

# What CommonMark and the compiler count as the end of a line. Not str.splitlines, which also breaks at form feeds and
# Unicode separators.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$")
_OPENING = re.compile(
    r"((?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t]))){0,9}[ \t]*)(`{3,}(?=[^`]*$)|~{3,})[ \t]*([^\s`]*)"
)
_CLOSING = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*$")
_PYTHON = re.compile(r"\{?\.?(?:i?python|py)[\d.]*(?:[^\w-].*)?")


def lines_of(text: str) -> list[Span]:
    """The lines of `text`, line ends included."""
    return [match.span() for match in _LINE.finditer(text)]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    language: str
    """First word of its info string, in small letters."""
    spans: tuple[Span, ...]
    """Its content, without the marks of quotes and the indentation of its fence: parts that touch are one."""

    def of(self, text: str) -> str:
        """The content."""
        return "".join(text[begin:end] for begin, end in self.spans)


def blocks_of(text: str) -> list[Block]:
    """The blocks that hold more than blanks; one without a closing fence goes on to the end.

    A fence is three or more backticks or tildes, and closed by as many or more of them, so that a block may hold
    shorter ones. It may be indented, or stand behind the mark of a list's item: each line then loses the blanks that it
    begins with like the fence. In a quote each line loses its marks, and a line without them ends the block.
    """
    found = [Block(opened[3].lower(), _merged(spans)) for opened, spans, _ in _fenced(text)]
    return [block for block in found if block.of(text).strip()]


def open_fence(text: str) -> str:
    """The fence of a block that `text` opens and does not close, say three backticks; empty where there is none."""
    return next((opened[2] for opened, _, closed in _fenced(text) if not closed), "")


def python_of(blocks: list[Block]) -> list[Block]:
    """Those that say they are Python, else those that do not say what they are, else all."""
    python = [block for block in blocks if _PYTHON.fullmatch(block.language)]
    return python or [block for block in blocks if not block.language] or blocks


def _fenced(text: str) -> Iterator[tuple[re.Match[str], list[Span], bool]]:
    """Of each block its opening fence, the lines of its content, and whether it is closed."""
    opened: re.Match[str] | None = None
    spans: list[Span] = []
    quotes, indent = 0, ""
    for begin, end in lines_of(text):
        line = text[begin:end].rstrip("\r\n")
        inside = re.match(rf"(?:[ \t]*>[ \t]?){{{quotes}}}", line)
        if opened is not None and inside is None:
            yield opened, spans, True
            opened = None
        if opened is None or inside is None:
            opened, spans = _OPENING.match(line), []
            if opened is not None:
                quotes = opened[1].count(">")
                behind = opened[1].rpartition(">")[2]
                indent = re.sub(r"[^\t]", " ", behind.removeprefix(" ") if quotes else behind)
        elif _closes(opened, indent, line[inside.end() :]):
            yield opened, spans, True
            opened = None
        else:
            spans.append((begin + inside.end() + len(os.path.commonprefix([indent, line[inside.end() :]])), end))
    if opened is not None:
        yield opened, spans, False


def _closes(opened: re.Match[str], indent: str, line: str) -> bool:
    closing = _CLOSING.match(line)
    if closing is None or closing[2][0] != opened[2][0] or len(closing[2]) < len(opened[2]):
        return False
    return len(closing[1].expandtabs(4)) <= max(3, len(indent.expandtabs(4)))


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for begin, end in spans:
        if begin == end:
            continue
        if merged and merged[-1][1] == begin:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    return tuple(merged)


def within(spans: Sequence[Span], begin: int, end: int) -> list[Span]:
    """The parts of a text that hold the characters [begin, end) of its `spans` joined."""
    found: list[Span] = []
    position = 0
    for first, last in spans:
        cut = max(first, first + begin - position), min(last, first + end - position)
        if cut[0] < cut[1]:
            found.append(cut)
        position += last - first
    return found
