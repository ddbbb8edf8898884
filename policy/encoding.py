"""Between texts and token ids: prompts cut inside the question only, programs ended, sampled ids back to text with
offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rltf.config import UserError
from rltf.policy.policy import Policy


class PromptText(Protocol):
    """A prompt in three parts, of which only `question` may be cut (`problems.prompts.Prompt`)."""

    @property
    def before(self) -> str:
        """What stands before the question."""

    @property
    def question(self) -> str:
        """The problem statement."""

    @property
    def after(self) -> str:
        """What follows the question: starter code, format line, the cue for the answer."""


class PromptTooLong(UserError):
    """What may not be cut of a prompt is longer than policy.max_prompt_tokens."""


def encode_prompt(policy: Policy, prompt: PromptText) -> list[int]:
    """At most `max_prompt_tokens` ids, special tokens included.

    A longer prompt loses the end of its question, never what follows it.

    Raises PromptTooLong when even an empty question does not make it fit.
    """
    room = policy.spec.max_prompt_tokens - len(policy.prompt_prefix) - len(policy.prompt_suffix)
    ids = _ids(policy, prompt.before + prompt.question + prompt.after)
    if len(ids) > room:
        before, after = _ids(policy, prompt.before), _ids(policy, prompt.after)
        left = room - len(before) - len(after)
        if left < 0:
            needed = policy.spec.max_prompt_tokens - left
            raise PromptTooLong(
                f"The prompt without its question needs {needed} tokens: raise policy.max_prompt_tokens to at least "
                "that."
            )
        ids = before + _ids(policy, prompt.question)[:left] + after
    return [*policy.prompt_prefix, *ids, *policy.prompt_suffix]


def too_long(policy: Policy, prompts: Mapping[str, PromptText]) -> dict[str, str]:
    """The problems whose prompt cannot be made to fit, each with the reason: a run can leave them out and
    count them.
    """
    reasons = {}
    for problem_id, prompt in prompts.items():
        try:
            encode_prompt(policy, prompt)
        except PromptTooLong as error:
            reasons[problem_id] = str(error)
    return reasons


def encode_program(policy: Policy, text: str) -> list[int]:
    """The program's ids with the tokenizer's end-of-sequence token behind them, cut to `max_program_tokens` (then
    without that token).
    """
    return [*_ids(policy, text), policy.eos_id][: policy.spec.max_program_tokens]


def decode_with_offsets(policy: Policy, token_ids: list[int]) -> tuple[str, list[int]]:
    """The text of sampled ids and each token's character offset in it; the rules are
    `policy.offset_decoder.OffsetDecoder.decode`'s.
    """
    return policy.pieces.decode(token_ids)


def _ids(policy: Policy, text: str) -> list[int]:
    # split_special_tokens: a text that spells `</s>` is text, it does not end a sequence.
    return list(policy.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])
