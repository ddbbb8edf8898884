"""Programs before and after training as they are kept in result.json and shown: text, verdict and the line of the
error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from rltf.buffer.records import Sample


class BeforeAfter(Protocol):
    """What the policy wrote for one held-out problem before and after training (evaluation.summary.Example)."""

    @property
    def question(self) -> str:
        """The problem's text."""

    @property
    def before(self) -> Sample:
        """A program of the first held-out evaluation."""

    @property
    def after(self) -> Sample:
        """A program of the last one."""


def as_rows(pairs: Iterable[BeforeAfter]) -> list[dict[str, Any]]:
    """JSON-able: {"question": .., "before": {"text", "verdict", "passed", "line"}, "after": ..} of each pair."""
    return [{"question": pair.question, "before": _row(pair.before), "after": _row(pair.after)} for pair in pairs]


def _row(sample: Sample) -> dict[str, Any]:
    feedback = sample.feedback
    return {
        "text": sample.program.text,
        "verdict": verdict(sample),
        "passed": feedback.outcome == "pass",
        "line": feedback.line,
    }


def verdict(sample: Sample) -> str:
    """ "passes 5 of 5 tests", or what went wrong and where."""
    feedback = sample.feedback
    if feedback.outcome == "pass":
        return f"passes {feedback.passed} of {len(feedback.tests) or feedback.passed} tests"
    where = f" in line {feedback.line}" if feedback.line else ""
    if feedback.outcome == "failure":
        return f"wrong answer, {feedback.passed} of {len(feedback.tests) or feedback.run} tests passed"
    return f"{feedback.error_type or feedback.outcome.replace('_', ' ')}{where}"
