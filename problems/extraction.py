"""Which part of a response is the program: rules by name, and the other way round, a program as a response.

A rule finds spans of the text and never makes text of its own, so that every character of a program is one that the
model wrote, and an error's line belongs to tokens.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

from rltf.config import PromptConfig
from rltf.config.choice import chosen
from rltf.config.prompt import AUTO
from rltf.config.user_code import UserFunction, is_user_name
from rltf.problems.definitions import defines, needed
from rltf.problems.fences import Block, Span, blocks_of, open_fence, python_of, within
from rltf.problems.prompts import Prompt

Rule = Callable[[str, str], list[Span] | None]
"""Of a response, without its reasoning, and the name of the function asked for, empty where none is: the parts that are
the program, in order; None where there is none."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The program in a response."""

    spans: tuple[Span, ...] = ()
    """Parts of the response; none: all of it."""
    lead: str = ""
    """What the prompt wrote of it."""
    has_program: bool = True


def whole(response: str, entry_point: str) -> list[Span] | None:
    """All of it."""
    return [(0, len(response))]


def first_block(response: str, entry_point: str) -> list[Span] | None:
    """The first fenced code block."""
    return next((list(block.spans) for block in _blocks(response)), None)


def last_block(response: str, entry_point: str) -> list[Span] | None:
    """The last fenced code block."""
    return next((list(block.spans) for block in reversed(_blocks(response))), None)


def entry_block(response: str, entry_point: str) -> list[Span] | None:
    """The last fenced code block that defines the function asked for, else the last one."""
    found = [block for block in blocks_of(response) if entry_point and defines(block.of(response), entry_point)]
    return list(found[-1].spans) if found else last_block(response, entry_point)


RULES: dict[str, Rule] = {
    "whole": whole,
    "continued": whole,
    "first_block": first_block,
    "last_block": last_block,
    "entry_block": entry_block,
    "after_reasoning": whole,
}
"""By the names that the configuration gives them (`config.prompt.PROGRAMS`)."""
_WITH_REASONING = ("whole", "continued")
"""Those for which all of a response is the program, whatever it is: it goes on with a raw prompt."""
_BLOCKS = ("first_block", "last_block", "entry_block")


class UserRule(UserFunction):
    """A rule of the user's (`run.code`), `def rule(response: str, entry_point: str) -> list[Span] | None`."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "prompt.program", ["response", "entry_point"])

    def __call__(self, response: str, entry_point: str) -> list[Span] | None:
        """The spans. Raises UserError where the function raises anything, or gives what are no parts of the text."""
        found = self.call("a response", response, entry_point)
        if found is None:
            return None
        try:
            spans = [(int(begin), int(end)) for begin, end in found]
        except (TypeError, ValueError):
            raise self.refused("a response", found, "a list of spans (begin, end)") from None
        places = [0, *(place for span in spans for place in span), len(response)]
        if not spans or sorted(places) != places:
            raise self.refused("a response", found, f"spans in order of a text of {len(response)} characters")
        return spans


def rule_named(name: str) -> Rule:
    """A rule, the user's own for `module:name`. Raises UserError for a name that none has."""
    return UserRule(name) if is_user_name(name) else chosen(RULES, name, "prompt.program")


def rule_of(config: PromptConfig, prompt: Prompt, chat: bool) -> str:
    """Name of the rule in force for the responses to a prompt."""
    if config.program != AUTO:
        return config.program
    if prompt.program and not _of_another_kind(prompt, chat):
        return prompt.program
    return "entry_block" if chat or open_fence(answer_prefix(config, prompt)) else "whole"


def answer_prefix(config: PromptConfig, prompt: Prompt) -> str:
    """How the responses to a prompt begin, by the prompt itself."""
    return prompt.answer_prefix if config.answer_prefix == AUTO else config.answer_prefix


def stops_of(config: PromptConfig, prompt: Prompt, chat: bool) -> tuple[str, ...]:
    """Texts that end a response to a prompt."""
    own = () if _of_another_kind(prompt, chat) else prompt.stop
    return tuple(dict.fromkeys((*config.stop, *own)))


def _of_another_kind(prompt: Prompt, chat: bool) -> bool:
    """Whether what a prompt says of its responses holds for text that goes on with it, and this is a conversation."""
    return chat and prompt.program in _WITH_REASONING


def reasons_already(config: PromptConfig, begun: str) -> bool:
    """Whether a text, of which a response is the end, begins a reasoning that it does not end."""
    start, end = config.reasoning
    return begun.rfind(start) > begun.rfind(end)


def extract(response: str, config: PromptConfig, prompt: Prompt, chat: bool, reasons: bool = False) -> Extracted:
    """The program in a response to `prompt`, `chat` saying whether that was a turn of a conversation.

    `reasons`: whether the chat template has begun the reasoning. Raises UserError as a rule of the user's does.
    """
    name = rule_of(config, prompt, chat)
    begun = prompt.starter_code if name == "continued" else answer_prefix(config, prompt)
    text = begun + response
    start = 0
    if name not in _WITH_REASONING:
        end = _end_of_reasoning(text, config, reasons)
        if end is None:
            return Extracted(has_program=False)
        start = end
    if name == "whole":
        start = len(begun)
    found = rule_named(name)(text[start:], prompt.entry_point)
    spans = [(start + begin, start + end) for begin, end in found or () if begin < end]
    if config.runs == "definitions" and prompt.entry_point and spans:
        code = "".join(text[begin:end] for begin, end in spans)
        parts = needed(code, prompt.entry_point)
        if parts is not None:
            spans = [span for begin, end in parts for span in within(spans, begin, end)]
    lead = "".join(text[begin : min(end, len(begun))] for begin, end in spans if begin < len(begun))
    own = [(max(begin - len(begun), 0), end - len(begun)) for begin, end in spans if end > len(begun)]
    if own == [(0, len(response))] or (not response and found is not None and name in _WITH_REASONING):
        return Extracted(lead=lead)
    return Extracted(tuple(own), lead) if own else Extracted(has_program=False)


def as_response(program: str, config: PromptConfig, prompt: Prompt, chat: bool, reasons: bool = False) -> str:
    """A program as a response from which it is extracted again: what supervised training shows the model.

    A reasoning that the prompt has begun is ended, without a word of it.
    """
    name = rule_of(config, prompt, chat)
    if name == "continued":
        return program.removeprefix(prompt.starter_code)
    if name == "whole":
        return program
    begun = answer_prefix(config, prompt)
    ended = f"{config.reasoning[1]}\n\n" if reasons_already(config, begun) or (reasons and not begun) else ""
    if name not in _BLOCKS:
        return ended + program
    ends = program if program.endswith(("\n", "\r")) else program + "\n"
    if fence := open_fence(begun):
        return f"{ends}{fence}\n"
    fence = "```"
    while fence in program:
        fence += "`"
    return f"{ended}{fence}python\n{ends}{fence}\n"


def _end_of_reasoning(text: str, config: PromptConfig, reasons: bool) -> int | None:
    """Where the reasoning ends, 0 where there is none; None where it does not end.

    Its last end counts, unless that stands in a block of the answer: a program may spell it.
    """
    start, end = config.reasoning
    begun = reasons or text.lstrip().startswith(start)
    ends = [match.end() for match in re.finditer(re.escape(end), text)]
    for before, place in reversed([*itertools.pairwise([0, *ends])]):
        if (begun and not before) or not open_fence(text[before : place - len(end)]):
            return place
    return None if begun else 0


def _blocks(response: str) -> list[Block]:
    return python_of(blocks_of(response))
