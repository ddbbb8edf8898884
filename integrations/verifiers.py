"""A reward for verifiers: of a Rubric, `vf.Rubric(funcs=[passed])`, or, from 0.4 on, of a Task.

A Rubric's data set has the problem in `info["problem"]`, a Task's data in its field `problem`: a record as in a
`jsonl` file, or its JSON text (docs/data.md).
"""

from __future__ import annotations

import asyncio
from typing import Any

from rltf.buffer.records import Feedback
from rltf.integrations.scorer import shared_scorer


class Unjudged(Exception):
    """There is no verdict, and so no reward: the judge failed, which says nothing about the program."""


async def passed(completion: Any = None, info: Any = None, task: Any = None, trace: Any = None) -> float:
    """1 for a program that passes all tests, else 0. Raises Unjudged where there is no verdict."""
    problem, response = (info["problem"], completion) if trace is None else (task.problem, trace.last_reply)
    scorer = shared_scorer()
    (result,) = await asyncio.to_thread(scorer.judged, [(problem, response)])
    if not isinstance(result, Feedback):
        raise Unjudged(result.reason)
    return scorer.score(result)
