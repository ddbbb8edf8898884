"""A conversation of one turn, as the chat template of a tokenizer writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rltf.config import PromptConfig, UserError, first_line

_TURN = "\ue000turn\ue001"
"""Stands in for the user's turn: characters of Unicode's private use."""
_BLANKS = " \n "


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """What a chat template puts around a user's turn."""

    before: str
    """Special tokens, the system's turn, the head of the user's."""
    after: str
    """The end of the user's turn and the head of the response."""
    strips_left: bool
    """Whether the template takes away the blanks that the turn begins with."""
    strips_right: bool


def chat_format_of(tokenizer: Any, config: PromptConfig, source: str) -> ChatFormat | None:
    """None where prompts are to be raw.

    Raises UserError where the tokenizer of `source` has no chat template and one is asked for, or the template cannot
    be used: it refuses a system's turn, say, or does not write the user's turn once and as it is.
    """
    if config.format == "raw" or (config.format == "auto" and not tokenizer.chat_template):
        return None
    if not tokenizer.chat_template:
        raise UserError(f"prompt.format chat: the tokenizer of {source} has no chat template; take raw")
    frame = _rendered(tokenizer, config, source, _TURN)
    before, _, after = frame.partition(_TURN)
    padded = _rendered(tokenizer, config, source, _BLANKS + _TURN + _BLANKS)
    turn = padded[len(before) : len(padded) - len(after)]
    left, found, right = turn.partition(_TURN)
    if (
        frame.count(_TURN) != 1
        or not padded.startswith(before)
        or not padded.endswith(after)
        or not found
        or left not in ("", _BLANKS)
        or right not in ("", _BLANKS)
    ):
        raise UserError(
            f"the chat template of {source} does not write the user's turn once and as it is: set prompt.format raw"
        )
    return ChatFormat(before, after, strips_left=not left, strips_right=not right)


def _rendered(tokenizer: Any, config: PromptConfig, source: str, turn: str) -> str:
    turns = [{"role": "system", "content": config.system}] if config.system else []
    thinking = {} if config.thinking == "auto" else {"enable_thinking": config.thinking == "on"}
    try:
        text = tokenizer.apply_chat_template(
            [*turns, {"role": "user", "content": turn}], tokenize=False, add_generation_prompt=True, **thinking
        )
    except Exception as error:  # of whatever kind: the template is somebody's program
        advice = "leave prompt.system empty or set prompt.format raw" if config.system else "set prompt.format raw"
        raise UserError(f"the chat template of {source} cannot be used ({first_line(error)}): {advice}") from error
    return str(text)
