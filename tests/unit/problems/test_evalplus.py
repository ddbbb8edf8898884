"""HumanEval+ and MBPP+: inputs that the reference answers, rows of the hub with test code, and broken records."""

from pathlib import Path

import pytest

from rltf.problems import load_problems, prompt_of
from rltf.problems.evalplus import GROUPS
from rltf.problems.evalplus_inputs import typed_arguments
from tests.support.problem_files import lines
from tests.support.published_records import MBPP_PLUS as RECORD
from tests.support.published_records import MBPP_PLUS_PROMPT as PROMPT


def test_every_base_call_is_a_test_and_the_others_are_grouped(tmp_path: Path) -> None:
    (problem,) = load_problems(f"mbppplus:{lines(tmp_path, RECORD)}")
    assert (problem.id, problem.question) == ("Mbpp/1", "Write a function to add.\nassert add(1, 2) == 3")
    assert PROMPT.strip() in prompt_of(problem).text and problem.starter_code == PROMPT
    assert problem.solutions == (PROMPT + RECORD["canonical_solution"],)
    asserts = problem.suite.asserts
    assert asserts[:2] == ("_judge(add, [1, 2])", "_judge(add, [3, 4])") and len(asserts) == 2 + 17 <= 2 + GROUPS
    assert asserts[2].count('float("inf")') == 3 and "".join(asserts[2:]).count("[") == 17 + 50
    assert "def _reference(a, b):" in problem.suite.setup and "def add" not in problem.suite.setup
    (base,) = load_problems(f"mbppplus:{lines(tmp_path, RECORD)},tests=base")
    assert base.suite.asserts == asserts[:2] and base.suite.setup == problem.suite.setup


def test_arguments_that_json_cannot_write_are_what_evalplus_makes_of_them() -> None:
    assert typed_arguments(2, [[1, 2], [3]]) == [(1, 2), (3,)]
    assert typed_arguments(63, [[[1, 2], [3, 4]]]) == [[(1, 2), (3, 4)]]
    assert typed_arguments(750, [[1], [2, 3]]) == [[1], (2, 3)]
    assert typed_arguments(115, [[[1, 2], []]]) == [[{1, 2}, {}]]
    assert typed_arguments(124, ["1.5", "2j"]) == [1.5, 2j]
    assert typed_arguments(307, [[1, []], 2, 50]) == [(1, []), 2, 50]
    assert typed_arguments(278, [[4, [5, 6]]]) == [(4, (5, 6))]
    assert typed_arguments(580, [[1, [2, [3]]]]) == [(1, (2, (3,)))]
    assert typed_arguments(722, [{"a": [1, 2]}, 3, 4]) == [{"a": (1, 2)}, 3, 4]
    assert typed_arguments(9, [[1], "x"]) == [[1], "x"]


def test_broken_records_are_told_with_the_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken = [
        ({"task_id": "Mbpp/3", "base_input": [1, 2]}, "base_input must be a list of lists of arguments"),
        ({"task_id": "Mbpp/4", "atol": "1e-6"}, "atol must be a number from 0 to below 1"),
        ({"task_id": "Mbpp/5", "base_input": [], "plus_input": {}}, "there are no tests"),
        ({"task_id": "Mbpp/6", "canonical_solution": "def add("}, "its reference is no Python"),
        ({"task_id": "Mbpp/2"}, "an input is not of the kind that this problem has"),
        ({"task_id": "Mbpp/7", "entry_point": None}, "it has no entry_point"),
    ]
    loaded = load_problems(f"mbppplus:{lines(tmp_path, RECORD, *(RECORD | fields for fields, _ in broken))}")
    assert [problem.id for problem in loaded] == ["Mbpp/1"] and len(loaded.skipped) == len(broken)
    for skipped, (fields, reason) in zip(loaded.skipped, broken, strict=True):
        assert skipped.id == fields["task_id"] and skipped.reason.startswith(reason)


def test_rows_of_the_hub_bring_test_code(tmp_path: Path) -> None:
    code = "inputs = [[1, 2]]\nfor arguments in inputs:\n    assert add(*arguments) == 3\n"
    row = {
        "task_id": 8,
        "prompt": "Write a function to add.",
        "code": "def add(a, b):\n    return a + b",
        "source_file": "x",
        "test_imports": [],
        "test_list": ["assert add(1, 2) == 3"],
        "test": code,
    }
    (problem,) = load_problems(f"mbppplus:{lines(tmp_path, row)}")
    assert problem.id == "Mbpp/8" and problem.suite.asserts == ("assert add(1, 2) == 3", code.strip())
    (base,) = load_problems(f"mbppplus:{lines(tmp_path, row)},tests=base")
    assert base.suite.asserts == ("assert add(1, 2) == 3",)
    head = {key: RECORD[key] for key in ("prompt", "entry_point", "canonical_solution")}
    row = {"task_id": "HumanEval/0", **head, "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n"}
    (problem,) = load_problems(f"humanevalplus:{lines(tmp_path, row)}")
    assert problem.id == "HumanEval/0" and problem.suite.asserts == ("check(add)",)
    with pytest.raises(Exception, match="tests=base needs the file of EvalPlus"):
        load_problems(f"humanevalplus:{lines(tmp_path, row)},tests=base")
