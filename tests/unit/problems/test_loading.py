"""SPECs, the directory layout of APPS, MBPP and JSON lines, and what is said about wrong input."""

import gzip
import json
from pathlib import Path

import pytest

from rltf.config import UserError
from rltf.problems import corpus_of, load_problems
from rltf.problems.apps import from_row
from rltf.problems.sources import parse_spec
from rltf.problems.wrapped_outputs import unwrap_outputs


def write_apps(folder: Path, tests: object = None, **files: object) -> None:
    folder.mkdir(parents=True)
    contents = {
        "question.txt": "Echo the line.",
        "input_output.json": {"inputs": ["1\n"], "outputs": ["1\n"]} if tests is None else tests,
        "solutions.json": ["print(input())\r\n"],
        "metadata.json": {"difficulty": "interview", "url": ""},
    } | {name.replace("__", "."): text for name, text in files.items()}
    for name, content in contents.items():
        if content is not ...:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("strater", "did you mean 'starter'"),
        ("starter,spilt=heldout", "no option 'spilt'; did you mean 'split'"),
        ("starter,split=held_out", "did you mean 'heldout'"),
        ("starter:here", "takes no path"),
        ("apps:/data,dificulty=interview", "did you mean 'difficulty'"),
        ("apps:/data,difficulty=introductry", "did you mean 'introductory'"),
        ("apps:/no/such/folder", "the folder /no/such/folder does not exist"),
        ("apps:", "a path must follow the colon"),
        ("mbpp:/no/such/file.jsonl", "/no/such/file.jsonl does not exist"),
        ("mbpp:/no/such,ids=20-11", "first number is the larger"),
        ("mbpp:/no/such,ids=", "ids must be"),
        ("mbpp:/no/such,ids=1,ids=2", "given twice"),
        ("jsonl", "jsonl needs a file"),
        ("taco:x", "known: starter, apps, mbpp, mbppplus, humaneval, humanevalplus, livecodebench, jsonl, parquet, hf"),
    ],
)
def test_a_wrong_spec_is_refused_in_one_clear_sentence(spec, message):
    with pytest.raises(UserError, match=message) as error:
        load_problems(spec)
    assert "\n" not in str(error.value)


def test_a_path_may_hold_commas_and_colons():
    spec = parse_spec("apps:/a,b:c/d,split=train")
    assert (str(spec.path), spec.options) == ("/a,b:c/d", {"split": "train"})


def test_apps_layout_splits_and_difficulties(tmp_path):
    write_apps(tmp_path / "train/0001")
    write_apps(tmp_path / "train/0002", metadata__json={"difficulty": "introductory"}, solutions__json=...)
    write_apps(tmp_path / "test/0001", metadata__json=...)
    loaded = load_problems(f"apps:{tmp_path}")
    assert [problem.id for problem in loaded] == ["train/0001", "train/0002"] and not loaded.skipped
    assert loaded.problems[0].solutions == ("print(input())\n",) and loaded.problems[1].solutions == ()
    assert loaded.problems[0].suite.kind == "stdin" and loaded.problems[0].suite.inputs == ("1\n",)
    assert [problem.id for problem in load_problems(f"apps:{tmp_path},split=train,difficulty=introductory")] == [
        "train/0002"
    ]
    assert [problem.id for problem in load_problems(f"apps:{tmp_path / 'train'},ids=2")] == ["train/0002"]
    test = load_problems(f"apps:{tmp_path},split=test")
    assert [(problem.id, problem.difficulty) for problem in test] == [("test/0001", "unknown")]
    with pytest.raises(UserError, match="holds no problems; splits there: test, train"):
        load_problems(f"apps:{tmp_path},split=dev")
    with pytest.raises(UserError, match="no problem is left"):
        load_problems(f"apps:{tmp_path},difficulty=competition")


def test_problems_are_found_by_id_and_by_its_last_part(tmp_path):
    write_apps(tmp_path / "train/0001")
    loaded = load_problems(f"apps:{tmp_path}")
    assert loaded.by_id["0001"] is loaded.by_id["train/0001"] is loaded.problems[0] and "0002" not in loaded.by_id


