"""Small policies of every family for the tests of policy and actors."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from rltf.config import PolicyConfig
from rltf.policy.policy import Policy, PolicySpec, build_policy, make_spec
from rltf.problems import Prompt as Prompt
from tests.support.paths import SHARED

FAMILIES = ["llama", "qwen2", "gpt2", "codegen", "t5"]
TEXTS = [
    "def f(xs):\n    xs = sorted(xs)\n    return sum(x for x in xs if x > 3)\n",
    "print(max(xs) if xs else 0)\n",
] * 20
TOKENIZERS = SHARED / "data" / "tokenizers"

torch.set_num_threads(1)


@functools.cache
def spec_of(family: str, max_program_tokens: int = 128) -> PolicySpec:
    shape = PolicyConfig.model_validate(
        {
            "family": family,
            "d_model": 32,
            "layers": 2,
            "heads": 4,
            "d_ff": 48,
            "vocab_size": 300,
            "max_program_tokens": max_program_tokens,
        }
    )
    return make_spec(shape, TEXTS)


def policy_of(family: str, max_program_tokens: int = 128, seed: int = 1) -> Policy:
    """Fresh weights, scaled up so that the distributions are far from uniform."""
    policy = build_policy(spec_of(family, max_program_tokens), seed=seed)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(1.1)
    return policy


def with_end_likely(policy: Policy, token: int) -> Policy:
    """The same policy, ending programs at a token it writes often."""
    return replace(policy, eos_id=token)
