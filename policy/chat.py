"""A conversation of one turn, as the chat template of a tokenizer writes it."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

from rltf.config import PromptConfig, UserError, first_line

_TURN = "\ue000turn\ue001"
"""Stands in for the user's turn: characters of Unicode's private use."""
_BLANKS = " \n\t "
_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""All that `str.strip` takes away."""
_NOW = re.compile(r"""\bstrftime_now\(\s*(["'])(.*?)\1\s*\)""")
"""How a template asks for the date, in a format."""
_DAY = "2001-02-03"
"""A day that is not today."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """What a chat template puts around a user's turn."""

    before: str
    """Special tokens, the system's turn, the head of the user's."""
    after: str
    """The end of the user's turn and the head of the response."""
    strips_left: str
    """Which blanks the template takes away at the beginning of the turn."""
    strips_right: str
    """The same at its end."""
    writes_today: bool = False
    """Whether the date of today is in it."""


def chat_format_of(tokenizer: Any, config: PromptConfig, source: str) -> ChatFormat | None:
    """None where prompts are to be raw.

    Raises UserError where the tokenizer of `source` has no chat template and one is asked for, or the template cannot
    be used: it refuses a system's turn, say, or does not write the user's turn once and as it is.
    """
    if config.format == "raw" or (config.format == "auto" and not tokenizer.chat_template):
        return None
    if not tokenizer.chat_template:
        raise UserError(f"prompt.format chat: the tokenizer of {source} has no chat template; take raw")

    def written(turn: str, day: str = config.date) -> str:
        return _rendered(tokenizer, config, source, turn, day)

    frame = written(_TURN)
    before, _, after = frame.partition(_TURN)
    left = "".join(blank for blank in _SPACES if written(blank + _TURN) == frame)
    right = "".join(blank for blank in _SPACES if written(_TURN + blank) == frame)
    kept = _BLANKS.lstrip(left) + _TURN + _BLANKS.rstrip(right)
    if frame.count(_TURN) != 1 or written(_BLANKS + _TURN + _BLANKS) != before + kept + after:
        raise UserError(
            f"the chat template of {source} does not write the user's turn once and as it is: set prompt.format raw"
        )
    return ChatFormat(before, after, left, right, not config.date and written(_TURN, _DAY) != frame)


def _rendered(tokenizer: Any, config: PromptConfig, source: str, turn: str, day: str) -> str:
    turns = [{"role": "system", "content": config.system}] if config.system else []
    told: dict[str, Any] = {}
    if config.thinking != "auto":  # models call it by two names
        told = dict.fromkeys(("enable_thinking", "thinking"), config.thinking == "on")
    try:
        if day:
            today = datetime.date.fromisoformat(day).strftime
            told["chat_template"] = _NOW.sub(lambda call: repr(today(call[2])), tokenizer.get_chat_template())
        text = tokenizer.apply_chat_template(
            [*turns, {"role": "user", "content": turn}], tokenize=False, add_generation_prompt=True, **told
        )
    except Exception as error:  # of whatever kind: the template is somebody's program
        advice = "leave prompt.system empty or set prompt.format raw" if config.system else "set prompt.format raw"
        raise UserError(f"the chat template of {source} cannot be used ({first_line(error)}): {advice}") from error
    return str(text)
