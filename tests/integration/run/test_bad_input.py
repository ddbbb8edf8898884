"""Bad input, each with one clear sentence and exit code 2, before anything is started that would have to be stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rltf import launch


def _problem(name: str) -> str:
    fields = {"question": "Add.", "starter_code": "", "fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}
    return json.dumps({"id": name, "solutions": ["def add(a, b):\n    return a + b\n"]} | fields)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learner.stepz", "3"], "unknown key learner.stepz on the command line; did you mean learner.steps?"),
        (["--evaluation.k", "2026-02-30"], "evaluation.k: Input should be a valid tuple, got '2026-02-30'"),
        (["--learner.steps=many"], "learner.steps: Input should be a valid integer"),
        (["trian"], "there is no command 'trian': did you mean train?"),
        (["--config", "configs/none.yaml"], "configs/none.yaml: No such file or directory"),
        (["--problems.train", "apps:/no/such/folder"], "/no/such/folder"),
        (["--problems.train", "aps:/no/such/folder"], "did you mean"),
        (["--problems.train", "starter,splitt=train"], "did you mean 'split'"),
        (["--policy.model", "tests"], "tests is no model folder: it has no config.json"),
        (["--policy.model", "./no/such/model"], "Model folder ./no/such/model does not exist"),
        (["--policy.tokenizer", "tests"], "tests holds no tokenizer"),
        (["--redis.url", "redis://:secret@127.0.0.1:1/0"], "Redis at redis://:***@127.0.0.1:1/0 cannot be used"),
        (["--redis.url", "http://somewhere"], "redis.url 'http://somewhere' is no Redis address"),
        (["--redis.url", "redis://[::1/0"], "redis.url 'redis://[::1/0' is no Redis address"),
        (["--redis.url", "redis://:pa@secret@127.0.0.1:1/0"], "Redis at redis://:***@127.0.0.1:1/0 cannot be used"),
        (
            ["--redis.url", "redis://127.0.0.1:1/0?password=secret"],
            "Redis at redis://127.0.0.1:1/0?password=*** cannot be used",
        ),
        (["--run.name", "a/b"], "run.name 'a/b' is no folder name"),
        (["--learner.gpus_per_worker", "3"], "3 GPUs are asked for"),
        (["--ray.address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["--ray.address", "somewhere"], "ray.address somewhere is no HOST:PORT"),
        (["--ray.address", "127.0.0.1:0"], "ray.address 127.0.0.1:0 is no HOST:PORT"),
        (["--ray.address", "ray://127.0.0.1:10001"], "is one of Ray's client servers"),
        (["--warm_start.reuse", "/no/such/model"], "warm_start.reuse /no/such/model: there is no model in this folder"),
    ],
)
def test_one_sentence_and_exit_code_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "problems.jsonl").write_text(_problem("a"))
    usual = {
        "--ray.address": "local",
        "--ray.dashboard": "false",
        "--run.folder": str(tmp_path / "runs"),
        "--problems.train": f"jsonl:{tmp_path / 'problems.jsonl'}",
        "--problems.held_out": "none",
    }
    given = [word for key, value in usual.items() if key not in arguments for word in (key, value)]
    code = launch.main([*arguments, *given])
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert code == 2
    assert last.startswith("error: ")
    assert words.lower() in last.lower()
    assert "Traceback" not in captured.out + captured.err
    assert "secret" not in captured.out + captured.err
    assert not (tmp_path / "runs").exists(), "a run that never began leaves no folder"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lerner: {}\nrun: {seed: 1}\n", "unknown part lerner in {file}; did you mean learner?"),
        ("xyz: {}\n", "unknown part xyz in {file}; the parts are run, problems, "),
        ("1: {}\n", "unknown part 1 in {file}"),
        ("lerner: {steps: 3}\n", "unknown key lerner.steps in {file}; did you mean learner.steps?"),
        (
            "run:\n  name: 2026-02-30\n",
            "'2026-02-30' has no value (day is out of range for month); text of this look needs quotes",
        ),
        ("run:\n  name: 2026-02-30\n", "line 2, column 9"),
        ("run: {seed: 0x_}\n", "'0x_' has no value"),
        ("run: {name: !!timestamp today}\n", "'today' has no value"),
        ("[" * 5000, "configuration file {file} is not YAML: its lists or mappings are nested too deeply"),
        ("run: {name: 2026-02-28}\n", "run.name: Input should be a valid string"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert launch.main(["--config", str(file), "--dry-run"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("error: ") and words.format(file=file) in told


def test_a_broken_problem_is_named_and_counted_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join([_problem("good"), '{"id": "broken", "question": ', _problem("fine")]))
    settings = {
        "problems.train": f"jsonl:{file}",
        "problems.held_out": "",
        "policy.tokenizer": str(_tokenizer(tmp_path)),
        "warm_start.steps": "0",
    }
    code = launch.main(
        [
            "--dry-run",
            "--ray.address",
            "local",
            "--ray.dashboard",
            "false",
            *(w for k, v in settings.items() for w in (f"--{k}", v)),
        ]
    )
    printed, told = capsys.readouterr()
    assert code == 0
    assert "2 from jsonl" in printed
    assert "1 skipped" in printed
    assert "line 2" in told or "broken" in told


def test_prompts_that_cannot_be_made_to_fit_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(_problem("good"))
    settings = {
        "problems.train": f"jsonl:{file}",
        "problems.held_out": "",
        "policy.tokenizer": str(_tokenizer(tmp_path)),
        "warm_start.steps": "0",
    }
    settings["policy.max_prompt_tokens"] = "8"
    assert launch.main([word for key, value in settings.items() for word in (f"--{key}", value)]) == 2
    assert "no prompt fits" in capsys.readouterr().err


def _tokenizer(folder: Path) -> Path:
    from rltf.policy.tokenizers import train_tokenizer

    path = folder / "tokenizer"
    train_tokenizer(["def add(a, b):\n    return a + b\n"] * 50, 300).save_pretrained(path)
    return path
