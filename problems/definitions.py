"""Of a program the definitions that a function needs: what is left of a model's reply without its own tests.

It is found by Python's tokens and not by its parser, which a text of a model's could crash or keep busy for ever.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

from rltf.problems.fences import Span, lines_of

MAX_CHARACTERS = 200_000
"""Of a program that is looked through; a longer one is taken as a whole."""
_BETWEEN = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}
_GOES_ON = {"elif", "else", "except", "finally"}
_DEFINES = {"def", "class", "async", "@"}
_COMPOUND = {"if", "try", "for", "while", "with"}
_COMPARISONS = {"==", "!=", "<=", ">="}

Line = list[tokenize.TokenInfo]


@dataclass
class _Statement:
    """A statement at the left margin, with the lines indented under it."""

    lines: list[Line]
    """Its logical lines."""
    binds: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)

    @property
    def word(self) -> str:
        """What it begins with."""
        return self.lines[0][0].string

    @property
    def always(self) -> bool:
        """Whether it changes what other statements mean."""
        words = [token.string for token in self.lines[0]]
        return words[0] == "from" and (words[-1] == "*" or words[1:2] == ["__future__"])


def needed(code: str, entry_point: str) -> list[Span] | None:
    """The definitions, imports and assignments that `entry_point` needs, as parts of `code` in order.

    A name counts as needed wherever it stands, so rather too much is kept than too little; calls, asserts and what
    stands under `if __name__ == ..` never are. None where it does not split into tokens, or defines no such name.
    """
    if len(code) > MAX_CHARACTERS:
        return None
    try:
        statements = list(_statements(code))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    for statement in statements:
        _read(statement)
    wanted, kept = {entry_point}, [statement.always for statement in statements]
    while True:
        chosen = [index for index, one in enumerate(statements) if not kept[index] and one.binds & wanted]
        if not chosen:
            break
        for index in chosen:
            kept[index] = True
            wanted |= statements[index].uses
    if not any(entry_point in one.binds for one in statements):
        return None
    lines, spans = lines_of(code), list[Span]()
    for statement, chosen_one in zip(statements, kept, strict=True):
        if chosen_one:
            begin = lines[statement.lines[0][0].start[0] - 1][0]
            end = lines[statement.lines[-1][-1].end[0] - 1][1]
            if spans and spans[-1][1] >= begin:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((begin, end))
    return spans


def defines(code: str, name: str) -> bool:
    """Whether a line of `code` looks as if it defined the function, method, class or variable."""
    word = re.escape(name)
    pattern = rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+{word}\b|^{word}[ \t]*(?::[^=\n]*)?=(?!=)"
    return re.search(pattern, code, re.MULTILINE) is not None


def _statements(code: str) -> Iterator[_Statement]:
    found: _Statement | None = None
    line: Line = []
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(code, newline="").readline):
        if token.type == tokenize.ERRORTOKEN and token.string.strip():
            raise ValueError("no token of Python")
        depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        if token.type not in _BETWEEN:
            line.append(token)
        if token.type == tokenize.NEWLINE and line:
            decorated = found is not None and found.lines[-1][0].string == "@" and depth == 0
            if found is not None and (depth or line[0].string in _GOES_ON or decorated):
                found.lines.append(line)
            else:
                if found is not None:
                    yield found
                found = _Statement([line])
            line = []
    if found is not None:
        yield found


def _read(statement: _Statement) -> None:
    """Fills in what a statement binds and uses."""
    word = statement.word
    names = {token.string for line in statement.lines for token in line if token.type == tokenize.NAME}
    statement.uses = {name for name in names if not keyword.iskeyword(name)}
    if word == "if" and statement.lines[0][1:2] and statement.lines[0][1].string == "__name__":
        return
    if word in _DEFINES:
        # Of a class its methods too: a function asked for may be one of them.
        of_class = any(line[0].string == "class" for line in statement.lines[: _head(statement)])
        looked_at = statement.lines if of_class else statement.lines[: _head(statement)]
        statement.binds = {name for line in looked_at for name in _defined(line)}
    else:
        lines = statement.lines if word in _COMPOUND else statement.lines[:1]
        statement.binds = {name for line in lines for name in _bound(line)}


def _head(statement: _Statement) -> int:
    """Lines up to that of the definition: its decorators come before it."""
    return next((n for n, line in enumerate(statement.lines, 1) if line[0].string != "@"), len(statement.lines))


def _defined(line: Line) -> Iterator[str]:
    words = [token.string for token in line]
    for before, name in zip(words, words[1:], strict=False):
        if before in ("def", "class"):
            yield name
            return


def _bound(line: Line) -> Iterator[str]:
    """Names that a logical line binds, or changes by an assignment to a part of them."""
    words = [token.string for token in line]
    if words[0] in ("import", "from"):
        yield from _imported(words)
        return
    if words[0] in ("def", "class", "async"):
        yield from _defined(line)
    if words[0] == "assert":
        return
    targets = _targets(line)
    if words[0] == "for" and "in" in words:
        targets = max(targets, words.index("in"))
    if words[0] == "with" and "as" in words:
        targets = len(words)
    for before, token in zip(["", *words], line[:targets], strict=False):
        if token.type == tokenize.NAME and before != "." and not keyword.iskeyword(token.string):
            yield token.string


def _imported(words: list[str]) -> Iterator[str]:
    for part in " ".join(words[words.index("import") + 1 :] if "import" in words else ()).strip("() ").split(","):
        name, _, other = part.partition(" as ")
        yield (other or name.split(".")[0]).strip(" ()")


def _targets(line: Line) -> int:
    """How many tokens stand before the last assignment that is in no bracket."""
    depth = last = 0
    for number, token in enumerate(line):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
            if depth == 0 and token.string.endswith("=") and token.string not in _COMPARISONS | {":="}:
                last = number
    return last
