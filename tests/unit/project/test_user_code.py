"""A user's own files: the examples of the docs as they stand, and a sentence for everything that is wrong with one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf import config as configuration
from rltf import launch
from rltf.buffer.records import Group, Sample
from rltf.config import Config, UserError
from rltf.config.user_code import NO_CODE, UserCode, UserFunction, user_named
from rltf.executor.checkers import CheckerFailure, make_checker
from rltf.learner.baselines import Baselines
from rltf.learner.objectives import make_objective
from rltf.learner.rewards import reward_named
from rltf.problems import Prompt, TestSuite, load_problems, prompt_of
from tests.support.learner_parts import characters, feedback, group
from tests.support.paths import ROOT

EXAMPLES = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL))
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Installs files of given texts, in a folder of their own; none is left behind."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        UserCode.read(tmp_path).install()
        return tmp_path

    yield write
    NO_CODE.install()


def _samples() -> Group:
    def sample(text: str, verdict: Any) -> Sample:
        return Sample(program=characters(text), feedback=verdict)

    return group([sample("x = 12", feedback("pass", passed=5)), sample("x", feedback("failure", passed=1))])


def _config(**fields: Any) -> Config:
    return configuration.load(None, {key.replace("__", "."): value for key, value in fields.items()})


# ---- each kind


def test_a_reward_of_the_docs(install: Install) -> None:
    install(mine=EXAMPLES)
    config = _config(learner__objective="rloo", rloo__reward="mine:short_and_right")
    objective, drawn = make_objective(config, encoder_decoder=False), _samples()
    assert objective is not None
    right, wrong = objective.prepare([drawn]).rewards
    passed = sum(test.outcome == "pass" for test in drawn.samples[1].feedback.tests) / 5
    assert right == pytest.approx(1 - 0.001 * 5) and wrong == pytest.approx(passed)
    baselines = Baselines("group_mean", [reward_named("mine:short_and_right")])
    assert baselines.baseline_for(drawn) == (pytest.approx((right + wrong) / 2),)
    assert baselines.state_dict()["rewards"] == ["mine:short_and_right"]


def test_a_prompt_style_of_the_docs(install: Install) -> None:
    install(mine=EXAMPLES)
    problem = load_problems("starter,split=heldout", prompt_style="mine:as_comment").problems[0]
    question = problem.question.replace("\n", "\n# ")
    assert prompt_of(problem) == Prompt(
        "# ", question, f"\n{problem.starter_code}\n", entry_point=problem.suite.fn_name
    )


def test_a_checker_of_the_docs_of_a_spec_and_of_one_problem(install: Install, tmp_path: Path) -> None:
    folder, data = install(mine=EXAMPLES), tmp_path / "data.jsonl"
    lines = {"id": "lines", "question": "Lines.", "inputs": [""], "outputs": ["1\n2\n"]}
    values = {"id": "values", "question": "List.", "fn_name": "f", "inputs": [[]], "outputs": [[2, 1]]}
    own = values | {"id": "own", "checker": "mine:any_order"}
    data.write_text("".join(json.dumps(record) + "\n" for record in (lines, values, own)))
    problems = load_problems(f"jsonl:{data},checker=mine:any_order").by_id
    assert make_checker(problems["lines"].suite).matches_output("1\n2\n", "2\n1")
    assert not make_checker(problems["lines"].suite).matches_output("1\n2", "2\n2")
    assert make_checker(problems["values"].suite).matches_value([2, 1], [1, 2])
    kept = load_problems(f"jsonl:{data}").by_id["own"].suite
    assert make_checker(TestSuite.from_json(kept.to_json())).matches_value([2, 1], [1, 2])
    grade = ["grade", "--problems", f"jsonl:{data},checker=mine:any", "--programs", str(data), "--out", "x"]
    assert launch.main([*grade, "--run.code", str(folder)]) == 2


def test_an_objective_of_the_docs(install: Install) -> None:
    install(mine=EXAMPLES)
    config = _config(learner__objective="mine:MedianBaseline", custom__reward="pass_ratio")
    objective = make_objective(config, encoder_decoder=False)
    assert objective is not None and (objective.name, objective.terms) == ("mine:MedianBaseline", ("policy",))
    prepared = objective.prepare([_samples()])
    assert prepared.rewards == [1.0, 0.2]
    assert [item.weights[0, 0] for item in prepared.items] == pytest.approx([0.4, -0.4])
    objective.load_state_dict(objective.state_dict())
    with pytest.raises(UserError, match="MedianBaseline compares programs of one visit"):
        _config(learner__objective="mine:MedianBaseline", actors__samples_per_problem="1")
    assert _config(
        learner__objective="mine:MedianBaseline", actors__samples_per_problem="1", custom__baseline="none"
    ).objective.reward


# ---- the files


def test_files_import_each_other_and_are_the_same_after_a_copy(install: Install, tmp_path: Path) -> None:
    folder = install(helpers__numbers="SEVEN = 7\n", mine="from helpers.numbers import SEVEN\n")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "broken.py").write_bytes(b"\xff")
    (folder / "data.bin").write_bytes(b"\xff")
    code = UserCode.read(folder)
    assert [*code.files] == ["helpers/numbers.py", "mine.py"] and user_named("mine:SEVEN", "reward") == 7
    code.write(tmp_path / "copy")
    assert UserCode.read(tmp_path / "copy").hash == code.hash != ""
    (folder / "mine.py").write_text("SEVEN = 8\n")
    changed = UserCode.read(folder)
    assert changed.hash != code.hash and user_named("mine:SEVEN", "reward") == 7
    changed.install()
    assert user_named("mine:SEVEN", "reward") == 8
    NO_CODE.install()
    assert "mine" not in sys.modules
    with pytest.raises(UserError, match="^reward mine:SEVEN is of your own files: set run.code to the folder of mine"):
        user_named("mine:SEVEN", "reward")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.txt": b""}, "holds no .py file"),
        ({"a.py": b"\xff"}, "a.py is no UTF-8 text"),
        ({"a.py": b"#" * (1 << 20) + b"\n"}, "holds 1,048,577 bytes of Python, and each worker gets at most 1 MiB"),
        ({f"{number}.py": b"" for number in range(1001)}, "holds too many files"),
    ],
)
def test_a_folder_that_cannot_be_used(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"^run.code.*{words}"):
        UserCode.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("other:f", "", "reward other:f: .* has no other.py; it has mine.py$"),
        ("mine:g", "def f(): pass", r"reward mine:g: .*mine.py has no g; it has f$"),
        ("mine:f", "x = 1\ndef f(:", r"reward mine:f cannot be imported: .*mine.py, line 2: SyntaxError: "),
        (
            "mine:f",
            "\nimport none_such",
            r"cannot be imported: .*mine.py, line 2: ModuleNotFoundError: No module named",
        ),
        ("mine:f", "def g():\n    1 / 0\ng()", r"cannot be imported: .*mine.py, line 2: ZeroDivisionError: division"),
        ("mine:f", "raise SystemExit(3)", r"cannot be imported: .*mine.py, line 1: SystemExit: 3$"),
        ("mine:f", "\ndef f(sample): pass", r"mine.py, line 2\) takes \(sample\); it is called as f\(sample, group\)$"),
        ("mine:f", "f = 3", r"reward mine:f \(.*mine.py\) is no function; it is called as f\(sample, group\)$"),
        ("mine:f", "class f:\n    pass", r"reward mine:f \(.*mine.py, line 1\) is no function"),
    ],
)
def test_a_function_that_cannot_be_used(install: Install, name: str, text: str, words: str) -> None:
    install(mine=text)
    with pytest.raises(UserError, match=words):
        reward_named(name)


def test_a_file_named_like_a_module_that_comes_first(install: Install) -> None:
    install(json="def f(sample, group):\n    return 1.0\n")
    with pytest.raises(
        UserError, match=r"reward json:f: Python has another module json .* give .*json.py another name"
    ):
        reward_named("json:f")


# ---- what they do later


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return float('nan')", r"reward mine:f \(.*mine.py, line 1\) gave nan for program .*, not a finite number$"),
        ("return '1'", r"gave '1' for program .*, not a finite number$"),
        (
            "return group.samples[9].feedback",
            r"reward mine:f failed for program .*: .*mine.py, line 2: IndexError: list",
        ),
    ],
)
def test_a_reward_that_is_none(install: Install, body: str, words: str) -> None:
    install(mine=f"def f(sample, group):\n    {body}\n")
    drawn = _samples()
    with pytest.raises(UserError, match=words):
        reward_named("mine:f")(drawn.samples[0], drawn)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return problem.question", r"gave .* for problem starter/.*, not a rltf.problems.Prompt of three texts$"),
        ("return Prompt('', '\\ud800', '')", "not a rltf.problems.Prompt of three texts$"),
        ("return problem.kind", r"failed for problem starter/.*: .*mine.py, line 3: AttributeError: "),
    ],
)
def test_a_prompt_that_is_none(install: Install, body: str, words: str) -> None:
    install(mine=f"from rltf.problems import Prompt\ndef f(problem):\n    {body}\n")
    problem = load_problems("starter,split=heldout", prompt_style="mine:f").problems[0]
    with pytest.raises(UserError, match=words):
        prompt_of(problem)


def test_a_checker_that_does_not_say(install: Install) -> None:
    install(mine="def f(expected, actual):\n    return None if actual else 1 / 0\n")
    checker = make_checker(TestSuite("stdin", None, ("",), ("1\n",), checker="mine:f"))
    with pytest.raises(
        CheckerFailure, match=r"checker mine:f \(.*, line 1\) gave None for an output, not True or False$"
    ):
        checker.matches_output("1", "1")
    with pytest.raises(CheckerFailure, match=r"failed for an output: .*mine.py, line 2: ZeroDivisionError: division"):
        checker.matches_output("1", "")


def test_a_checker_cannot_change_what_is_expected(install: Install) -> None:
    install(mine="def f(expected, actual):\n    expected.sort()\n    return expected == actual\n")
    checker, expected = make_checker(TestSuite("call", "f", ([],), ([2, 1],), checker="mine:f")), [2, 1]
    assert checker.matches_value(expected, [1, 2]) and expected == [2, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "class Own:\n    pass",
            r"learner.objective mine:Own \(.*mine.py, line 1\) has no from_config, no prepare, no loss",
        ),
        ("def Own(): pass", r"learner.objective mine:Own \(.*mine.py, line 1\) is no class$"),
        ("{base}", "learner.objective mine:Own: from_config failed: TypeError: Can't instantiate abstract class Own"),
        (
            "{base}    def advantages(self, groups, rewards):\n        return groups[7]",
            "prepare failed: .*, line 5: IndexError",
        ),
        (
            "{base}    def advantages(self): pass\n    def prepare(self, groups): pass",
            "prepare gave None, not a Prepared$",
        ),
    ],
)
def test_an_objective_that_cannot_be_used(install: Install, text: str, words: str) -> None:
    base = "from rltf.learner.objectives.policy_gradient import PolicyGradient\nclass Own(PolicyGradient):\n    pass\n"
    install(mine=text.replace("{base}", base))
    with pytest.raises(UserError, match=words):
        objective = make_objective(_config(learner__objective="mine:Own"), encoder_decoder=False)
        assert objective is not None
        objective.prepare([_samples()])


@pytest.mark.parametrize("key", ["actors.engine", "executor.judge"])
def test_an_engine_or_judge_that_is_none(install: Install, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = install(mine="class Own:\n    pass\n")
    assert launch.main(["--run.code", str(folder), f"--{key}", "mine:Own", "--dry-run"]) == 2
    assert re.search(
        rf"error: {key} mine:Own \(.*mine.py, line 1\) has no from_config$", capsys.readouterr().err.replace("\n", "")
    )


def test_a_name_without_a_folder_is_told_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["--grpo.reward", "mine:f", "--dry-run"]) == 2
    assert "reward mine:f is of your own files: set run.code to the folder of mine.py" in capsys.readouterr().err


def test_a_failure_is_of_the_kind_that_is_asked_for(install: Install) -> None:
    install(mine="def f(x):\n    raise SystemExit\n")
    with pytest.raises(CheckerFailure, match="key mine:f failed for it: .*, line 2: SystemExit: SystemExit$"):
        UserFunction("mine:f", "key", ["x"], CheckerFailure).call("it", 1)
