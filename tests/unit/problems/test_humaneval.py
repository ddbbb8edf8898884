"""HumanEval: what a record becomes, and what is said of one that is broken."""

from pathlib import Path

import pytest

from rltf.problems import load_problems, prompt_of
from tests.support.paths import human_eval
from tests.support.problem_files import lines
from tests.support.published_records import HUMANEVAL as RECORD
from tests.support.published_records import HUMANEVAL_PROMPT as PROMPT


def test_a_record_is_the_published_prompt_and_its_check(tmp_path: Path) -> None:
    (problem,) = load_problems(f"humaneval:{lines(tmp_path, RECORD)}")
    assert (problem.id, problem.difficulty, problem.starter_code) == ("HumanEval/0", "unknown", PROMPT)
    assert problem.question == "Sum of the values.\n>>> total([1, 2])\n3"
    assert prompt_of(problem).text == PROMPT
    assert problem.solutions == (PROMPT + "    return sum(values)\n",)
    suite = problem.suite
    assert (suite.kind, suite.fn_name, suite.asserts, suite.setup) == (
        "assert",
        "total",
        ("check(total)",),
        RECORD["test"],
    )


def test_broken_records_are_told_with_the_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken = [
        RECORD | {"task_id": "HumanEval/1", "prompt": "def total(:\n"},
        RECORD | {"task_id": "HumanEval/2", "entry_point": "Solution.total"},
        RECORD | {"task_id": "HumanEval/3", "test": None},
        RECORD | {"task_id": "HumanEval/4", "test": "def check(candidate):\nassert"},
        {key: value for key, value in RECORD.items() if key != "task_id"},
        RECORD | {"task_id": "HumanEval/5", "canonical_solution": None, "solution": "    return 1\n"},
    ]
    loaded = load_problems(f"humaneval:{lines(tmp_path, RECORD, *broken)}")
    assert [problem.id for problem in loaded] == ["HumanEval/0"]
    told = [str(skipped) for skipped in loaded.skipped]
    assert told[0].startswith("line 2, HumanEval/1: its prompt is no Python")
    assert told[1:3] == [
        "line 3, HumanEval/2: entry_point 'Solution.total' is no name of a function",
        "line 4, HumanEval/3: it has no test",
    ]
    assert told[3].startswith("line 5, HumanEval/4: its test is no Python") and told[4] == "line 6: it has no task_id"
    assert told[5] == (
        "line 7, HumanEval/5: it has no canonical_solution; the field solution is not read: did you mean canonical_solution?"
    )
    assert [problem.id for problem in load_problems(f"humaneval:{lines(tmp_path, RECORD, *broken)},ids=0")] == [
        "HumanEval/0"
    ]


@pytest.mark.skipif(
    human_eval() is None, reason="the package human-eval is not installed, nor is its file in ../shared"
)
def test_the_official_file() -> None:
    loaded = load_problems(f"humaneval:{human_eval()}")
    assert len(loaded) == 164 and not loaded.skipped and not loaded.unread
    assert [problem.id for problem in loaded] == [f"HumanEval/{number}" for number in range(164)]
    assert all(prompt_of(problem).text == problem.starter_code for problem in loaded)
    whole = [problem.id for problem in loaded if problem.question == problem.starter_code]
    assert whole == ["HumanEval/115"], "its function begins with an import, so it has no docstring"
