"""Where a completion ends beside its end tokens: at a text, or in a reasoning that is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rltf.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Endings:
    """What ends a completion beside the end tokens."""

    texts: tuple[str, ...] = ()
    """It ends with the token with which one of them is whole."""
    reasoning: tuple[str, str] = ("", "")
    """What stands before and behind the reasoning."""
    begun: bool = False
    """Whether the prompt has begun the reasoning."""
    max_reasoning_tokens: int | None = None
    """It ends where so many tokens do not end the reasoning."""

    @property
    def none(self) -> bool:
        """Whether there is nothing to look for."""
        return not self.texts and self.max_reasoning_tokens is None


NO_ENDINGS = Endings()


class EndingWatch:
    """Looks at the text of every row of a batch, token by token."""

    def __init__(self, policy: Policy, endings: Endings, rows: int) -> None:
        self._policy = policy
        self._endings = endings
        self._texts = [text.encode() for text in endings.texts]
        self._start, self._end = (text.encode() for text in endings.reasoning)
        self._longest = max((len(text) for text in (*self._texts, self._end)), default=0)
        self._written = [bytearray() for _ in range(rows)]
        self._ids: list[list[int]] = [[] for _ in range(rows)]
        self._reasoned = [False] * rows

    def see(self, row: int, token: int) -> Literal["", "stop", "length"]:
        """Takes the next token of a row; whether it ends it, and as what."""
        written = self._written[row]
        self._ids[row].append(token)
        known = len(written)
        if self._policy.pieces.kind == "opaque":
            self._written[row] = written = bytearray(self._policy.pieces.decode(self._ids[row])[0].encode())
            known = max(0, known - 4)  # what was no whole character may be another one now
        elif token < len(self._policy.pieces.pieces):
            written += self._policy.pieces.pieces[token]
        new = bytes(written[max(0, known - self._longest) :])
        if any(text in new for text in self._texts):
            return "stop"
        limit = self._endings.max_reasoning_tokens
        if limit is None or self._reasoned[row]:
            return ""
        self._reasoned[row] = self._end in new
        if len(self._ids[row]) < limit or self._reasoned[row]:
            return ""
        self._reasoned[row] = not (self._endings.begun or bytes(written).lstrip().startswith(self._start))
        return "" if self._reasoned[row] else "length"


def ended_at(text: str, offsets: Sequence[int], texts: Sequence[str]) -> tuple[int, int] | None:
    """Where the first of `texts` begins in a text, and how many of its tokens begin there or later; None where none
    does.
    """
    places = [place for place in (text.find(one) for one in texts) if place >= 0]
    if not places:
        return None
    begins = min(places)
    return begins, sum(offset >= begins for offset in offsets)
