"""Programs for the warm start, as a careless programmer would write them: each line is wrong with its own
probability.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rltf.problems.problem import Problem
from rltf.problems.prompts import Prompt, prompt_of
from rltf.problems.starter.tasks import Task, program_text


class StarterCorpus:
    """Programs drawn with bugs for the given starter problems. It reads neither their solutions nor their tests."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Raises ValueError when a problem's id names no starter task."""
        self._tasks = [(prompt_of(problem), Task.from_id(problem.id)) for problem in problems]

    def draw(self, rng: random.Random) -> tuple[Prompt, str]:
        """The prompt of a random problem and a program for it, whose lines are drawn right or wrong one by one."""
        prompt, task = rng.choice(self._tasks)
        return prompt, program_text(task.form, [line.draw(rng) for line in task.lines()])
