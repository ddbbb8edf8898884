"""Between texts and token ids: prompts cut inside the question only, programs ended, sampled ids back to text with
offsets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rltf.config import UserError
from rltf.policy.policy import Policy
from rltf.problems.extraction import answer_prefix, as_response, reasons_already
from rltf.problems.prompts import Prompt

Part = tuple[str, bool]
"""A text, and whether special tokens that it spells are meant as such."""


class PromptTooLong(UserError):
    """What may not be cut of a prompt is longer than policy.max_prompt_tokens."""


def encode_prompt(policy: Policy, prompt: Prompt) -> list[int]:
    """At most `max_prompt_tokens` ids: the prompt in the chat template where the policy has one, else between the
    special tokens that the tokenizer puts around a text, and how the response begins.

    Special tokens that the chat template or `prompt.answer_prefix` spell are tokens, those that a problem spells are
    text. A longer prompt loses the end of its question, never what follows it.

    Raises PromptTooLong when even an empty question does not make it fit, and UserError where an encoder-decoder is to
    go on with the beginning of a response, which its decoder does not read.
    """
    before, question, after = _parts(policy, prompt)
    frame = (policy.prompt_prefix, policy.prompt_suffix) if policy.spec.chat is None else ((), ())
    room = policy.spec.max_prompt_tokens - len(frame[0]) - len(frame[1])
    ids = _encode(policy, [*before, question, *after])
    if len(ids) > room:
        head, tail = _encode(policy, before), _encode(policy, after)
        left = room - len(head) - len(tail)
        if left < 0:
            needed = policy.spec.max_prompt_tokens - left
            raise PromptTooLong(
                f"The prompt without its question needs {needed} tokens: raise policy.max_prompt_tokens to at least "
                "that."
            )
        ids = head + _encode(policy, [question])[:left] + tail
    return [*frame[0], *ids, *frame[1]]


def prompt_text(policy: Policy, prompt: Prompt) -> str:
    """What `encode_prompt` encodes, special tokens spelt out, before anything is cut."""
    before, question, after = _parts(policy, prompt)
    return "".join(text for text, _ in (*before, question, *after))


def too_long(policy: Policy, prompts: Mapping[str, Prompt]) -> dict[str, str]:
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
    """The text's ids with the tokenizer's end-of-sequence token behind them, cut to `max_program_tokens` (then
    without that token).
    """
    return [*_ids(policy, text), policy.eos_id][: policy.spec.max_program_tokens]


def response_with(policy: Policy, prompt: Prompt, program: str) -> str:
    """A program as the response to a prompt from which it is extracted."""
    chat = policy.spec.chat
    return as_response(program, policy.spec.prompt, prompt, chat is not None, begins_reasoning(policy))


def begins_reasoning(policy: Policy) -> bool:
    """Whether the chat template begins the reasoning of every response."""
    chat = policy.spec.chat
    return chat is not None and reasons_already(policy.spec.prompt, chat.after)


def decode_with_offsets(policy: Policy, token_ids: list[int]) -> tuple[str, list[int]]:
    """The text of sampled ids and each token's character offset in it; the rules are
    `policy.offset_decoder.OffsetDecoder.decode`'s.
    """
    return policy.pieces.decode(token_ids)


def _parts(policy: Policy, prompt: Prompt) -> tuple[list[Part], Part, list[Part]]:
    """What stands before the question, the question, what stands behind it."""
    begun = answer_prefix(policy.spec.prompt, prompt)
    if begun and policy.is_encoder_decoder:
        raise UserError(
            "an encoder-decoder does not read how its response begins: set prompt.answer_prefix to an empty text, or "
            "take another problems.prompt_style"
        )
    before, question, after, chat = prompt.before, prompt.question, prompt.after, policy.spec.chat
    if chat is None:
        return [(before, False)], (question, False), [(after, False), (begun, True)]
    before = before.lstrip(chat.strips_left)
    question = question if before else question.lstrip(chat.strips_left)
    after = after if before or question else after.lstrip(chat.strips_left)
    after = after.rstrip(chat.strips_right)
    question = question if after else question.rstrip(chat.strips_right)
    before = before if after or question else before.rstrip(chat.strips_right)
    return [(chat.before, True), (before, False)], (question, False), [(after, False), (chat.after + begun, True)]


def _encode(policy: Policy, parts: Sequence[Part]) -> list[int]:
    """The parts as one text, with no special tokens but those that are meant."""
    text = "".join(part for part, _ in parts)
    trusted: list[tuple[int, int]] = []
    position = 0
    for part, is_trusted in parts:
        if is_trusted:
            trusted.append((position, position + len(part)))
        position += len(part)
    spelt = list(re.finditer(policy.specials, text)) if policy.specials else []
    meant = [one for one in spelt if any(begin <= one.start() and one.end() <= end for begin, end in trusted)]
    if len(meant) == len(spelt) and meant:
        return list(policy.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    ids: list[int] = []
    position = 0
    for one in meant:
        ids += _ids(policy, text[position : one.start()])
        ids.append(policy.tokenizer.convert_tokens_to_ids(one[0]))
        position = one.end()
    return ids + _ids(policy, text[position:])


def _ids(policy: Policy, text: str) -> list[int]:
    # split_special_tokens: a text that spells `</s>` is text, it does not end a sequence.
    return list(policy.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])
