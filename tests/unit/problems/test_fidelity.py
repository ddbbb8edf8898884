"""Records as published sets have them are read as they are meant; what is wrong with one is told, and the rest is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rltf.problems import load_problems
from rltf.problems.apps import make_problem
from rltf.problems.data_files import read_data
from rltf.problems.files import read_records
from rltf.problems.humaneval import from_record
from rltf.problems.jsonl import to_record
from rltf.problems.loading import read_problems
from rltf.problems.problem import Problem, Skipped, TestSuite
from rltf.problems.python_source import function_of, imports_of
from tests.support.problem_files import write

CHECK = "def check(candidate):\n    assert candidate(1) == 1\n"
LONG = 10**5000 + 7


def one(tmp_path: Path, **record: Any) -> Problem:
    (problem,) = load_problems(write(tmp_path, {"id": "a", "question": "q", **record})).problems
    return problem


def test_a_method_of_solution_is_an_entry_point(tmp_path: Path) -> None:
    suite = one(tmp_path, tests=CHECK, entry_point="Solution().total").suite
    assert (suite.fn_name, suite.asserts) == ("total", ("check(Solution().total)",))
    assert one(tmp_path, fn_name="Solution().total", inputs=[[1]], outputs=[1]).suite.fn_name == "total"
    assert [function_of(name) for name in ("f", "Solution().f", "Solution.f", "f()", "")] == [
        "f",
        "f",
        None,
        None,
        None,
    ]


def test_imports_of_starter_code_are_found_for_programs(tmp_path: Path) -> None:
    starter = "from __future__ import annotations\nfrom typing import List\nimport math, re\n\n\ndef f(x: List[int]):\n"
    assert imports_of(starter) == "from typing import List\nimport math, re"
    assert imports_of("from x import (\n    a,\n)\nfrom there on it is prose") == ""
    problem = one(tmp_path, fn_name="f", inputs=[[1]], outputs=[1], starter_code=starter, site="leetcode")
    assert (problem.suite.prelude, problem.suite.site) == (imports_of(starter), "leetcode")
    (again,) = load_problems(write(tmp_path, to_record(problem))).problems
    assert again == problem and TestSuite.from_json(problem.suite.to_json()) == problem.suite
    assert b"site" not in one(tmp_path, inputs=["1"], outputs=["1"]).suite.to_json()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"tests": ['assert f(1 == 1"']}, "number 1 of its tests does not compile"),
        ({"tests": ["assert f(1)", "return 1"]}, "number 2 of its tests does not compile: 'return' outside function"),
        ({"tests": ["assert f(1)"], "setup": "import"}, "its setup does not compile"),
        (
            {"tests": "def check(c):\n  assert c(1)\n assert", "entry_point": "f"},
            "the code of its tests does not compile",
        ),
        ({"tests": CHECK, "entry_point": "f()"}, "need entry_point, the name of the function to check"),
        ({"fn_name": "a b", "inputs": [[1]], "outputs": [1]}, "fn_name 'a b' is no name of a function"),
        ({"inputs": ["1"], "outputs": ["1"], "site": "codeforces"}, "unknown site 'codeforces'"),
    ],
)
def test_what_cannot_be_used_is_skipped_with_the_reason(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    good = {"id": "good", "question": "q", "inputs": ["1"], "outputs": ["1"]}
    found = read_problems(write(tmp_path, {"id": "bad", "question": "q"} | record, good))
    assert [problem.id for problem in found] == ["good"]
    assert reason in str(found.skipped[0]) and found.skipped[0].id == "bad"


def test_only_grading_does_without_questions(tmp_path: Path) -> None:
    spec = write(
        tmp_path, {"id": "a", "inputs": ["1"], "outputs": ["1"]}, {"id": "b", "question": " ", "tests": ["f()"]}
    )
    assert [str(skipped) for skipped in read_problems(spec).skipped] == [
        "line 1, a: it has no question",
        "line 2, b: its question is empty",
    ]
    assert [problem.question for problem in load_problems(spec, judging=True)] == [
        "a has no question",
        "b has no question",
    ]
    table = spec.replace("jsonl:", "parquet:")
    assert len(load_problems(table, judging=True)) == 2


def test_integers_of_any_length_are_read_and_written(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    number = "1" + "0" * 4999 + "7"
    file.write_text(f'{{"id": "a", "question": "q", "fn_name": "f", "inputs": [[{number}]], "outputs": [-{number}]}}\n')
    (problem,) = load_problems(f"jsonl:{file}").problems
    assert problem.suite.inputs == ([LONG],) and problem.suite.outputs == (-LONG,)
    assert TestSuite.from_json(problem.suite.to_json()) == problem.suite
    with pytest.raises(ValueError, match="Exceeds the limit"):
        int(number)


def test_one_bad_byte_costs_its_own_record_alone(tmp_path: Path) -> None:
    entries = [
        json.dumps({"id": name, "question": f"caf{mark}"}).encode() for name, mark in zip("abc", "eXe", strict=True)
    ]
    entries[1] = entries[1].replace(b"X", b"\xe9")
    for name, data in (("lines", b"\n".join(entries)), ("array", b"[" + b",\n".join(entries) + b"]")):
        file = tmp_path / name
        file.write_bytes(data)
        records = [record for _, record in read_records(file)]
        assert [isinstance(record, Skipped) for record in records] == [False, True, False]
        assert "not UTF-8 text: byte 0xe9" in str(records[1]) and str(records[1])[:7] in ("line 2:", "entry 2")


def test_one_bad_byte_of_a_parquet_file_costs_its_own_row_alone(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts = pyarrow.array([b"a", b"caf\xe9", b"c"], pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"question": texts}), tmp_path / "t.parquet")
    found = [record for _, record in read_data(tmp_path / "t.parquet")]
    assert [found[0], str(found[1]), found[2]] == [
        {"question": "a"},
        "row 2: not UTF-8 text: byte 0xe9",
        {"question": "c"},
    ]


def test_a_half_character_that_json_writes_is_no_bad_byte(tmp_path: Path) -> None:
    file = tmp_path / "array"
    file.write_text('[{"id": "\\udce9"}]')
    assert [record for _, record in read_records(file)] == [{"id": "\udce9"}]


def test_humanevalpack_calls_its_check_itself() -> None:
    record = {
        "task_id": "Python/0",
        "prompt": "from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    ''' Sum. '''\n",
        "entry_point": "f",
        "canonical_solution": "    return sum(xs)\n",
        "buggy_solution": "    return max(xs)\n",
        "test_setup": "",
        "test": "\n\nMETADATA = {}\n\n\ndef check(f):\n    assert f([1, 2]) == 3\n\n\ncheck(f)\n",
    }
    suite = from_record("Python/0", record).suite
    assert suite.asserts == ("check(f)",) and suite.prelude == "from typing import List"
    assert suite.setup.rstrip().endswith("assert f([1, 2]) == 3")


def test_leetcode_data_brings_the_helpers_of_its_tests() -> None:
    prompt = (
        "from typing import *\nfrom collections import deque\ninf = float('inf')\n\n\nclass TreeNode:\n    pass\n\n\n"
        "def tree_node(values: list):\n    return TreeNode()\n\n\ndef unused():\n    pass\n"
    )
    record = {
        "task_id": "depth-of-tree",
        "prompt": prompt,
        "completion": "class Solution:\n    def depth(self, root: Optional[TreeNode]) -> int:\n        return 1\n",
        "entry_point": "Solution().depth",
        "test": "def check(candidate):\n    assert candidate(root=tree_node([3])) == 1\n",
    }
    problem = from_record("depth-of-tree", record)
    setup = problem.suite.setup
    assert problem.suite.asserts == ("check(Solution().depth)",) and problem.suite.fn_name == "depth"
    assert "class TreeNode" in setup and "def tree_node" in setup and "unused" not in setup and "inf =" not in setup
    assert problem.solutions == (prompt + str(record["completion"]),) and problem.suite.time_limit_s == 15


def test_apps_problems_are_of_the_apps_harness() -> None:
    tests = {"fn_name": "f", "inputs": [[{"1": 2}]], "outputs": [[3]]}
    called = make_problem("a", "q", "import math\ndef f(d):\n", tests, [], "unknown").suite
    assert (called.site, called.prelude) == ("apps", "import math")
    read = make_problem("a", "q", "", {"inputs": ["1"], "outputs": ["1"]}, [], "unknown").suite
    assert (read.site, read.prelude) == ("apps", "")
