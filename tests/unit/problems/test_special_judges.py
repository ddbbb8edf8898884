"""Special judges as data sets have them: the forms of a checker, interactive problems, what does not fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rltf.config import UserError
from rltf.problems import TestSuite, load_problems
from rltf.problems.jsonl import from_record, to_record
from rltf.problems.problem import Problem, Skipped
from rltf.problems.special_judges import checker_source

CHECK = "def check(input, expected, output):\n    return output != expected\n"
HARDTESTS = (
    "def output_judging_function(input_str, candidate_output, reference_output):\n"
    "    return (input_str, candidate_output, reference_output) == ('in', 'out', 'ref')\n"
)
SCRIPT = """
import sys

def main():
    given, right, wrong = (open(name).read() for name in sys.argv[1:4])
    print(1 if (given, right, wrong) == ('in', 'ref', 'out') else 0)
    if given == 'other':
        print('maybe')
    sys.exit(0)

if __name__ == '__main__':
    main()
"""


def record(**fields: Any) -> dict[str, Any]:
    return {"id": "other", "question": "Print a digit.", "inputs": ["1\n"], "outputs": ["2\n"], **fields}


def problem(**fields: Any) -> Problem:
    found = from_record("other", record(**fields))
    assert isinstance(found, Problem), found
    return found


def reason(**fields: Any) -> str:
    found = from_record("other", record(**fields))
    assert isinstance(found, Skipped), found
    return found.reason


@pytest.mark.parametrize("code", [HARDTESTS, SCRIPT, "from sys import argv\n" + SCRIPT.replace("sys.argv", "argv")])
def test_a_published_checker_becomes_one_that_defines_check(code: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)  # the forms are the test's own: a script writes its three files
    monkeypatch.setattr("sys.argv", ["checker.py"])
    names: dict[str, Any] = {}
    exec(checker_source(code), names)
    assert names["check"]("in", "ref", "out") is True and names["check"]("in", "out", "ref") is False
    if code != HARDTESTS:
        with pytest.raises(ValueError):
            names["check"]("other", "ref", "out")  # it said neither 0 nor 1


def test_what_is_no_checker_is_refused_with_a_reason() -> None:
    assert reason(checker_code="def verify(a, b, c): ...") == (
        "checker_code has to define check(input, expected, output), which says True or False"
    )
    assert reason(checker_code="def check(:").startswith("checker_code does not compile: ")
    assert reason(checker_code="x = " + "(" * 100_000).startswith("checker_code does not compile: ")
    assert reason(checker_code="#" * (1 << 21)) == "checker_code has more than 1,048,576 characters"
    assert reason(checker_code=["def check(a, b, c): ..."]) == "checker_code must be a string"
    with pytest.raises(ValueError, match="assert statements compare by themselves"):
        TestSuite("assert", None, (), (), ("assert f() == 1",), checker_code=CHECK)


def test_it_is_part_of_the_tests_and_survives_every_format() -> None:
    with_code, without = problem(checker_code=CHECK), problem()
    assert with_code.suite.checker_code == CHECK and with_code.suite.rule == "checker_code"
    assert without.suite.rule == "standard" and b"checker_code" not in without.suite.to_json()
    assert with_code.suite.content_hash != without.suite.content_hash
    assert TestSuite.from_json(with_code.suite.to_json()) == with_code.suite
    again = from_record("other", json.loads(json.dumps(to_record(with_code))))
    assert isinstance(again, Problem) and again.suite == with_code.suite


def test_a_spec_or_a_folder_may_say_what_decides(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps(record(checker_code=CHECK, checker="tokens", tolerance=0.5)) + "\n")
    loaded = load_problems(f"jsonl:{data}")
    assert loaded.problems[0].suite.checker_code == CHECK and loaded.problems[0].suite.tolerance is None
    assert dict(loaded.unread[0].fields) == dict.fromkeys(("checker", "tolerance"), "its checker_code decides")
    chosen = load_problems(f"jsonl:{data},checker=tokens").problems[0].suite
    assert (chosen.checker, chosen.checker_code) == ("tokens", "")
    folder = tmp_path / "apps" / "train" / "0000"
    folder.mkdir(parents=True)
    (folder / "question.txt").write_text("Print a digit.")
    (folder / "input_output.json").write_text(json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]}))
    (folder / "checker.py").write_text(HARDTESTS)
    suite = load_problems(f"apps:{tmp_path / 'apps'}").problems[0].suite
    assert suite.checker_code.startswith(HARDTESTS) and "def check(" in suite.checker_code


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "This is an interactive problem.\nFlush after each query."},
        {"question": "**This is an *interactive* task**, remember to flush."},
        {"interactive": True},
        {"interactive": "The judge answers each query with a number."},
    ],
)
def test_an_interactive_problem_is_refused_with_a_reason(fields: dict[str, Any], tmp_path: Path) -> None:
    assert reason(**fields) == "it is interactive: its program has to talk with a judge that answers, and there is none"
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps(record(**fields)) + "\n")
    with pytest.raises(UserError, match="its only problem cannot be used: .*it is interactive"):
        load_problems(f"jsonl:{data}")


def test_a_problem_that_speaks_of_an_interactive_game_is_none() -> None:
    assert problem(question="An interactive board shows n lamps. Print how many are on.", interactive=False)
