"""A reward function for verl: `reward.custom_reward_function.path=pkg://rltf.integrations.verl`, name `compute_score`.

`reward_model.ground_truth` of the data is a record as in a `jsonl` file, as JSON text (docs/data.md).
"""

from __future__ import annotations

from typing import Any

from rltf.buffer.records import Feedback
from rltf.integrations.scorer import shared_scorer


class Unjudged(Exception):
    """There is no verdict, and so no reward: the judge failed, which says nothing about the program."""


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any
) -> dict[str, Any]:
    """`score` and `acc` 1 for a program that passes all tests, else 0; `pass_ratio`, `outcome` and `error_type` beside.

    Raises Unjudged where there is no verdict.
    """
    scorer = shared_scorer()
    (result,) = scorer.judged([(ground_truth, solution_str)])
    if not isinstance(result, Feedback):
        raise Unjudged(result.reason)
    score = scorer.score(result)
    told = {"pass_ratio": result.share_passed, "outcome": result.outcome, "error_type": result.error_name}
    return {"score": score, "acc": score, **told}
