"""From the unit tests' Feedback to the rewards of RLTF (arXiv 2307.04349, Eq. 3-5 and 9) and others. Pure functions.

The classes of errors are in `learner.error_classes`, the way from a line to its tokens in `learner.spans`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from numbers import Real
from typing import Literal

import numpy as np
import numpy.typing as npt

from rltf.buffer.records import Feedback, Group, Outcome, Program, Sample
from rltf.config import RltfConfig, UserFunction, chosen, is_user_name
from rltf.learner.error_classes import ErrorClass, error_class
from rltf.learner.spans import first_text_span, line_span, program_span

Span = tuple[int, int]
Reward = Callable[[Sample, Group], float]
"""Of a sample, which is one of a group's: its greedy one, or one of the others."""

COARSE: dict[Outcome, float] = {"pass": 1.0, "failure": -0.3, "runtime_error": -0.6, "compile_error": -1.0}
"""R_coarse by outcome (Eq. 3)."""


@dataclass(frozen=True, slots=True)
class FineFeedback:
    """The fine-grained feedback on one program."""

    reward: float
    """R_fine; 0.0 in U_ignore."""
    span: Span | None
    """[S, E) in tokens; None when there is no line to blame or no token of it, and so no fine term."""
    error_class: ErrorClass


def coarse_reward(feedback: Feedback) -> float:
    """R_coarse (Eq. 3), one of 1.0, -0.3, -0.6, -1.0."""
    return COARSE[feedback.outcome]


def adaptive_reward(feedback: Feedback) -> float:
    """R_adaptive (Eq. 5): -0.3 + 1.3 N_pass / (N_pass + N_fail) of a failure.

    A pass counts 1.0, which is the formula's value there, and an error its coarse reward: the formula is defined where
    every test ran to its end, and a baseline program may be anything.
    """
    if feedback.outcome != "failure":
        return coarse_reward(feedback)
    return -0.3 + 1.3 * feedback.passed / max(1, feedback.run)


def binary_reward(feedback: Feedback) -> float:
    """1.0 when every test passed, else 0.0."""
    return float(feedback.outcome == "pass")


def pass_ratio(feedback: Feedback) -> float:
    """Share of the problem's tests that passed, tests that were not reached counted as failed."""
    return feedback.passed / max(1, len(feedback.tests) or feedback.run)


def of_feedback(reward: Callable[[Feedback], float]) -> Reward:
    """The same reward of a sample."""

    @wraps(reward)
    def of_sample(sample: Sample, group: Group) -> float:
        return reward(sample.feedback)

    return of_sample


class UserReward(UserFunction):
    """A reward of the user's (`run.code`), `def reward(sample: Sample, group: Group) -> float`."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "reward", ["sample", "group"])
        self.__name__ = name

    def __call__(self, sample: Sample, group: Group) -> float:
        """The reward. Raises UserError where the function raises anything, or gives no finite number."""
        subject = f"program {sample.program.id}"
        value = self.call(subject, sample, group)
        if not isinstance(value, Real) or not math.isfinite(value):
            raise self.refused(subject, value, "a finite number")
        return float(value)


REWARDS: dict[str, Reward] = {
    "binary": of_feedback(binary_reward),
    "pass_ratio": of_feedback(pass_ratio),
    "coarse": of_feedback(coarse_reward),
    "adaptive": of_feedback(adaptive_reward),
}
"""By the names that the configuration gives them (`config.objectives.REWARDS`)."""


def reward_named(name: str) -> Reward:
    """A reward, the user's own for `module:name`. Raises UserError for a name that none has."""
    return UserReward(name) if is_user_name(name) else chosen(REWARDS, name, "reward")


def fine_feedback(
    program: Program, feedback: Feedback, config: RltfConfig, encoder_decoder: bool
) -> FineFeedback | None:
    """R_fine with its span [S, E) in tokens (Eq. 4); None when there is no error.

    Raises ValueError when the program's offsets do not fit its tokens.
    """
    kind = error_class(program, feedback, config)
    if kind is None:
        return None
    if kind != "U_line":
        return FineFeedback(0.0 if kind == "U_ignore" else config.fine_reward, program_span(program), kind)
    if not encoder_decoder and not config.decoder_only_lines:
        return FineFeedback(config.fine_reward, None, kind)
    if config.lines == "offsets":
        return FineFeedback(config.fine_reward, line_span(program, feedback.line), kind)
    # The released code searches for the line without its indentation, which only this one error leaves on.
    indented = feedback.error_type == "IndentationError" and "unexpected indent" in feedback.message
    return FineFeedback(config.fine_reward, first_text_span(program, feedback.line, indented), kind)


def fine_weights(
    fine: FineFeedback | None, chosen: npt.NDArray[np.bool_], alpha: Literal["span_ratio", "const"] = "span_ratio"
) -> npt.NDArray[np.float32]:
    """(T,) factors of log p(w_t) in -L_fine (Eq. 9): alpha R_fine where S <= t < E, else 0.

    `chosen` (T,): the tokens that are trained on (`learner.credit`); the others have 0. alpha = T / (E - S), T being
    the number of those chosen, or 1 for ``const``.
    """
    weights = np.zeros(len(chosen), np.float32)
    if fine is not None and fine.span is not None:
        start, end = fine.span
        factor = np.count_nonzero(chosen) / (end - start) if alpha == "span_ratio" else 1.0
        weights[start:end] = fine.reward * factor
    return weights * chosen
