"""A reward function for TRL's trainers: `GRPOTrainer(reward_funcs=JudgeReward(), ...)`.

The data set has a column `problem` beside `prompt`: a record as in a `jsonl` file, as JSON text (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rltf.integrations.scorer import Record, Response, Scorer, shared_scorer


class JudgeReward:
    """What unit tests say of completions."""

    __name__ = "judge_reward"
    """What TRL's logs call it."""

    def __init__(self, scorer: Scorer | None = None, column: str = "problem") -> None:
        """`column`: of the data set, with the problems."""
        self._scorer, self._column = scorer, column

    def __call__(self, completions: Sequence[Response], **columns: Any) -> list[float | None]:
        """A reward per completion; None, which TRL leaves out, where there is no verdict."""
        problems: Sequence[Record] = columns[self._column]
        scorer = self._scorer or shared_scorer()
        return scorer.scores(list(zip(problems, completions, strict=True)))
