"""How a problem is put to the model, and which part of what it answers is the program."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator

from rltf.config.base import ConfigSection
from rltf.config.choice import OneOf

AUTO = "auto"
PROGRAMS = {
    "auto": "what the prompt style says, else whole for a raw prompt and entry_block in a conversation",
    "whole": "all of the response",
    "continued": "the problem's starter code and all of the response, which goes on where the prompt ends",
    "first_block": "the first fenced code block",
    "last_block": "the last fenced code block",
    "entry_block": "the last fenced code block that defines the function asked for, else the last one",
    "after_reasoning": "all that follows the reasoning",
}
"""Which part of a response is the program (`problems.extraction`)."""


class PromptConfig(ConfigSection):
    """How a problem is put to the model, and which part of its response is the program."""

    format: Literal["auto", "raw", "chat"] = "auto"
    """raw: the prompt style's text alone; chat: that text as a user's turn, in the chat template of the model's
    tokenizer; auto: chat where the tokenizer has one."""
    system: str = ""
    """Of a conversation: the system's turn; empty: none, or the chat template's own."""
    thinking: Literal["auto", "on", "off"] = "auto"
    """Of a conversation: what the chat template is told of `enable_thinking` and `thinking`; auto: nothing."""
    date: str = ""
    """Of a conversation: the day that a chat template which writes the date is told, say 2024-07-26; empty: today."""
    answer_prefix: str = AUTO
    """How the response begins: text that stands behind the prompt, say an opening fence; auto: what the prompt style
    says, else nothing."""
    program: Annotated[str, OneOf(PROGRAMS)] = AUTO
    """Which part of the response is the program; a response without that part is a compile error. Blocks are looked for
    behind the reasoning."""
    runs: Literal["all", "definitions"] = "all"
    """What of the program is run: all of it, or the definitions and imports that the function asked for needs, without
    the calls and asserts of its own that a model writes below them."""
    stop: tuple[str, ...] = ()
    """Texts that end a response, beside the end tokens of the model; what follows one is no part of the program."""
    reasoning: tuple[str, str] = ("<think>", "</think>")
    """What stands before and behind the reasoning in a response."""
    max_reasoning_tokens: int | None = Field(None, ge=1)
    """Most tokens of the reasoning: a response that has not ended it by then is ended, and cut off at a token limit."""

    @field_validator("date", mode="before")
    @classmethod
    def _is_day(cls, day: object) -> str:
        if not day:
            return ""
        try:  # YAML makes a date of it by itself
            return datetime.date.fromisoformat(str(day)).isoformat()
        except ValueError:
            raise ValueError("a day is written as 2024-07-26") from None

    @field_validator("stop", "reasoning")
    @classmethod
    def _not_empty(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(texts):
            raise ValueError("none of the texts may be empty")
        return texts
