"""Rewards against the paper's Eq. 3-5 and Table 2, with compile errors as this interpreter really reports them."""

from __future__ import annotations

import pytest
from learner_parts import characters, feedback, group

from buffer.records import Feedback, Program, Sample
from learner.baselines import Baseline, Baselines
from learner.rewards import adaptive_reward, binary_reward, coarse_reward, error_class, fine_feedback, pass_ratio


def compile_error(text: str, finish_reason: str = "stop") -> tuple[Program, Feedback]:
    with pytest.raises(SyntaxError) as caught:
        compile(text, "<solution>", "exec")
    return characters(text, finish_reason), feedback("compile_error", type(caught.value).__name__, caught.value.lineno, run=0)


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
    assert error_class(program, feedback("runtime_error", error_type, 2)) == expected
    fine = fine_feedback(program, feedback("runtime_error", error_type, 2))
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
    assert error_class(program, verdict) == expected
    fine = fine_feedback(program, verdict)
    assert fine is not None
    assert fine.reward == (0.0 if expected == "U_ignore" else -0.3)
    if expected != "U_line":
        assert fine.span == (0, len(text))


def test_fine_applies_to_errors_only() -> None:
    program = characters("a = 1\n")
    assert fine_feedback(program, feedback("pass", passed=5)) is None
    assert fine_feedback(program, feedback("failure", "WrongAnswer", 1)) is None
    for blameless in (characters(""), program):
        found = fine_feedback(blameless, feedback("runtime_error", "Crash", 1 if blameless is not program else None))
        assert found is not None and found.span is None
    assert fine_feedback(program, feedback("runtime_error", "KeyError", 1), fine_reward=-0.1).reward == -0.1  # type: ignore[union-attr]


def test_best_baseline_is_begun_by_the_greedy_program_and_never_falls() -> None:
    baselines = Baselines("best")
    fails, errs, passes = (
        Sample(program=characters("a"), feedback=verdict)
        for verdict in (feedback("failure", passed=2), feedback("runtime_error", "KeyError", 1), feedback("pass", passed=5))
    )
    first = group([fails, fails], greedy=errs)
    assert baselines.of(first) == Baseline(-0.6, -0.6)
    baselines.update(first)
    second = group([passes], greedy=errs)
    assert baselines.of(second) == Baseline(-0.3, pytest.approx(-0.3 + 1.3 * 0.4))
    baselines.update(second)
    assert baselines.of(group([errs], greedy=errs)) == Baseline(1.0, 1.0)
    baselines.update(group([errs], greedy=errs))
    assert baselines.of(group([errs])) == Baseline(1.0, 1.0)
    assert baselines.of(group([errs], problem_id="another")) == Baseline(0.0, 0.0)
    restored = Baselines("best")
    restored.load_state_dict(baselines.state_dict())
    assert restored.of(group([errs])) == Baseline(1.0, 1.0)
    with pytest.raises(ValueError, match="kind best"):
        Baselines("greedy").load_state_dict(baselines.state_dict())


def test_greedy_and_no_baseline() -> None:
    fails, passes = (Sample(program=characters("a"), feedback=feedback(outcome)) for outcome in ("failure", "pass"))
    greedy = Baselines("greedy")
    greedy.update(group([passes], greedy=passes))
    assert greedy.of(group([passes], greedy=fails)).coarse == -0.3
    assert greedy.of(group([passes])).coarse == 1.0  # the greedy program was lost: the newest one stands in
    assert Baselines("none").of(group([passes], greedy=passes)) == Baseline(0.0, 0.0)
