"""What the adapters share: from a problem and a response to a verdict, and from that to a number.

A problem is a record as in a `jsonl` file (docs/data.md), or its JSON text, and needs no question; a response is text,
or the messages of a conversation, of which the last one counts.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Literal

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig, PromptConfig
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.judge_pool import JudgePool, Task
from rltf.executor.responses import no_program
from rltf.problems import TestSuite
from rltf.problems.extraction import extract
from rltf.problems.jsonl import suite_of
from rltf.problems.prompts import Prompt

Record = str | Mapping[str, Any]
Response = str | Sequence[Mapping[str, Any]]
Measure = Literal["pass", "pass_ratio"]

URL = "RLTF_JUDGE_URL"
"""Environment variable: where `serve` listens; without it programs are judged on this machine."""
MAX_SUITES = 4096


class Scorer:
    """Judges responses. May be used by many threads at a time."""

    def __init__(
        self, config: ExecutorConfig | None = None, lanes: int | None = None, measure: Measure = "pass"
    ) -> None:
        """Nothing is started yet.

        Args:
            config: which judge, and its limits; None: that of RLTF_JUDGE_URL, else this machine's.
            lanes: programs that are judged at a time; None: one per core.
            measure: pass: 1 for a program that passes all tests, else 0; pass_ratio: the share of tests that it passes.

        """
        url = os.environ.get(URL, "")
        self._config = config or (ExecutorConfig(judge="remote", judge_url=url) if url else ExecutorConfig())
        self._lanes = lanes or len(os.sched_getaffinity(0))
        self._measure = measure
        self._pool: JudgePool | None = None
        self._lock = threading.Lock()

    def judged(self, pairs: Sequence[tuple[Record, Response]]) -> list[Feedback | InfrastructureFailure]:
        """A verdict for each problem and response, in their order.

        Raises ValueError for a problem that cannot be used, LaneFailure when the judge does not start.
        """
        with self._lock:
            if self._pool is None:
                self._pool = JudgePool(lambda: Judge.from_config(self._config, 1), self._lanes)
        found: list[Feedback | Task[Feedback | InfrastructureFailure]] = []
        for record, response in pairs:
            suite, program = _suite(record), program_of(response, _entry_point(record))
            judged = no_program(suite, self._config) if program is None else self._pool.submit(_grading(suite, program))
            found.append(judged)
        return [one.future.result() if isinstance(one, Task) else one for one in found]

    def scores(self, pairs: Sequence[tuple[Record, Response]]) -> list[float | None]:
        """A number for each pair; None where there is no verdict, which says nothing about the program."""
        return [self.score(result) if isinstance(result, Feedback) else None for result in self.judged(pairs)]

    def score(self, feedback: Feedback) -> float:
        """The number for a verdict."""
        return feedback.share_passed if self._measure == "pass_ratio" else float(feedback.outcome == "pass")

    def close(self) -> None:
        """Ends the judges."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
            self._pool = None


@cache
def shared_scorer() -> Scorer:
    """One for all that this process judges."""
    return Scorer()


def _grading(suite: TestSuite, program: str) -> Callable[[Judge], Feedback | InfrastructureFailure]:
    return lambda judge: judge.grade([(suite, program)])[0]


def program_of(response: Response, entry_point: str = "") -> str | None:
    """The program in a response: the fenced block that defines the entry point, else the last one, else all of it.

    None where a reasoning does not end.
    """
    text = response if isinstance(response, str) else str(response[-1]["content"])
    prompt = Prompt("", "", "", entry_point=entry_point)
    for program in ("entry_block", "after_reasoning") if "```" in text else ("after_reasoning",):
        found = extract(text, PromptConfig(program=program), prompt, chat=True)
        if found.has_program:
            return "".join(text[begin:end] for begin, end in found.spans) or text
    return None


def _suite(record: Record) -> TestSuite:
    return _parsed(record if isinstance(record, str) else json.dumps(record))


@lru_cache(MAX_SUITES)
def _parsed(text: str) -> TestSuite:
    """Equal texts are one object, which judges prepare once."""
    return suite_of(_object(text))


def _entry_point(record: Record) -> str:
    fields = _object(record) if isinstance(record, str) else record
    return str(fields.get("entry_point") or fields.get("fn_name") or "")


def _object(text: str) -> dict[str, Any]:
    record = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError("a problem must be a JSON object, as a line of a jsonl file")
    return record
