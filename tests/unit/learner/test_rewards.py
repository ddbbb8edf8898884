"""Rewards against the paper's Eq. 3-5 and Table 2, with compile errors as this interpreter really reports them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from rltf.buffer.records import Feedback, Program, Sample
from rltf.config import RltfConfig
from rltf.learner.baselines import Baselines
from rltf.learner.error_classes import error_class
from rltf.learner.rewards import (
    REWARDS,
    adaptive_reward,
    binary_reward,
    coarse_reward,
    fine_feedback,
    fine_weights,
    pass_ratio,
)
from tests.support.learner_parts import characters, feedback, group

ALL = np.ones(8, np.bool_)
"""All tokens are trained on."""
BOTH = (REWARDS["coarse"], REWARDS["adaptive"])
PAPER, RELEASED = RltfConfig(), RltfConfig(preset="released_code")


def compile_error(text: str, finish_reason: str = "stop") -> tuple[Program, Feedback]:
    with pytest.raises(SyntaxError) as caught:
        compile(text, "<solution>", "exec")
    return characters(text, finish_reason), feedback(
        "compile_error", type(caught.value).__name__, caught.value.lineno, run=0
    )


def test_coarse_eq3() -> None:
    outcomes = ("pass", "failure", "runtime_error", "compile_error")
    assert [coarse_reward(feedback(outcome)) for outcome in outcomes] == [1.0, -0.3, -0.6, -1.0]


def test_adaptive_eq5() -> None:
    assert adaptive_reward(feedback("failure", passed=0, run=5)) == pytest.approx(-0.3)
    assert adaptive_reward(feedback("failure", passed=2, run=5)) == pytest.approx(-0.3 + 1.3 * 2 / 5)
    assert adaptive_reward(feedback("failure", passed=4, run=5)) == pytest.approx(0.74)
    assert adaptive_reward(feedback("pass", passed=5)) == 1.0
    assert adaptive_reward(feedback("runtime_error", "IndexError", 1, passed=4)) == -0.6
    assert adaptive_reward(feedback("compile_error", "SyntaxError", 1)) == -1.0


def test_binary_reward_and_pass_ratio() -> None:
    assert binary_reward(feedback("pass", passed=5)) == 1.0 and binary_reward(feedback("failure", passed=4)) == 0.0
    # A program that stopped at an error is judged by all tests of the problem, those it did not reach included.
    assert pass_ratio(feedback("runtime_error", "KeyError", passed=1, run=5)) == pytest.approx(0.2)
    assert pass_ratio(feedback("compile_error", "SyntaxError", run=0)) == 0.0


@pytest.mark.parametrize(
    ("error_type", "expected"),
    [
        ("IndexError", "U_line"),
        ("TypeError", "U_line"),
        ("ValueError", "U_line"),
        ("EOFError", "U_line"),
        ("TimeLimit", "U_global"),
        ("NameError", "U_line"),
        ("UnboundLocalError", "U_line"),
        ("KeyError", "U_line"),
        ("ImportError", "U_line"),
        ("ModuleNotFoundError", "U_line"),
        ("ZeroDivisionError", "U_line"),
        ("RecursionError", "U_global"),
        ("AttributeError", "U_line"),
        ("RuntimeError", "U_line"),
        ("TimeoutError", "U_line"),  # raised by the program itself: not the limit
        ("MemoryLimit", "U_line"),
        ("NonZeroExit", "U_line"),
    ],
)
def test_table2_runtime_errors(error_type: str, expected: str) -> None:
    program = characters("a = 1\nb = 2\n")
    assert error_class(program, feedback("runtime_error", error_type, 2), PAPER) == expected
    fine = fine_feedback(program, feedback("runtime_error", error_type, 2), PAPER, True)
    assert fine is not None and fine.reward == -0.3
    assert fine.span == ((6, 12) if expected == "U_line" else (0, 12))


@pytest.mark.parametrize(
    ("text", "finish_reason", "expected"),
    [
        ("x = (1,\ny = 2\nprint(x\n", "stop", "U_line"),
        ("x = 1\nif x\n    y = 2\n", "length", "U_line"),  # cut off, but the error is further up
        ("x = 1\ny = foo(", "length", "U_global"),
        ("x = 1\ny = foo(", "stop", "U_line"),  # the model itself ended it
        ("x = 1\ny = 'ab", "length", "U_global"),
        ("x = 1\ny = 'ab\n\n  \n", "length", "U_global"),  # the last line that is not blank
        ("x = 1\ny = '''ab\ncd\n", "stop", "U_ignore"),
        ('x = 1\ny = """ab\ncd', "length", "U_ignore"),
        ('x = f"""ab {1}\ncd', "stop", "U_ignore"),
        ('"""a"""\ny = """ab "\' \\""" ', "stop", "U_ignore"),
        ('"""closed"""\nx = = 1\n', "stop", "U_line"),
        ('x = = 1\n"""closed"""\n', "stop", "U_line"),
        ("y = 'ab\n", "stop", "U_line"),
        ("def f(:\n", "stop", "U_line"),
        ("if True:\nx = 1\n", "stop", "U_ignore"),
        ("x = 1\n  y = 2\n", "stop", "U_ignore"),
        ("if True:\n    x = 1\n  y = 2\n", "stop", "U_ignore"),
        ("if True:\n\tx = 1\n        y = 2\n", "stop", "U_ignore"),  # TabError
        ("for i in x:", "length", "U_ignore"),  # Indentation Error is the more specific row
        ("return 1\n", "stop", "U_line"),
    ],
)
def test_table2_compile_errors(text: str, finish_reason: str, expected: str) -> None:
    program, verdict = compile_error(text, finish_reason)
    assert error_class(program, verdict, PAPER) == expected
    fine = fine_feedback(program, verdict, PAPER, False)
    assert fine is not None
    assert fine.reward == (0.0 if expected == "U_ignore" else -0.3)
    if expected != "U_line":
        assert fine.span == (0, len(text))


