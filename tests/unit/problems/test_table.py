"""Tables whose columns the SPEC names."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from rltf.config import UserError
from rltf.problems import load_problems, table
from rltf.problems.sources import parse_spec
from tests.support.problem_files import lines

ASSERTS: list[dict[str, Any]] = [
    {
        "task": 7,
        "prompt": "Add.",
        "test_list": ["assert add(1, 2) == 3"],
        "answer": "def add(a, b): return a + b",
        "level": 2,
    },
    {"task": 8, "prompt": "Add.", "test_list": ["assert add(1, 2) == 3", " "], "answer": "def add", "level": None},
    {"task": 9, "prompt": None, "test_list": ["assert add(1, 2) == 3"], "answer": None, "level": 1},
    {"task": None, "prompt": "Add.", "test_list": ["assert add(1) == 1"], "answer": None, "level": 1},
    {"task": 7, "prompt": "Again.", "test_list": ["assert add(1) == 1"], "answer": None, "level": 1},
]
COLUMNS = "id=task,question=prompt,tests=test_list,solutions=answer,difficulty=level"


def test_columns_are_named_on_the_command_line(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ASSERTS), tmp_path / "table.parquet")
    loaded = load_problems(f"parquet:{tmp_path / 'table.parquet'},{COLUMNS}")
    first, unnamed = loaded.problems
    assert (first.id, first.question, first.difficulty, first.prompt_style) == ("7", "Add.", "2", "mbpp")
    assert first.suite.asserts == ("assert add(1, 2) == 3",) and first.solutions == ("def add(a, b): return a + b",)
    assert (unnamed.id, unnamed.solutions) == ("4", ())
    assert [str(one) for one in loaded.skipped] == [
        "row 2, 8: number 2 of its tests is empty: every program would pass it",
        "row 3, 9: it has no question",
        "7: the id occurs twice, the first one is used",
    ]
    assert [problem.id for problem in load_problems(f"parquet:{tmp_path / 'table.parquet'},{COLUMNS},ids=7")] == ["7"]


def test_columns_of_objects_and_of_json_text(tmp_path: Path) -> None:
    apps = {
        "question": "Echo.",
        "input_output": json.dumps({"inputs": ["1\n"], "outputs": ["1\n"]}),
        "solutions": json.dumps(["print(input())"]),
    }
    contest = {
        "question": "Echo.",
        "input_output": {"inputs": ["1\n"], "outputs": ["1\n"]},
        "solutions": [{"language": 3, "solution": "print(input())"}],
    }
    spec = "inputs=input_output.inputs,outputs=input_output.outputs"
    (first,) = load_problems(f"parquet:{lines(tmp_path, apps)},{spec}")
    (second,) = load_problems(f"parquet:{lines(tmp_path, contest)},{spec},solutions=solutions.solution")
    assert first == second and first.suite.kind == "stdin" and first.solutions == ("print(input())",)
    bad = [apps | {"input_output": text} for text in ("[", "3", json.dumps({"inputs": []}))]
    loaded = load_problems(f"parquet:{lines(tmp_path, apps, *bad)},{spec}")
    assert [one.reason.partition(":")[0] for one in loaded.skipped] == [
        "input_output.inputs",
        "input_output.inputs",
        "it needs inputs and outputs (two lists), or tests",
    ]


def test_a_check_function_one_assert_and_a_whole_checker(tmp_path: Path) -> None:
    check = {"question": "Add.", "tests": "def check(candidate):\n    assert candidate(1) == 1\n", "entry_point": "f"}
    one = {"question": "Add.", "tests": "assert f(1) == 1", "setup": "import math"}
    first, second = load_problems(f"parquet:{lines(tmp_path, check, one)}")
    assert (first.suite.asserts, first.suite.fn_name) == (("check(f)",), "f")
    assert (second.suite.asserts, second.suite.setup) == (("assert f(1) == 1",), "import math")


def test_a_column_that_is_not_there_and_an_option_that_is_none(tmp_path: Path) -> None:
    file = lines(tmp_path, *ASSERTS[:1])
    with pytest.raises(UserError, match="there is no column 'promt'; did you mean 'prompt'"):
        load_problems(f"parquet:{file},question=promt")
    with pytest.raises(UserError, match="parquet has no option 'qestion'; did you mean 'question'"):
        load_problems(f"parquet:{file},qestion=prompt")
    with pytest.raises(UserError, match="it has no question; .*the field prompt is not read: did you mean question"):
        load_problems(f"parquet:{file},tests=test_list")
    with pytest.raises(UserError, match="hf needs a owner/name, hf:OWNER/NAME"):
        load_problems("hf")


def test_a_table_of_the_hub_is_asked_for_by_name_config_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def rows(spec: Any, *arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return ASSERTS[:1]

    monkeypatch.setattr(table, "hub_rows", rows)  # no hub is at hand: what is asked of it is all that can be seen
    spec = f"hf:owner/name,split=test,config=full,{COLUMNS}"
    assert str(parse_spec(spec).path) == "owner/name"
    assert [problem.id for problem in load_problems(spec)] == ["7"]
    assert asked == [(("owner/name", "full"), {"split": "test"})]
