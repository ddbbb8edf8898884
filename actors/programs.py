"""Completions of the engine as the records that travel on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rltf.actors.engine import Completion
from rltf.actors.sampling import PLAIN, SamplingParams
from rltf.actors.stopping import ended_at
from rltf.buffer.columns import Floats, Ints
from rltf.buffer.records import Program, Purpose
from rltf.policy.encoding import begins_reasoning, decode_with_offsets
from rltf.policy.policy import Policy
from rltf.problems.extraction import Extracted, extract, stops_of
from rltf.problems.prompts import Prompt

_PLAIN = Prompt("", "", "")


def programs_of(
    policy: Policy,
    completions: Sequence[Completion],
    *,
    group_id: str,
    problem_id: str,
    prompt_ids: list[int],
    prompt: Prompt = _PLAIN,
    sampling: SamplingParams = PLAIN,
    purpose: Purpose = "train",
    label: str = "",
) -> list[Program]:
    """The programs of one visit; their ids are the group's with a number, so a visit that is repeated makes the same
    ids.

    Each is found in what was written for `prompt`. Raises UserError as a rule of the user's does.
    """
    programs = []
    for number, completion in enumerate(completions):
        text, offsets = decode_with_offsets(policy, completion.token_ids)
        end, end_tokens = _end(policy, completion, prompt, text, offsets)
        found = _program(policy, prompt, text, end)
        programs.append(
            Program(
                id=f"{group_id}/{number}",
                problem_id=problem_id,
                group_id=group_id,
                purpose=purpose,
                label=label,
                greedy=completion.greedy,
                prompt_ids=Ints(prompt_ids),
                token_ids=Ints(completion.token_ids),
                log_probs=Floats(completion.log_probs),
                versions=completion.versions,
                finish_reason=completion.finish_reason,
                end_tokens=end_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                min_p=sampling.min_p,
                repetition_penalty=sampling.repetition_penalty,
                sampled_log_probs=Floats(completion.sampled_log_probs),
                text=text,
                lead=found.lead,
                spans=Ints(place for span in found.spans for place in span),
                has_program=found.has_program,
                offsets=Ints(offsets),
            )
        )
    return programs


def _end(policy: Policy, completion: Completion, prompt: Prompt, text: str, offsets: list[int]) -> tuple[int, int]:
    """Where in the text the response ends, and how many of its last tokens ended it."""
    spec = policy.spec
    if completion.finish_reason != "stop":
        return len(text), 0
    if completion.token_ids[-1] in policy.stop_token_ids:
        return offsets[-1], 1
    return ended_at(text, offsets, stops_of(spec.prompt, prompt, spec.chat is not None)) or (len(text), 0)


def _program(policy: Policy, prompt: Prompt, text: str, end: int) -> Extracted:
    """The program in the first `end` characters of a text."""
    spec = policy.spec
    found = extract(text[:end], spec.prompt, prompt, spec.chat is not None, begins_reasoning(policy))
    if end < len(text) and found.has_program and not found.spans:  # all of it, but for what ended it
        return replace(found, spans=((0, end),))
    return found
