"""`evaluate --from-samples` and `compare`: programs made elsewhere, judged here, without torch and Ray."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from rltf import launch
from tests.support.paths import ROOT, SHARED
from tests.support.problem_files import write

ADD = "print(sum(map(int, input().split())))\n"
PROBLEMS: list[dict[str, Any]] = [
    {"id": "sum", "question": "Add.", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"], "difficulty": "easy"},
    {"id": "max", "question": "Max.", "inputs": ["1 2\n", "5 4\n"], "outputs": ["2\n", "5\n"], "difficulty": "hard"},
    {"id": "none", "question": "No program.", "inputs": ["1\n"], "outputs": ["1\n"], "difficulty": "hard"},
]
PROGRAMS = [
    ("sum", ADD),
    ("sum", "print(3)\n"),
    ("sum", "print(\n"),
    ("max", "print(max(input().split()))\n"),
    ("max", "print(input()[9])\n"),
    ("max", "print('no')\n"),
]


def lines(file: Path, *programs: tuple[str, str], keys: tuple[str, str] = ("problem_id", "code")) -> str:
    file.write_text("".join(json.dumps(dict(zip(keys, one, strict=True))) + "\n" for one in programs))
    return str(file)


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def evaluate(out: Path, *arguments: str) -> int:
    return launch.main(["evaluate", "--out", str(out), *arguments])


NOTHING_HEAVY = """
import sys
from rltf import launch
code = launch.main(sys.argv[1:])
sys.exit(code or 9 * bool({"torch", "ray", "transformers"} & set(sys.modules)))
"""
"""The command, whose exit code tells too whether something heavy was imported."""


class Scored(NamedTuple):
    """All programs for all problems, scored once for the tests of this file."""

    spec: str
    programs: str
    out: Path
    code: int

    @property
    def given(self) -> list[str]:
        return ["--problems", self.spec, "--from-samples", self.programs]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder = tmp_path_factory.mktemp("scored")
    spec, file, out = write(folder, *PROBLEMS), lines(folder / "programs.jsonl", *PROGRAMS), folder / "out"
    arguments = ["evaluate", "--problems", spec, "--from-samples", file, "--out", str(out)]
    command = [sys.executable, "-c", NOTHING_HEAVY, *arguments, "--k", "1,3", "--name", "two of six"]
    return Scored(spec, file, out, subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode)


def test_scoring_imports_neither_torch_nor_ray(scored: Scored) -> None:
    assert scored.code == 0


def test_programs_made_elsewhere_are_scored(scored: Scored, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shutil.copytree(scored.out, tmp_path / "out")
    (one,) = results(out)["sets"]
    groups = one["groups"]
    assert list(groups) == ["easy", "hard", "all"]
    assert groups["all"]["metrics"]["pass@1"]["value"] == pytest.approx(2 / 9)
    assert groups["all"]["metrics"]["pass@3"]["value"] == pytest.approx(2 / 3)
    assert groups["hard"]["metrics"]["max@1"]["value"] == pytest.approx(1 / 6)
    assert groups["easy"]["outcomes"] == {"pass": 1, "failure": 1, "runtime_error": 0, "compile_error": 1}
    mix = groups["all"]["error_mix"]
    assert (mix["pass"], mix["failure"], mix["error"]) == (2, 2, 2)
    assert (mix["errors"]["Syntax"], mix["errors"]["Index"]) == (1, 1)
    assert one["failed_without_program"] == [{"problem": "none", "reason": "there is no program for it"}]
    rows = pq.read_table(out / "samples").to_pylist()
    assert [(row["problem_id"], row["text"]) for row in rows] == PROGRAMS
    assert [row["outcome"] == "pass" for row in rows] == [True, False, False, True, False, False]
    assert "| two of six | – |" in (out / "results.md").read_text()
    assert r"\multicolumn{3}{c}{pass@3}" in (out / "results.tex").read_text()
    assert all((out / f"{name}.png").stat().st_size for name in ("errors", "pass_rate", "pass_at_k"))
    # Again: nothing is judged twice, and another k needs no judge.
    assert evaluate(out, *scored.given, "--k", "2") == 0
    assert len(pq.read_table(out / "samples")) == len(PROGRAMS)
    assert results(out)["sets"][0]["groups"]["all"]["metrics"]["pass@2"]["value"] == pytest.approx(4 / 9)
    assert "none" in capsys.readouterr().err


def test_a_judging_that_was_broken_off_goes_on(scored: Scored, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "programs.jsonl"
    given = ["--problems", scored.spec, "--from-samples", lines(file, *PROGRAMS[:4]), "--k", "1,3"]
    assert evaluate(out, *given) == 0  # as if the rest had not been judged yet
    lines(file, *PROGRAMS)
    assert evaluate(out, *given) == 0
    assert results(out)["sets"] == results(scored.out)["sets"]


def test_what_is_no_program_of_the_problems_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, file = write(tmp_path, *PROBLEMS), tmp_path / "programs.jsonl"
    lines(file, ("sum", ADD), ("other", ADD), keys=("task_id", "solution"))
    file.write_text(file.read_text() + 'nonsense\n{"problem_id": "sum"}\n')
    assert evaluate(tmp_path / "out", "--problems", spec, "--from-samples", str(file)) == 1
    told = capsys.readouterr().err
    assert "line 2: no usable problem 'other' is in --problems" in told
    assert "line 3: " in told and 'line 4: it needs "problem_id" and "code"' in told
    (remark,) = [line for line in told.splitlines() if "have no program" in line]
    assert "2 problems have no program and count as failed (max, none)" in remark


def test_samples_of_humaneval_and_replies_and_a_file_that_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [PROBLEMS[0] | {"starter_code": "x = input()\n"}, PROBLEMS[1], PROBLEMS[2]]
    spec, file, out = write(tmp_path, *problems), tmp_path / "programs.jsonl", tmp_path / "out"
    given = ["--problems", spec, "--from-samples", str(file), "--k", "1,2,5"]
    lines(file, ("sum", "print(sum(map(int, x.split())))\n"), keys=("task_id", "completion"))
    first = file.read_text()
    second = lines(file, ("max", f"Sure:\n```python\n{ADD}```\n"), ("max", ADD))
    file.write_text(first + Path(second).read_text())
    assert evaluate(out, *given) == 0
    told = capsys.readouterr().err
    metrics = results(out)["sets"][0]["groups"]["all"]["metrics"]
    assert metrics["pass@1"]["value"] == pytest.approx(1 / 3) and "pass@5" not in metrics
    assert "1 program with a fenced block of code, as replies have it, did not compile, the first max/0" in told
    assert "1 problem has no program and counts as failed (none): there is no program for it" in told
    assert "pass@2 is over 2 of 3 problems: the others have fewer than 2 programs" in told
    assert "there is no pass@5: no problem has 5 programs" in told and "pass@1 is over" not in told
    file.write_text(file.read_text().replace("Sure", "Here"))
    assert evaluate(out, *given) == 2
    assert "holds the verdict of another program as max/0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--k", "0"], "--k 0: give numbers above zero"),
        (["--k", "1,x"], "--k 1,x: give numbers"),
        (["--from-samples", "absent.jsonl"], "there is no such file"),
        (["--problems", "nonsense"], "'nonsense'"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--problems": write(tmp_path, *PROBLEMS), "--from-samples": lines(tmp_path / "p.jsonl", *PROGRAMS)}
    given |= dict([arguments])
    assert evaluate(tmp_path / "out", *(word for pair in given.items() for word in pair)) == 2
    told = capsys.readouterr().err
    assert reason in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_evaluation_is_not_mixed_in(scored: Scored, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = ["--problems", scored.spec, "--from-samples", lines(tmp_path / "b.jsonl", *PROGRAMS)]
    assert evaluate(scored.out, *other) == 2
    assert "give the same, or another --out" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert evaluate(tmp_path / "full", *scored.given) == 2
    assert "holds no evaluation" in capsys.readouterr().err


def test_two_results_are_compared(scored: Scored, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = lines(tmp_path / "b.jsonl", *PROGRAMS[:3], *[("max", "print(9)\n")] * 3)
    assert evaluate(tmp_path / "b", "--problems", scored.spec, "--from-samples", file) == 0
    capsys.readouterr()
    compare = ["compare", str(scored.out), str(tmp_path / "b" / "results.json")]
    assert launch.main([*compare, "--out", str(tmp_path / "compared.json")]) == 0
    told = capsys.readouterr().out
    assert "1 problem solved by A and not by B: max" in told and "p = 1.0000" in told
    found = json.loads((tmp_path / "compared.json").read_text())
    assert found["solved"] == {"both": 1, "neither": 1, "a_alone": ["max"], "b_alone": []}
    assert found["differences"]["pass@1"]["difference"] == pytest.approx(-1 / 9)
    # The same problems under another name, some of them others.
    other = results(tmp_path / "b")
    other["problems"] = [row | {"set": "jsonl:moved.jsonl"} for row in other["problems"]]
    other["problems"][0]["tests"] += 1
    (tmp_path / "moved.json").write_text(json.dumps(other))
    assert launch.main([*compare[:2], str(tmp_path / "moved.json")]) == 0
    told = capsys.readouterr()
    assert "2 problems that both have (1 in A alone, 1 in B alone)" in told.out
    assert "B has jsonl:moved.jsonl: problems of the same id and number of tests are taken for the same" in told.err
    assert launch.main(["compare", str(scored.out), str(tmp_path)]) == 2
    assert "holds no results.json" in capsys.readouterr().err


@pytest.mark.real_problems
def test_published_programs_of_nine_models_have_their_pass_at_1(tmp_path: Path) -> None:
    """A sixteenth of the programs; of each model the share that passes is that of their labels, but for one at most."""
    data = SHARED / "data" / "gen_samples" / "mbpp_labeled.jsonl.gz"
    if not data.is_file():
        pytest.skip(f"{data} is not there")
    of_model: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in gzip.open(data, "rt"):
        row = json.loads(line)
        of_model[row["src"]].append(row)
    assert len(of_model) == 9 and sum(map(len, of_model.values())) == 4298
    chosen = [row for rows in of_model.values() for row in rows[::16]]
    names = [row["task"].removeprefix("MBPP/") for row in chosen]
    spec = f"mbpp:{SHARED / 'data' / 'mbpp' / 'mbpp.jsonl'},ids={'+'.join(dict.fromkeys(names))}"
    file = lines(tmp_path / "p.jsonl", *zip(names, (row["code"] for row in chosen), strict=True))
    assert evaluate(tmp_path / "out", "--problems", spec, "--from-samples", file) == 0
    judged = pq.read_table(tmp_path / "out" / "samples", columns=["text", "outcome"]).to_pylist()
    assert [row["text"] for row in judged] == [row["code"] for row in chosen]
    passed, labelled, programs = Counter[str](), Counter[str](), Counter(row["src"] for row in chosen)
    for row, found in zip(chosen, judged, strict=True):
        passed[row["src"]] += found["outcome"] == "pass"
        labelled[row["src"]] += row["status"] == "pass"
    assert all(abs(passed[model] - labelled[model]) <= 1 for model in programs), (passed, labelled, programs)
    of_problem = defaultdict(list)
    for name, row in zip(names, judged, strict=True):
        of_problem[name].append(row["outcome"] == "pass")
    shares = [sum(found) / len(found) for found in of_problem.values()]
    value = results(tmp_path / "out")["sets"][0]["groups"]["all"]["metrics"]["pass@1"]["value"]
    assert value == pytest.approx(sum(shares) / len(shares))
