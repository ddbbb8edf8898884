"""Programs that are parts of a response: lines become tokens of the response, what stands outside is trained on or not."""

from __future__ import annotations

import numpy as np
import pytest

from rltf.buffer.columns import Ints
from rltf.buffer.records import Feedback, Group, Program, Sample
from rltf.config import Config, CreditConfig, GrpoConfig, RltfConfig
from rltf.learner.credit import credited
from rltf.learner.error_classes import error_class
from rltf.learner.objectives.grpo import Grpo
from rltf.learner.objectives.rltf import Rltf
from rltf.learner.rewards import fine_feedback
from rltf.learner.spans import is_last_line, line_span, program_span
from tests.support.learner_parts import characters, feedback, group

WORDS = "Here:\n  ```\n  x = 1\n    y = z\n  ```\nDone."
"""A block that is indented by two, so that each of its lines is a span of its own."""
SPANS = Ints([14, 20, 22, 30])


def reply(**fields: object) -> Program:
    """A token per character and an end-of-sequence token."""
    count = len(WORDS)
    own = {
        "spans": SPANS,
        "token_ids": [5] * count + [2],
        "offsets": [*range(count), count],
        "log_probs": [-1.0] * (count + 1),
        "end_tokens": 1,
    }
    return characters(WORDS, **(own | fields))


def test_a_line_of_the_program_is_a_span_of_the_response() -> None:
    program = reply()
    assert program.code == "x = 1\n  y = z\n"
    assert line_span(program, 1) == (14, 20) and line_span(program, 2) == (22, 30) == line_span(program, 3)
    assert program_span(program) == (14, 30)
    assert is_last_line(program.code, 2)
    assert line_span(reply(spans=Ints([14, 17, 18, 24])), 1) == (14, 20), "both parts of a line in two spans"


def test_what_the_prompt_wrote_has_no_tokens() -> None:
    program = reply(lead="import math\nx")
    assert program.code.startswith("import math\nxx = 1\n")
    assert line_span(program, 1) is None and line_span(program, 2) == (14, 20)


def test_a_token_over_the_edge_of_the_program_belongs_to_it() -> None:
    # tokens: "Here:\n  ```", "\n  x", " = 1\n  ", "  y = z\n", "  ```", "\nDone.", end of sequence
    program = reply(token_ids=[5] * 7, offsets=[0, 11, 15, 22, 30, 35, 41], log_probs=[-1.0] * 7)
    assert line_span(program, 1) == (1, 3) and line_span(program, 2) == (3, 4)
    assert credited(program, CreditConfig(outside="none")).tolist() == [False, True, True, True, False, False, True]


@pytest.mark.parametrize("end_token", [True, False])
@pytest.mark.parametrize("outside", ["coarse", "none"])
def test_tokens_outside_and_the_end(outside: str, end_token: bool) -> None:
    credit = CreditConfig.model_validate({"outside": outside, "end_token": end_token})
    inside = [14 <= index < 20 or 22 <= index < 30 for index in range(len(WORDS))]
    expected = [*(inside if outside == "none" else [True] * len(WORDS)), end_token]
    assert credited(reply(), credit).tolist() == expected
    whole = [*[True] * len(WORDS), end_token]
    assert credited(reply(spans=Ints()), credit).tolist() == whole
    assert credited(reply(spans=Ints(), has_program=False), credit).tolist() == whole, "it is trained on as a whole"


@pytest.mark.parametrize("outside", ["coarse", "none"])
def test_rltf_weighs_the_line_by_the_tokens_that_are_trained_on(outside: str) -> None:
    program, verdict = reply(), feedback("runtime_error", "NameError", 2)
    credit = CreditConfig.model_validate({"outside": outside})
    objective = Rltf(RltfConfig(), False, 100, credit)
    found = objective.weights(
        Sample(program=program, feedback=verdict), (0.0, 0.0), fine_feedback(program, verdict, RltfConfig(), False)
    )
    chosen = credited(program, credit)
    assert found[0].tolist() == pytest.approx([-0.6 if each else 0.0 for each in chosen])
    alpha = chosen.sum() / 8
    assert found[1].tolist() == pytest.approx([-0.3 * alpha if 22 <= i < 30 else 0.0 for i in range(len(WORDS) + 1)])


def test_unfinished_code_is_blamed_on_the_program_alone() -> None:
    program = reply(finish_reason="length", spans=Ints([14, 20, 22, 29]))
    verdict = feedback("runtime_error", "TimeLimit")
    fine = fine_feedback(program, verdict, RltfConfig(), False)
    assert fine is not None and (fine.error_class, fine.span) == ("U_global", (14, 29))


def test_a_response_without_a_program_has_the_coarse_reward_alone() -> None:
    program = reply(spans=Ints(), has_program=False)
    verdict = Feedback(outcome="compile_error", error_type="NoProgram")
    assert program.code == "" and program.parts == []
    assert error_class(program, verdict, RltfConfig()) == "U_ignore"
    fine = fine_feedback(program, verdict, RltfConfig(), False)
    sample = Sample(program=program, feedback=verdict)
    weights = Rltf(RltfConfig(), False, 100, CreditConfig(outside="none")).weights(sample, (0.0, 0.0), fine)
    assert (weights[0] == -1.0).all() and not weights[1:].any()


def test_an_advantage_weighs_what_is_trained_on() -> None:
    right, wrong = reply(), reply(id="q")
    samples = [
        Sample(program=right, feedback=feedback("pass", passed=5)),
        Sample(program=wrong, feedback=feedback("runtime_error", "NameError", 1)),
    ]
    config = Config.model_validate(
        {"learner": {"objective": "grpo"}, "credit": {"outside": "none"}, "grpo": {"fine": True}}
    )
    objective = Grpo.from_config(config, False)
    assert isinstance(config.objective, GrpoConfig)
    groups: list[Group] = [group(samples)]
    items = objective.prepare(groups).items
    chosen = credited(right, config.credit)
    assert [np.sign(item.weights[0]).tolist() for item in items] == [chosen.tolist(), (-1.0 * chosen).tolist()]
    assert np.flatnonzero(items[1].weights[1]).tolist() == list(range(14, 20)) and not items[0].weights[1].any()