def test_fine_applies_to_errors_only() -> None:
    program = characters("a = 1\n")
    assert fine_feedback(program, feedback("pass", passed=5), PAPER, True) is None
    assert fine_feedback(program, feedback("failure", "WrongAnswer", 1), PAPER, True) is None
    for blameless in (characters(""), program):
        found = fine_feedback(
            blameless, feedback("runtime_error", "Crash", 1 if blameless is not program else None), PAPER, True
        )
        assert found is not None and found.span is None and not fine_weights(found, ALL[:6]).any()
    milder = fine_feedback(program, feedback("runtime_error", "KeyError", 1), RltfConfig(fine_reward=-0.1), True)
    assert milder is not None and milder.reward == -0.1


def test_alpha_is_length_over_span() -> None:
    program = characters("ab\ncdef\n")
    fine = fine_feedback(program, feedback("runtime_error", "KeyError", 2), PAPER, True)
    assert fine is not None and fine.span == (3, 8)
    assert fine_weights(fine, ALL).tolist() == pytest.approx([0, 0, 0] + [-0.3 * 8 / 5] * 5)
    assert fine_weights(fine, ALL, "const").tolist() == pytest.approx([0, 0, 0] + [-0.3] * 5)
    assert not fine_weights(None, ALL).any()


@pytest.mark.parametrize(
    ("switch", "text", "error", "paper", "released"),
    [
        ({"timeouts": "ignore"}, "while 1: pass\n", ("runtime_error", "TimeLimit", ""), "U_global", "U_ignore"),
        (
            {"indentation_errors": "by_message"},
            "x\n  y\n",
            ("compile_error", "IndentationError", "unexpected indent"),
            "U_ignore",
            "U_line",
        ),
        (
            {"indentation_errors": "by_message"},
            "if x:\n    y\n  z\n",
            ("compile_error", "IndentationError", "unindent does not match any outer indentation level"),
            "U_ignore",
            "U_ignore",
        ),
        (
            {"indentation_errors": "by_message"},
            "x\n\ty\n",
            ("compile_error", "TabError", "inconsistent tabs"),
            "U_ignore",
            "U_ignore",
        ),
        (
            {"triple_quoted": "line"},
            "x = '''\n",
            ("compile_error", "SyntaxError", "unterminated triple-quoted"),
            "U_ignore",
            "U_line",
        ),
        (
            {"unfinished": "last_line"},
            "x = = 1\n",
            ("compile_error", "SyntaxError", "invalid syntax"),
            "U_line",
            "U_global",
        ),
        (
            {"unfinished": "last_line"},
            "x = (\n",
            ("compile_error", "SyntaxError", "'(' was never closed"),
            "U_line",
            "U_line",
        ),
        (
            {"other_errors": "ignore"},
            "raise RuntimeError\n",
            ("runtime_error", "RuntimeError", ""),
            "U_line",
            "U_ignore",
        ),
        ({"other_errors": "ignore"}, "exit(3)\n", ("runtime_error", "NonZeroExit", ""), "U_line", "U_ignore"),
        (
            {"other_errors": "ignore"},
            "f(a, a)\n",
            ("compile_error", "SyntaxError", "duplicate argument 'a'"),
            "U_line",
            "U_ignore",
        ),
        ({"other_errors": "ignore"}, "x\0\n", ("compile_error", "ValueError", "null bytes"), "U_line", "U_ignore"),
        ({"other_errors": "ignore"}, "x[9]\n", ("runtime_error", "IndexError", ""), "U_line", "U_line"),
        ({"other_errors": "ignore"}, "f()\n", ("runtime_error", "RecursionError", ""), "U_global", "U_global"),
    ],
)
def test_each_difference_to_the_released_code_has_its_switch(
    switch: dict[str, str], text: str, error: tuple[Any, str, str], paper: str, released: str
) -> None:
    program = characters(text)
    verdict = msgspec.structs.replace(feedback(error[0], error[1], 1), message=error[2])
    assert error_class(program, verdict, PAPER) == paper
    assert error_class(program, verdict, RltfConfig.model_validate(switch)) == released
    assert error_class(program, verdict, RELEASED) == released