def test_a_broken_apps_problem_is_named_and_the_rest_goes_on(tmp_path):
    write_apps(tmp_path / "train/0001")
    write_apps(tmp_path / "train/0002", tests='{"inputs": ["1\\n"], "outp')
    write_apps(tmp_path / "train/0003", input_output__json=...)
    write_apps(tmp_path / "train/0004", tests={"inputs": [], "outputs": []})
    write_apps(tmp_path / "train/0005", question__txt=...)
    write_apps(tmp_path / "train/0006", solutions__json="[")
    write_apps(tmp_path / "train/0007", tests={"inputs": [[1]], "outputs": [1], "fn_name": 5})
    write_apps(tmp_path / "train/0008", tests={"inputs": ["1\n", "2\n"], "outputs": ["1\n"]})
    loaded = load_problems(f"apps:{tmp_path}")
    assert [problem.id for problem in loaded] == ["train/0001"]
    reasons = {skipped.id: skipped.reason for skipped in loaded.skipped}
    assert sorted(reasons) == [f"train/000{n}" for n in range(2, 9)]
    assert reasons["train/0002"].startswith("input_output.json: broken JSON")
    assert "no tests" in reasons["train/0003"] and "no tests" in reasons["train/0004"]
    assert "question.txt does not exist" in reasons["train/0005"] and reasons["train/0006"].startswith("solutions.json")
    assert "fn_name" in reasons["train/0007"] and "2 inputs but 1 outputs" in reasons["train/0008"]


def test_a_set_without_any_usable_problem_is_an_error(tmp_path):
    write_apps(tmp_path / "train/0001", tests="{")
    with pytest.raises(UserError, match="its only problem cannot be used: train/0001: input_output.json: broken JSON"):
        load_problems(f"apps:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no APPS problems"):
        load_problems(f"apps:{tmp_path / 'empty'}")


def test_stdin_tests_given_as_lists_of_lines(tmp_path):
    write_apps(tmp_path / "train/0001", tests={"inputs": [["1", "2"]], "outputs": [["3"]]})
    suite = load_problems(f"apps:{tmp_path}").problems[0].suite
    assert suite.inputs == ("1\n2",) and suite.outputs == ("3",)


@pytest.mark.parametrize(
    ("outputs", "source", "expected"),
    [
        ([9], "class Solution:\n    def f(self, a: List[int]) -> int:\n        ", [9]),
        ([[9], [1]], "class Solution:\n    def f(self, a: List[int]) -> int:\n        ", [9, 1]),
        ([[9], [1]], "class Solution:\n    def f(self, a) -> List[int]:\n        ", [[9], [1]]),
        (
            [[[1, 3]], [[0, 1]]],
            "class Solution:\n    def f(self, a) -> List[List[int]]:\n        ",
            [[[1, 3]], [[0, 1]]],
        ),
        (
            [[[[1, 3]]], [[[]]], [[]]],
            "class Solution:\n    def f(self, a) -> List[List[int]]:\n        ",
            [[[1, 3]], [[]], []],
        ),
        ([[[]], [[1, 2]]], "def f(a) -> list[int]: pass", [[], [1, 2]]),
        ([[1, 2], [3]], "def f(a): pass", [[1, 2], [3]]),
        ([[False], [True]], "def f(n):\n\t", [False, True]),
        ([[[1, 2]], [[3]]], "def f(n):\n\t", [[1, 2], [3]]),
        ([["ab"]], "def f(n) -> 'Optional[str]':\n\t", ["ab"]),
        ([[None]], "def f(n) -> None:\n\t", [None]),
        ([[3]], "def f(n) -> List:\n\t", [[3]]),
        ([[3]], "class Solution:\n    def f(self, root: TreeNode) -> TreeNode:\n        ", [[3]]),
        ([[3]], "no python at all (", [3]),
    ],
)
def test_call_outputs_bare_and_wrapped(outputs, source, expected):
    assert unwrap_outputs("f", outputs, (source,)) == expected


def test_a_solutions_annotation_tells_what_the_starter_code_does_not():
    assert unwrap_outputs("f", [[3], [4]], ("", "def f(n) -> list[int]:\n    return [n]")) == [[3], [4]]


