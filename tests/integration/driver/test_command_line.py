"""The command line: help that says what may be written, and one sentence for each way of getting it wrong."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from argparse import Namespace
from pathlib import Path

import pytest

from rltf import config as configuration
from rltf import launch
from rltf.config import Config, UserError
from rltf.config.help import described, keys, written
from rltf.driver.commands import COMMANDS
from rltf.driver.commands.train import parse
from rltf.driver.evaluation_model import settings_of
from rltf.problems.prompts import STYLES
from rltf.problems.sources import forms
from tests.support.paths import ROOT

LAUNCH = [sys.executable, str(ROOT / "launch.py")]


def _told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence for a wrong command line, on standard error and alone."""
    assert launch.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and printed.err.startswith("error: ")
    return printed.err


def _help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        launch.main(arguments)
    printed = capsys.readouterr()
    assert not ended.value.code and printed.err == ""
    return printed.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["publish"],
            "there is no command 'publish': the commands are train, grade, evaluate, compare, check-data, data, convert, ",
        ),
        (["grde"], "there is no command 'grde': did you mean grade?"),
        (["check_data", "starter"], "did you mean check-data?"),
        (["Status"], "did you mean status?"),
        ([""], "there is no command ''"),
        (["configs/starter.yaml"], "--config configs/starter.yaml"),
        (["learner.steps=5"], "a field is written with two dashes, --learner.steps VALUE"),
        (["--dry-run", "grade"], "a command comes first, launch.py grade ..."),
        (["-learner.steps", "5"], "a field is written with two dashes, --learner.steps VALUE"),
        (["-learner.steps=5"], "a field is written with two dashes, --learner.steps 5"),
        (["--learner.steps"], "--learner.steps needs a value: --learner.steps INTEGER"),
        (["--run.deterministic", "--dry-run"], "--run.deterministic needs a value: --run.deterministic true|false"),
        (["--learner.steps", "5", "6"], "unexpected argument '6': it belongs to no option"),
        (["--learner.steps", "5", "--learner.steps=6"], "--learner.steps is given twice, as '5' and as '6'"),
        (["--dry-run", "--dry-run"], "--dry-run is given twice"),
        (
            ["--learner.steps", ""],
            "learner.steps: Input should be a valid integer, unable to parse string as an integer, got ''",
        ),
        (
            ["--learner.steps="],
            "learner.steps: Input should be a valid integer, unable to parse string as an integer, got ''",
        ),
        (["--learner.steps", "-5"], "learner.steps: Input should be greater than or equal to 1, got -5"),
        (["--learner.learning_rate", "-1e-3"], "learner.learning_rate: Input should be greater than 0, got -0.001"),
        (
            ["–learner.steps", "5"],
            "'–learner.steps' begins with a typographic dash, which is no '-': write --learner.steps",
        ),
        (["—dry-run"], "write --dry-run"),
        (["--dry_run"], "unknown option '--dry_run': did you mean --dry-run?"),
        (["--steps", "3"], "unknown option '--steps': did you mean --warm_start.steps or --learner.steps?"),
        (["-seed", "3"], "unknown option '-seed': did you mean --run.seed?"),
        (
            ["--learner"],
            "learner is a part of the configuration, whose fields are --learner.FIELD (launch.py --help learner)",
        ),
        (["--learner.groups-per-step", "5"], "did you mean learner.groups_per_step?"),
        (["--LEARNER.STEPS", "5"], "did you mean learner.steps?"),
        (["--config"], "--config: expected one argument"),
        (["--config", ""], "configuration file ''"),
        (["--config", "starer"], "did you mean the preset starter?"),
        (["--config", "no/such.yaml"], "no/such.yaml: No such file or directory; the presets are apps-codet5, "),
        (["--help", "lerner"], "did you mean learner?"),
        (["grade", "--learner.steps", "5"], "launch.py grade does not read --learner.steps: it reads executor.lanes, "),
        (["train-critic", "x", "--run.seed", "5"], "train-critic does not read --run.seed: it reads no field"),
        (
            ["status", "x", "--out", "y", "--dry-run"],
            "unknown option '--dry-run': launch.py status --help lists what it takes",
        ),
        (["status", "x", "--problems", "starter"], "problems is a part of the configuration"),
    ],
)
def test_one_sentence_says_what_is_meant(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in _told(arguments, capsys)


def test_a_value_may_begin_with_a_dash_and_be_given_twice_alike() -> None:
    assert parse(["--rltf.fine_reward", "-.5", "--rltf.fine_reward=-.5"]).config.rltf.fine_reward == -0.5
    assert parse(["--grpo.log_prob_floor", "-1e1"]).config.grpo.log_prob_floor == -10
    assert parse(["--problems.held_out", ""]).config.problems.held_out == ""


def test_a_preset_is_found_by_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter-t5").mkdir()  # a folder of this name hides nothing
    (tmp_path / "mbpp-gpt2").write_text("run: {seed: 7}\n")
    for name in ("apps-codet5", "apps-codet5.yaml", "starter-t5"):
        file = ROOT / "configs" / f"{name.removesuffix('.yaml')}.yaml"
        assert parse(["--config", name]) == (configuration.load(file), file.stem, False, None)
    assert parse(["--config", "mbpp-gpt2"]).config.run.seed == 7, "a file of one's own comes first"
    assert parse([]).preset == "starter"


def test_resuming_a_run_that_is_not_there_names_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"there is none in {tmp_path}/runs" in _told(["--resume", "starter-1"], capsys)
    for name in ("starter-0101", "starter-0102", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").write_text("")
    assert "there are starter-0101, starter-0102 in" in _told(["--resume", "starter-01"], capsys)
    assert "there are other, starter-0101, starter-0102 in" in _told(["status", "quite"], capsys)
    assert "'': there is no run folder of this name" in _told(["--resume", ""], capsys)


def test_the_help_is_short_and_names_commands_and_parts(capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(["--help"], capsys)
    assert text == _help(["-h"], capsys) == _help(["help"], capsys) == _help(["train", "--help"], capsys)
    assert len(text.splitlines()) < 95
    for command in COMMANDS:
        assert f"\n  {command} " in text
    for part in Config.model_fields:
        assert f"\n  {part} " in text
    assert "--learner.steps" not in text


def test_the_help_on_a_part_says_what_may_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(["--help", "learner"], capsys)
    assert text == _help(["help", "learner"], capsys) == _help(["--help=learner"], capsys)
    assert "--learner.zero_stage 0|1|2|3\n" in text and "--executor." not in text
    assert "--learner.objective grpo|rltf|reinforce|rloo|ppo_clip|supervised|MODULE:NAME\n" in text
    one = " ".join(_help(["--help", "actors.top_p"], capsys).split())
    assert "--actors.top_p NUMBER" in one and "(above 0, at most 1; default: 1.0)" in one and "temperature" not in one
    text = _help(["--help", "problems"], capsys)
    assert "--problems.train SPEC\n" in text and "--problems.prompt_style STYLE\n" in text
    words = " ".join(text.split())
    assert f" SPEC: a problem set: {forms()}, options after commas " in f"{words} "
    assert f" STYLE: auto | {' | '.join(STYLES)} " in f"{words} "
    everything = _help(["--help-all"], capsys)
    assert all(f"\n  --{key} " in everything for key in keys())


def test_what_the_help_says_of_values_is_what_is_accepted() -> None:
    for key in keys():
        field = described(key)
        default = [] if field.default in ('""', "[]") else [field.default]
        needs = {"rltf.critic_weighting": ["--rltf.critic", "/"], "actors.greedy": []}.get(key, [])
        assert parse([*needs, *(word for value in default for word in (f"--{key}", value))]) is not None
        if "|" in field.values and not field.values.startswith(("INTEGER", "NUMBER")):
            with pytest.raises(UserError, match=key):
                parse([f"--{key}", "neither"])
        if field.bounds.startswith("at least "):
            with pytest.raises(UserError, match=key):
                configuration.load(None, {key: str(int(field.bounds.split()[2].rstrip(",")) - 1)})
    assert (
        described("learner.betas").values == "[NUMBER, NUMBER]"
        and described("learner.betas").bounds == "each at least 0, below 1"
    )
    assert (
        described("buffer.max_staleness").values == "INTEGER|none"
        and described("learner.betas").default == "[0.9, 0.95]"
    )


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"help", "train"}))
def test_a_command_lists_its_own_options_and_fields(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = _help([command, "--help"], capsys)
    assert text == _help(["help", command], capsys)
    assert len(text.splitlines()) < 100 and "--learner.steps" not in text and "--dry-run" not in text
    assert ("--executor.time_limit_s" in text) == (
        command in ("grade", "evaluate", "check-data", "replay", "doctor", "serve")
    )
    if command in ("grade", "check-data", "replay"):
        assert "default: one per core" in " ".join(text.split())


def test_the_brief_help_of_evaluate_says_what_holds_and_where_the_rest_is(capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(_help(["evaluate", "--help"], capsys).split())
    everything = _help(["evaluate", "--help-all"], capsys)
    claims = re.findall(r"--(\w+\.\w+) (\S+)(?:(?! --)[^(])*\(default: ([^,)]*)", words)
    assert len(claims) == words.count("default: ") - words.partition("fields of the")[0].count("default: ") > 15
    known = Namespace(model="owner/model", problems="starter", temperature=None, top_p=None)
    _, config = settings_of(known, {}, 1, (1,))
    for key, values, default in claims:
        part, name = key.split(".")
        assert written(getattr(getattr(config, part), name)) == default, key
        assert values in (described(key).values, "SPEC", "STYLE") and f"\n  --{key} " in everything
        if default not in ('""', "none"):
            assert settings_of(known, {key: default}, 1, (1,))[1] == config
    assert "--evaluation.min_p" in words and "--redis.url" not in words and "--redis.url" in everything
    parts = words.partition("or --help PART, of ")[2].split(", ")
    assert set(parts) == {key.partition(".")[0] for key in keys() if f"\n  --{key} " in everything}
    of_actors = _help(["evaluate", "--help", "actors"], capsys)
    assert all(f"\n  --{key} " in of_actors for key in keys("actors")) and "--policy." not in of_actors
    assert "launch.py evaluate reads no such part" in _told(["evaluate", "--help", "learner"], capsys)


def test_help_imports_neither_ray_nor_torch() -> None:
    code = (
        "import sys\nfor name in ('torch', 'ray', 'redis', 'transformers', 'datasets', 'deepspeed', 'pyarrow'): sys.modules[name] = None\n"
        "import launch\nfor line in sys.argv[1:]:\n    try: launch.main(line.split())\n    except SystemExit as end: assert not end.code\n"
    )
    lines = ["--help", "help", "--help-all", "--help learner", *(f"{command} --help" for command in COMMANDS)]
    subprocess.run([sys.executable, "-c", code, *lines], cwd=ROOT, check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_without_packages_one_sentence_says_make_setup() -> None:
    done = subprocess.run([sys.executable, "-S", *LAUNCH[1:], "--dry-run"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        f"error: the package rich is not installed for {sys.executable}: run `make setup`, then `.venv/bin/python launch.py`\n"
    )


def test_an_older_python_is_told_too() -> None:
    source = (ROOT / "launch.py").read_text()
    tree = ast.parse(source, feature_version=(3, 7))  # the oldest that knows `from __future__ import annotations`
    ast.parse((ROOT / "rltf" / "program.py").read_text(), feature_version=(3, 7))
    (start,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "start")
    check = next(node for node in start.body if isinstance(node, ast.If))
    loaded = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.lineno < check.lineno]
    early = {node.module for node in loaded if node.module and (node in start.body or node in tree.body)}
    assert early == {"__future__", "collections.abc", "typing", "rltf.program"}, "nothing else runs before the check"
    code = f"import sys\nsys.version_info = (3, 9, 2, 'final', 0)\nexec(compile(open({LAUNCH[1]!r}).read(), 'launch.py', 'exec'))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "launch.py needs Python 3.11, 3.12 or 3.13, and this is 3.9: run `make setup`" in done.stderr
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11,<3.14" and "(3, 11) <= sys.version_info[:2] <= (3, 13)" in source


def test_an_installation_for_executors_alone_names_the_extra(tmp_path: Path) -> None:
    installed = Path(next(path for path in sys.path if path.endswith("site-packages")))
    kept_out = ("torch", "tensorboard", "deepspeed", "__editable__")
    for path in installed.iterdir():
        if not path.name.startswith(kept_out) and path.suffix != ".pth":
            (tmp_path / path.name).symlink_to(path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def said(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-S", LAUNCH[1], *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("error: "), done.stderr
        return done.stderr

    sentence = said("--dry-run")
    assert "training needs deepspeed, tensorboard, torch, not installed in" in sentence
    assert "`EXTRAS=train bash scripts/setup.sh`" in sentence
    runs = tmp_path / "runs" / "one"
    runs.mkdir(parents=True)
    (runs / "config.yaml").write_text("run: {}\n")
    needs = "replay --step needs deepspeed, tensorboard, torch, not installed in"
    assert needs in said("replay", str(runs), "--step", "1")
    assert "config.yaml has no run.name" in said("replay", str(runs))  # judging again needs none of them