def test_unfinished_code_is_told_by_its_length_or_by_its_message() -> None:
    cut = characters("x = 1\ny = foo(", "length")
    verdict = msgspec.structs.replace(feedback("compile_error", "SyntaxError", 2), message="'(' was never closed")
    assert error_class(cut, verdict, PAPER) == "U_global"
    assert error_class(cut, verdict, RELEASED) == "U_line"


def test_lines_are_found_by_position_or_by_their_first_text() -> None:
    program = characters("a = b + 1\n  b\nb\n")
    verdict = feedback("runtime_error", "NameError", 2)

    def span(config: RltfConfig, encoder_decoder: bool = True, message: str = "") -> tuple[int, int] | None:
        found = fine_feedback(program, msgspec.structs.replace(verdict, message=message), config, encoder_decoder)
        assert found is not None
        return found.span

    assert span(PAPER) == span(PAPER, encoder_decoder=False) == (10, 14)
    assert span(RELEASED) == (4, 5), "the text `b` occurs inside the first line"
    assert span(RELEASED, encoder_decoder=False) is None
    indented = feedback("compile_error", "IndentationError", 2)
    found = fine_feedback(program, msgspec.structs.replace(indented, message="unexpected indent"), RELEASED, True)
    assert found is not None and found.span == (10, 13), "of this error alone the indentation is searched for too"


def test_best_baseline_is_begun_by_the_greedy_program_and_never_falls() -> None:
    baselines = Baselines("best", BOTH)
    fails, errs, passes = (
        Sample(program=characters("a"), feedback=verdict)
        for verdict in (
            feedback("failure", passed=2),
            feedback("runtime_error", "KeyError", 1),
            feedback("pass", passed=5),
        )
    )
    first = group([fails, fails], greedy=errs)
    assert baselines.baseline_for(first) == (-0.6, -0.6)
    baselines.update(first)
    second = group([passes], greedy=errs)
    assert baselines.baseline_for(second) == (-0.3, pytest.approx(-0.3 + 1.3 * 0.4))
    baselines.update(second)
    assert baselines.baseline_for(group([errs], greedy=errs)) == (1.0, 1.0)
    baselines.update(group([errs], greedy=errs))
    assert baselines.baseline_for(group([errs])) == (1.0, 1.0)
    assert baselines.baseline_for(group([errs], problem_id="another")) == (0.0, 0.0)
    restored = Baselines("best", BOTH)
    restored.load_state_dict(baselines.state_dict())
    assert restored.baseline_for(group([errs])) == (1.0, 1.0)
    with pytest.raises(ValueError, match="kind best"):
        Baselines("latest_greedy", BOTH).load_state_dict(baselines.state_dict())
    with pytest.raises(ValueError, match="values of coarse_reward and adaptive_reward, not of coarse_reward"):
        Baselines("best", BOTH[:1]).load_state_dict(baselines.state_dict())


def test_greedy_and_no_baseline() -> None:
    fails, passes = (Sample(program=characters("a"), feedback=feedback(outcome)) for outcome in ("failure", "pass"))
    greedy = Baselines("latest_greedy", BOTH)
    greedy.update(group([passes], greedy=passes))
    assert greedy.baseline_for(group([passes], greedy=fails))[0] == -0.3
    assert greedy.baseline_for(group([passes]))[0] == 1.0  # the greedy program was lost: the newest one stands in
    assert Baselines("none", BOTH).baseline_for(group([passes], greedy=passes)) == (0.0, 0.0)


def test_group_mean_baseline() -> None:
    verdicts = feedback("pass"), feedback("runtime_error", "KeyError")
    passes, errs = (Sample(program=characters("a"), feedback=verdict) for verdict in verdicts)
    means = Baselines("group_mean", BOTH)
    means.update(group([passes], greedy=passes))
    assert means.baseline_for(group([passes, errs, errs], greedy=passes)) == (
        pytest.approx(-0.2 / 3),
        pytest.approx(-0.2 / 3),
    )
    assert means.baseline_for(group([])) == (0.0, 0.0)