def test_a_row_of_the_hub_is_the_same_problem_as_its_folder(tmp_path):
    write_apps(tmp_path / "train/0007")
    row = {
        "problem_id": 7,
        "question": "Echo the line.",
        "solutions": '["print(input())\\r\\n"]',
        "input_output": '{"inputs": ["1\\n"], "outputs": ["1\\n"]}',
        "difficulty": "interview",
        "starter_code": "",
    }
    assert from_row("train", row) == load_problems(f"apps:{tmp_path}").problems[0]
    assert "no tests" in from_row("train", row | {"input_output": ""}).reason


MBPP = {
    "text": "Add.",
    "code": "def f(a):\r\n\treturn a\r\n",
    "task_id": 11,
    "test_setup_code": "",
    "test_list": ["assert f(1) == 1"],
}
SANITIZED = {
    "prompt": "Add.",
    "code": "def f(a): return a",
    "task_id": 12,
    "test_imports": ["import math"],
    "test_list": ["assert f(1) == 1"],
}


def test_mbpp_lines_gzipped_with_windows_line_ends_and_broken_lines(tmp_path):
    file = tmp_path / "mbpp.jsonl.gz"
    lines = [json.dumps(MBPP), "{broken", json.dumps(MBPP | {"task_id": 511}), json.dumps(MBPP), '{"text": 1}', "[1]"]
    file.write_bytes(gzip.compress("\r\n".join(lines).encode()))
    loaded = load_problems(f"mbpp:{file}")
    assert [problem.id for problem in loaded] == ["mbpp/11", "mbpp/511"]
    assert loaded.problems[0].solutions == ("def f(a):\n\treturn a\n",)
    assert loaded.problems[0].suite.asserts == ("assert f(1) == 1",) and loaded.problems[0].suite.kind == "assert"
    assert [skipped.id for skipped in loaded.skipped] == ["line 2", "mbpp/11", "line 5", "line 6"]
    assert [problem.id for problem in load_problems(f"mbpp:{file},ids=11-510")] == ["mbpp/11"]
    with pytest.raises(UserError, match="600-700 is the id of no record there"):
        load_problems(f"mbpp:{file},ids=600-700")


def test_sanitized_mbpp_is_an_array_and_its_imports_are_setup(tmp_path):
    file = tmp_path / "sanitized.json"
    file.write_text(json.dumps([SANITIZED, SANITIZED | {"task_id": 13, "test_list": []}], indent=2))
    loaded = load_problems(f"mbpp:{file}")
    assert loaded.problems[0].suite.setup == "import math" and loaded.problems[0].question == "Add."
    assert [(skipped.id, skipped.reason) for skipped in loaded.skipped] == [("mbpp/13", "there are no tests")]
    file.write_text("[{]")
    with pytest.raises(UserError, match="broken JSON"):
        load_problems(f"mbpp:{file}")


def test_a_damaged_gzip_file_and_bytes_that_are_no_text_are_refused(tmp_path):
    file = tmp_path / "mbpp.jsonl.gz"
    file.write_bytes(gzip.compress(b"{}" * 1000)[:-20])
    with pytest.raises(UserError, match="damaged gzip"):
        load_problems(f"mbpp:{file}")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        load_problems(f"jsonl:{file}")


