"""The rules that compare outputs: `standard` decides by what is meant, `apps_compat` errs exactly where the published
harness did.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rltf.config import UserError
from rltf.executor.apps_compat import AppsCompat
from rltf.executor.checkers import Standard, Tokens, make_checker
from rltf.problems import load_problems
from rltf.problems.problem import TestSuite

STANDARD, APPS = Standard(), AppsCompat()


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        ("1 2\n3\n", "1 2\n3\n", True),
        ("1 2\n3\n", "1  2 \r\n\n3", True),
        ("1 2\n3\n", "1 2 3\n", False),
        ("1\n2\n", "2\n1\n", False),
        ("1\n2\n", "1\n", False),
        ("", "\n \n", True),
        ("", "0", False),
        ("YES", "Yes", False),
        ("3", "3.0", False),
        ("3", "03", False),
        ("3.0", "3", True),
        ("0.5", ".5", True),
        ("0.5", "0.5000001", True),
        ("0.5", "0.50001", False),
        ("1000000.0", "1000000.9", True),
        ("1e-9", "0", True),
        ("1e5", "100000", True),
        ("2.0", "nan", False),
        ("nan", "nan", True),
        ("1e999", "1e998", False),
        ("1e999", "1e999", True),
        ("inf", "1e999", False),
        ("123456789012345678901", "123456789012345678902", False),
        ("1.5", "1.5abc", False),
        ("a.b", "a.c", False),
        ("0.1 x", "0.10000000001 x", True),
        ("1.0", "1_0", False),
        ("1.0", "١", False),
    ],
)
def test_standard_texts(expected: str, actual: str, accepted: bool) -> None:
    assert STANDARD.matches_output(expected, actual) is accepted


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        (1, 1, True),
        (1, True, False),
        (False, 0, False),
        (2**53 + 1, float(2**53), False),
        (0.1 + 0.2, 0.3, True),
        (0.5, 10**400, False),
        (float("inf"), float("inf"), True),
        (float("inf"), 1e308, False),
        ([1, [2.0]], (1, (2.0000001,)), True),
        ([1, 2], [1, 2, 3], False),
        ("ab", ["a", "b"], False),
        ({"1": 2}, {1: 2}, True),
        ({"1": 2}, {1: 2, "1": 2}, False),
        (None, 0, False),
    ],
)
def test_standard_values(expected: Any, actual: Any, accepted: bool) -> None:
    assert STANDARD.matches_value(expected, actual) is accepted


def test_a_problem_may_name_its_own_tolerance() -> None:
    def checker(tolerance: float | None) -> Any:
        return make_checker(TestSuite("stdin", None, ("",), ("",), tolerance=tolerance))

    assert [checker(t).matches_output("3.14", "3.1416") for t in (None, 1e-2, 1e-4, 0)] == [False, True, False, False]
    assert [checker(t).matches_output("3.14", "3.140") for t in (None, 0)] == [True, True]
    assert [checker(t).matches_value([3.14], [3.1416]) for t in (None, 1e-2)] == [False, True]
    assert not checker(1e-2).matches_output("314", "315")  # integers stay exact
    with pytest.raises(ValueError, match="tolerance"):
        checker(-1)
    with pytest.raises(ValueError, match="unknown checker 'loose'"):
        TestSuite("stdin", None, ("",), ("",), checker="loose")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        ("1\n2\n3\n", "1 2 3", True),
        ("1 2\n", "1\n\n2", True),
        ("10098\n", "10098.0", True),
        ("1", "1.0000000000", True),
        ("1", "1.0000000001", False),
        ("100", "1e2", True),
        ("1.5", "1.5000001", True),
        ("123456789012345678901", "123456789012345678902.0", False),
        ("1e9999", "1e9998", False),
        ("1 2", "2 1", False),
        ("1 2", "1 2 3", False),
        ("YES", "yes", False),
        ("a", "1", False),
    ],
)
def test_tokens_texts(expected: str, actual: str, accepted: bool) -> None:
    assert Tokens().matches_output(expected, actual) is accepted


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        (True, 1, True),
        ([False], (0,), True),
        (3, 3.0, True),
        (3, 3.0000001, False),
        (0.5, 0.5000001, True),
        ("1", 1, False),
    ],
)
def test_tokens_values(expected: Any, actual: Any, accepted: bool) -> None:
    assert Tokens().matches_value(expected, actual) is accepted


KNOWN_WRONG = [
    ("YES\nNO\nYES\n", "NO\nYES\nYES\n", "the order of lines"),
    ("1\n1\n2\n", "1\n2\n", "repeated lines"),
    ("Christmas Eve Eve Eve\n", "Christmas Eve\n", "repeated words"),
    ("1 2\n", "2 1\n", "the order of words"),
    ("0.1234\n", "0.12341\n", "three decimals"),
    ("1\n2\n", "1.000001\n2\n", "numbers as floats"),
]


@pytest.mark.parametrize(("expected", "actual", "what"), KNOWN_WRONG, ids=[row[2] for row in KNOWN_WRONG])
def test_apps_compat_accepts_what_standard_refuses(expected: str, actual: str, what: str) -> None:
    assert APPS.matches_output(expected, actual) and not STANDARD.matches_output(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        ("1\n2\n", "1 2\n", False),
        ("a b\n", "a b c\n", False),
        ("YES\n", "yes\n", False),
        ("3\n", "4\n", False),
        ("x\n", "", False),
        (" 1 \n", "1", True),
    ],
)
def test_apps_compat_texts(expected: str, actual: str, accepted: bool) -> None:
    assert APPS.matches_output(expected, actual) is accepted


@pytest.mark.parametrize(
    ("expected", "actual", "accepted"),
    [
        ([9], 9, True),
        ([False], False, True),
        ([True], 1, True),  # known to be wrong
        (["12"], 12, True),  # known to be wrong
        (["12"], "12", True),
        ([[1, 3]], (1, 3), True),
        ([[1, 3]], [1, 3], True),
        ([[[1, 2], [3, 4]]], [(1, 2), (3, 4)], True),
        ([0.1 + 0.2], 0.3, False),  # known to be wrong
        ([2.0], 2, True),
        ([{"1": 2}], {1: 2}, True),
        ({"1": 2}, {1: 2}, True),
        ([[]], [], True),
        (["ab"], "ba", False),
        ([None], None, True),
        ([5], "__import__('os').getpid()", False),
        ([1], "[" * 5000, False),
        ([1], [10**5000], False),
    ],
)
def test_apps_compat_values(expected: Any, actual: Any, accepted: bool) -> None:
    assert APPS.matches_value(expected, actual) is accepted


def test_the_checker_is_chosen_per_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "0000"
    folder.mkdir(parents=True)
    (folder / "question.txt").write_text("q")
    (folder / "input_output.json").write_text('{"fn_name": "f", "inputs": [[1]], "outputs": [[2]]}')
    standard, compat = (
        load_problems(f"apps:{tmp_path},split=train{extra}").problems[0].suite for extra in ("", ",checker=apps_compat")
    )
    assert (standard.checker, standard.outputs) == ("standard", (2,))
    assert (compat.checker, compat.outputs) == ("apps_compat", ([2],))  # as written: the harness accepts either form
    assert load_problems(f"apps:{tmp_path},split=train,tolerance=1e-3").problems[0].suite.tolerance == 1e-3
    with pytest.raises(UserError, match="checker 'apps-compat' is unknown; did you mean 'apps_compat'"):
        load_problems(f"apps:{tmp_path},checker=apps-compat")
    with pytest.raises(UserError, match="tolerance must be"):
        load_problems(f"apps:{tmp_path},tolerance=2")
    file = tmp_path / "own.jsonl"
    file.write_text(
        '{"id": "a", "question": "q", "inputs": ["1"], "outputs": ["0.5"], "tolerance": 0.01, "checker": "apps_compat"}\n'
    )
    suite = load_problems(f"jsonl:{file}").problems[0].suite
    assert (suite.tolerance, suite.checker, TestSuite.from_json(suite.to_json())) == (0.01, "apps_compat", suite)
