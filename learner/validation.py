"""Whether a sample can be trained on by this policy: its ids have embeddings, its lengths have positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rltf.buffer.records import Malformed, Program
from rltf.policy.policy import Policy


def make_validator(policy: Policy) -> Callable[[Program], None]:
    """A check for `OnlineBuffer.validate`: it raises Malformed, with the reason, for a program that it cannot have
    written.

    On a GPU an id without an embedding ends the whole process, so it has to be found before the step.
    """
    embeddings = policy.model.get_input_embeddings().num_embeddings
    limits = {"prompt": policy.spec.max_prompt_tokens, "program": policy.spec.max_program_tokens}

    def check(program: Program) -> None:
        for name, ids in (("prompt", program.prompt_ids), ("program", program.token_ids)):
            if len(ids) > limits[name]:
                raise Malformed(f"{len(ids)} tokens in the {name}, of which the policy takes {limits[name]}")
            if ids and (largest := int(np.frombuffer(ids, np.int32).max())) >= embeddings:
                raise Malformed(f"token {largest} in the {name}, but the policy has {embeddings} embeddings")
        if program.offsets and int(np.frombuffer(program.offsets, np.int32).max()) > len(program.text):
            raise Malformed(f"a token begins behind the {len(program.text)} characters of the text")

    return check
