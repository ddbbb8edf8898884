"""Completions of the engine as the records that travel on."""

from __future__ import annotations

from collections.abc import Sequence

from rltf.actors.engine import Completion
from rltf.actors.sampling import PLAIN, SamplingParams
from rltf.buffer.columns import Floats, Ints
from rltf.buffer.records import Program, Purpose
from rltf.policy.encoding import decode_with_offsets
from rltf.policy.policy import Policy


def programs_of(
    policy: Policy,
    completions: Sequence[Completion],
    *,
    group_id: str,
    problem_id: str,
    prompt_ids: list[int],
    sampling: SamplingParams = PLAIN,
    purpose: Purpose = "train",
    label: str = "",
) -> list[Program]:
    """The programs of one visit; their ids are the group's with a number, so a visit that is repeated makes the same
    ids.
    """
    programs = []
    for number, completion in enumerate(completions):
        text, offsets = decode_with_offsets(policy, completion.token_ids)
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
                end_tokens=int(completion.finish_reason == "stop"),
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                min_p=sampling.min_p,
                repetition_penalty=sampling.repetition_penalty,
                sampled_log_probs=Floats(completion.sampled_log_probs),
                text=text,
                offsets=Ints(offsets),
            )
        )
    return programs
