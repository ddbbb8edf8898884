"""A problem's own checker (`checker_code`) on a lane of its own: neither in the program's process nor in the judge's.

To the lane it is a program like any other, whose function `check` is called with input, expected and actual output of
each test; so all that holds a program holds it too. What it answers counts only if it is True or False. Anything else,
an exception or a limit among it, says nothing of the program that is judged: CheckerFailure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rltf.executor.checkers import CheckerFailure
from rltf.executor.grading import Grader
from rltf.executor.labels import Verdict, sanitize, shortened, wrong_answer
from rltf.executor.lane import Lane
from rltf.executor.plaindata import encode
from rltf.executor.suites import ReadySuite, make_ready
from rltf.problems.problem import TestSuite
from rltf.problems.special_judges import CHECK

TIME_LIMIT_S = 10.0
"""CPU time that a checker has for each test."""
MAX_NODES = 1 << 20
"""Values in an answer, which is to be one truth value: more than the length of a report's line lets through."""
MEMORY_LIMIT_MB = 1024
"""Memory that it has at least; where the problem's programs have more, as much."""


class SpecialJudge:
    """The checker of one suite, on one lane."""

    def __init__(self, lane: Lane, ready: ReadySuite, memory_limit_mb: int) -> None:
        """`memory_limit_mb`: what the problem's programs have."""
        self._lane, self._ready = lane, ready
        self._memory_limit_mb = max(memory_limit_mb, MEMORY_LIMIT_MB)

    def settled(self, indices: Sequence[int], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdicts of the tests `indices`, those that a checker is to say decided.

        Raises CheckerFailure, and LaneFailure when the lane broke.
        """
        asked = [place for place, verdict in enumerate(verdicts) if verdict.unchecked]
        settled = list(verdicts)
        answers = self._answers([(indices[place], verdicts[place].given) for place in asked]) if asked else []
        for place, accepted in zip(asked, answers, strict=True):
            verdict = verdicts[place]
            if accepted:
                settled[place] = Verdict("pass", cpu_s=verdict.cpu_s)
            else:
                settled[place] = wrong_answer(self._ready, indices[place], verdict.given, verdict.cpu_s)
        return settled

    def _answers(self, given: list[tuple[int, Any]]) -> list[bool]:
        suite, count = self._ready.suite, len(given)
        calls = TestSuite("call", CHECK, ([],) * count, (True,) * count)
        tests = [(suite.inputs[index], suite.outputs[index], output) for index, output in given]
        ready = replace(
            make_ready(calls),
            tests=tuple([CHECK, list(map(encode, arguments))] for arguments in tests),
            max_nodes=(MAX_NODES,) * count,
            match=_is_accepted,
        )
        found = Grader(self._lane, ready, suite.checker_code, TIME_LIMIT_S, self._memory_limit_mb).grade()
        for (index, _), test in zip(given, found.tests, strict=True):
            if test.outcome not in ("pass", "failure"):
                where = f" at its line {found.line}" if found.line else ""
                said_of_it = f": {found.message}" if found.message else ""
                raise CheckerFailure(
                    f"the problem's checker_code failed for test {index + 1}: {found.error_name}{where}{said_of_it}"
                )
        return [test.outcome == "pass" for test in found.tests]


def _is_accepted(_: Any, answer: Any) -> bool:
    if not isinstance(answer, bool):
        raise CheckerFailure(sanitize(f"the problem's checker_code gave {shortened(answer)}, not True or False"))
    return answer
