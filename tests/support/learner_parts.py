"""Small records and policies for the learner's tests."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from rltf.buffer.records import Feedback, Group, Outcome, Program, Sample, TestResult, VersionRun
from rltf.config import LearnerConfig, PolicyConfig
from rltf.policy.encoding import decode_with_offsets, encode_program
from rltf.policy.policy import Policy, build_policy, make_spec

CORPUS = [
    f"def f(xs):\n    return {word}(xs) + {number}\n" for word in ("sum", "max", "min", "len") for number in range(9)
]
CRITIC_TOKENS = 200
"""Padded tokens of a micro-batch of the critic."""
_numbers = itertools.count()

torch.set_num_threads(1)  # two threads on cores that others use are slower than one


def policy(family: str = "llama", seed: int = 0, **shape: Any) -> Policy:
    """A fresh policy of some ten thousand parameters."""
    sizes = {
        "d_model": 32,
        "layers": 1,
        "heads": 4,
        "d_ff": 48,
        "vocab_size": 270,
        "max_prompt_tokens": 32,
        "max_program_tokens": 64,
    }
    return build_policy(make_spec(PolicyConfig(family=family, **(sizes | shape)), CORPUS), seed)  # type: ignore[arg-type]


def learner_config(**fields: Any) -> LearnerConfig:
    return LearnerConfig(**({"mixed_precision": "never"} | fields))


def characters(text: str, finish_reason: Any = "stop", **fields: Any) -> Program:
    """A program of one token per character."""
    values: dict[str, Any] = {
        "id": f"p{next(_numbers)}", "problem_id": "a", "group_id": "g", "prompt_ids": [1, 2], "token_ids": [5] * len(text),
        "log_probs": [-1.0] * len(text), "versions": [VersionRun(0, 0)], "finish_reason": finish_reason, "temperature": 1.0,
        "top_p": 1.0, "text": text, "offsets": list(range(len(text))),
    }  # fmt: skip
    return Program(**(values | fields))


def written(policy: Policy, text: str, prompt_ids: list[int], **fields: Any) -> Program:
    """A program as `policy`'s tokens spell it."""
    token_ids = encode_program(policy, text)
    decoded, offsets = decode_with_offsets(policy, token_ids)
    return characters(
        decoded,
        prompt_ids=prompt_ids,
        token_ids=token_ids,
        offsets=offsets,
        **({"log_probs": [-2.0] * len(token_ids)} | fields),
    )


def feedback(
    outcome: Outcome, error_type: str | None = None, line: int | None = None, passed: int = 0, run: int = 5
) -> Feedback:
    tests = [TestResult(outcome="pass")] * passed + [TestResult(outcome=outcome, error_type=error_type)] * (
        run - passed
    )
    return Feedback(outcome=outcome, error_type=error_type, line=line, passed=passed, run=run, tests=tests)


def group(samples: list[Sample], greedy: Sample | None = None, problem_id: str = "a") -> Group:
    return Group(id=f"g{next(_numbers)}", problem_id=problem_id, samples=samples, greedy=greedy)
