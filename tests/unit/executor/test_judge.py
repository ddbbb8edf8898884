"""What judges with a judge that is not the sandbox: commands by the name that the configuration gives it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltf import launch
from rltf.config import ExecutorConfig, workers
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.judges import JUDGES
from tests.support.executor_suites import call_suite, stdin_suite
from tests.support.judges import UNJUDGED, InProcessJudge

ADD = "def add(a, b):\n    return a + b\n"
SUITE = call_suite("add", ([1, 2], 3), ([3, 4], 7))


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[InProcessJudge]]:
    """The judge of this process by its name; every one that is made."""
    made: list[InProcessJudge] = []

    class Kept(InProcessJudge):
        def __init__(self, lanes: int = 1) -> None:
            super().__init__(lanes)
            made.append(self)

    monkeypatch.setitem(workers.JUDGES, "in_process", "the test's own process")
    monkeypatch.setitem(JUDGES, "in_process", Kept)
    yield made


def test_verdicts_come_in_the_order_of_the_work_however_they_are_found() -> None:
    work = [(SUITE, ADD), (SUITE, UNJUDGED), (SUITE, "def add(a, b):\n    return 3\n"), (SUITE, "\n\nadd = None\n")]
    told: list[int] = []
    with Judge.from_config(ExecutorConfig(judge="in_process")) as judge:
        right, unjudged, wrong, broken = judge.grade(work, told.append)
    assert told == [1] * 4 and unjudged == InfrastructureFailure("it is out of order")
    assert [verdict.outcome for verdict in (right, wrong, broken)] == ["pass", "failure", "runtime_error"]  # type: ignore
    assert judge.closed == [False]  # type: ignore


def test_one_that_is_broken_off_is_ended_at_once(in_process: list[InProcessJudge]) -> None:
    with pytest.raises(ZeroDivisionError), Judge.from_config(ExecutorConfig(judge="in_process")):
        raise ZeroDivisionError
    assert in_process[0].closed == [True]


def test_the_commands_judge_by_the_judge_that_is_named(tmp_path: Path, in_process: list[InProcessJudge]) -> None:
    data, programs, out = tmp_path / "data.jsonl", tmp_path / "programs.jsonl", tmp_path / "verdicts.jsonl"
    echo = {"id": "echo", "question": "Echo.", "inputs": ["a\n", "b\n"], "outputs": ["a\n", "b\n"]}
    data.write_text(json.dumps({**echo, "solutions": ["print(input())\n"]}) + "\n")
    given = ["print(input())", "print('a')", "print(inputt())", UNJUDGED]
    programs.write_text("".join(json.dumps({"problem_id": "echo", "code": code}) + "\n" for code in given))
    chosen = ["--executor.judge", "in_process"]
    grade = ["grade", "--problems", f"jsonl:{data}", "--programs", str(programs), "--out", str(out), *chosen]
    assert launch.main(grade) == 1  # for the one without a verdict
    *rows, left = [json.loads(line) for line in out.read_text().splitlines()]
    assert left["outcome"] is None and "it is out of order" in left["reason"]
    assert [(row["outcome"], row["line"]) for row in rows] == [("pass", None), ("failure", None), ("runtime_error", 1)]
    checked = tmp_path / "checked.jsonl"
    assert launch.main(["check-data", f"jsonl:{data}", "--out", str(checked), "--executor.lanes", "3", *chosen]) == 0
    (row,) = [json.loads(line) for line in checked.read_text().splitlines()]
    assert (row["status"], row["executor_version"]) == ("ok", "in process")
    assert [judge.lanes for judge in in_process[1:]] == [3, 12] and all(judge.closed for judge in in_process)


def test_a_stdin_program_reads_and_prints() -> None:
    with InProcessJudge() as judge:
        (verdict,) = judge.grade([(stdin_suite(("1 2\n", "3\n")), "print(sum(map(int, input().split())))")])
    assert not isinstance(verdict, InfrastructureFailure) and verdict.outcome == "pass"