def test_jsonl_of_every_kind(tmp_path):
    records = [
        {
            "id": "a",
            "question": "Q",
            "starter_code": "",
            "fn_name": None,
            "inputs": ["1\n"],
            "outputs": ["1\n"],
            "solutions": ["print(1)"],
        },
        {
            "id": "b",
            "question": "Q",
            "fn_name": "f",
            "inputs": [[1]],
            "outputs": [[9]],
            "time_limit_s": 2,
            "memory_limit_mb": 512,
        },
        {"id": "c", "question": "Q", "tests": ["assert f(1) == 1 "], "difficulty": "easy"},
        {"id": 4, "question": "Q", "tests": "def check(candidate):\n    assert candidate(1) == 1", "entry_point": "f"},
        {"id": "no question", "inputs": ["1\n"], "outputs": ["1\n"]},
        {"id": "no tests", "question": "Q"},
        {"id": "no entry point", "question": "Q", "tests": "def check(candidate): pass"},
        {"id": "bad limit", "question": "Q", "inputs": ["1"], "outputs": ["1"], "time_limit_s": "4"},
        {"question": "Q", "inputs": ["1"], "outputs": ["1"]},
    ]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, records)) + "\n\n")
    loaded = load_problems(f"jsonl:{file}")
    stdin, call, asserts, check = loaded.problems
    assert (stdin.suite.kind, stdin.solutions, stdin.prompt_style) == ("stdin", ("print(1)",), "apps")
    assert (call.suite.kind, call.suite.fn_name, call.suite.outputs) == ("call", "f", ([9],))  # never unwrapped
    assert (call.suite.time_limit_s, call.suite.memory_limit_mb) == (2.0, 512)
    assert (asserts.suite.asserts, asserts.prompt_style, asserts.difficulty) == (("assert f(1) == 1",), "mbpp", "easy")
    assert (check.id, check.suite.fn_name, check.suite.asserts) == (
        "4",
        "f",
        ("check(f)",),
    ) and "def check" in check.suite.setup
    assert [skipped.id for skipped in loaded.skipped] == [
        "no question",
        "no tests",
        "no entry point",
        "bad limit",
        "line 9",
    ]
    assert [problem.id for problem in load_problems(f"jsonl:{file},ids=a+4")] == ["a", "4"]


def test_the_corpus_of_real_problems_is_uniform_over_all_solutions(tmp_path):
    import random

    write_apps(tmp_path / "train/0001", solutions__json=["print(1)"])
    write_apps(tmp_path / "train/0002", solutions__json=["print(2)", "print(3)", "print(4)"])
    corpus = corpus_of(load_problems(f"apps:{tmp_path}"))
    rng = random.Random(0)
    drawn = [corpus.draw(rng)[1] for _ in range(4000)]
    assert all(800 < drawn.count(f"print({n})") < 1200 for n in (1, 2, 3, 4))
    with pytest.raises(UserError, match="nothing for supervised training"):
        write_apps(tmp_path / "test/0001", solutions__json=...)
        corpus_of(load_problems(f"apps:{tmp_path},split=test"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ('"memory_limit_mb": 1e999', "memory_limit_mb is out of all bounds"),
        ('"memory_limit_mb": 1e9', "memory_limit_mb must be more than 0 and at most 1,048,576"),
        ('"time_limit_s": 1e999', "time_limit_s must be more than 0 and at most 3,600"),
        ('"time_limit_s": 1e12', "time_limit_s must be more than 0 and at most 3,600"),
        (f'"time_limit_s": {10**400}', "time_limit_s is out of all bounds"),
        ('"question": "half a \\ud83d pair"', "question must be text that UTF-8 can hold"),
        ('"solutions": ["print(\'\\ud83d\')"]', "solutions must be text that UTF-8 can hold"),
    ],
)
def test_what_no_executor_or_tokenizer_takes_is_named_and_left_out(tmp_path, fields, reason):
    tests = '"inputs": ["1"], "outputs": ["1"]'
    good = f'"question": "Echo.", {tests}'
    file = tmp_path / "mine.jsonl"
    odd = tests if "question" in fields else good
    file.write_text(f'{{"id": "good", {good}}}\n{{"id": "odd", {odd}, {fields}}}\n')
    loaded = load_problems(f"jsonl:{file}")
    assert [problem.id for problem in loaded] == ["good"]
    assert [(skipped.id, skipped.reason) for skipped in loaded.skipped] == [("odd", reason)]


def test_ids_that_cannot_be_printed_and_outputs_without_end(tmp_path):
    file = tmp_path / "mine.jsonl"
    good = '"question": "Echo.", "inputs": ["1"], "outputs": ["1"]'
    file.write_text(f'{{"id": "good", {good}}}\n{{"id": "\\ud83d", {good}}}\n')
    assert [skipped.id for skipped in load_problems(f"jsonl:{file}").skipped] == ["line 2"]
    write_apps(tmp_path / "train/0001")
    deep = "[" * 900 + "]" * 900
    tests = f'{{"fn_name": "f", "inputs": [[1]], "outputs": [{deep}]}}'
    write_apps(tmp_path / "train/0002", tests=tests, starter_code__py="def f(x) -> int:")
    assert [str(problem.suite.outputs).count("[") for problem in load_problems(f"apps:{tmp_path}")] == [0, 899]
