"""A model made for conversations, with a reward, a prompt style and a checker of the user's: through actor, executor
and learner; its record judged and taken again; what ran is kept, and is what goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from rltf import launch
from rltf.buffer.records import Sample
from rltf.config.user_code import NO_CODE, UserCode
from rltf.monitor.run_folder import RunFolder
from tests.support.chat import chat_model
from tests.support.run_parts import Launched

MINE = """
from rltf.problems import Prompt

def tokens(sample, group):
    return len(sample.program.token_ids) / 100 + len(group.samples)

def shout(problem):
    return Prompt("", problem.question.upper(), "\\n")

def any_output(expected, actual):
    return True
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def run(model: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A finished run; from then on there is only what it keeps of the user's files."""
    folder = tmp_path_factory.mktemp("run")
    code, data = folder / "mycode", folder / "data.jsonl"
    code.mkdir()
    (code / "mine.py").write_text(MINE)
    solution = "def add(a, b):\n    return a + b\n"
    problem = {"question": "add.", "fn_name": "add", "inputs": [[1, 2]], "outputs": [0], "solutions": [solution]}
    data.write_text("".join(json.dumps(problem | {"id": str(number)}) + "\n" for number in range(8)))
    launched = Launched(
        folder,
        policy__model=model,
        policy__max_prompt_tokens=400,
        policy__max_program_tokens=32,
        prompt__answer_prefix="```python\n",
        prompt__stop='["\\n\\n\\n\\n"]',
        credit__outside="none",
        credit__end_token=False,
        run__code=code,
        problems__train=f"jsonl:{data},checker=mine:any_output",
        problems__held_out="starter,split=heldout",
        problems__prompt_style="mine:shout",
        learner__objective="grpo",
        grpo__reward="mine:tokens",
        learner__steps=2,
        learner__supervised_ratio=0,
        actors__greedy=False,
        warm_start__steps=2,
        evaluation__tasks=8,
        ray__address=ray_address,
    )
    assert launched.wait() == 0, launched.terminal
    shutil.rmtree(code)
    yield launched
    NO_CODE.install()
    assert launched.gone(), launched.survivors()


@pytest.fixture
def samples(run: Launched) -> list[Sample]:
    return [kept.sample for kept in RunFolder.open(run.folder).samples() if kept.sample is not None]


def test_problems_are_put_to_the_model_in_its_chat_template(run: Launched, samples: list[Sample], model: Path) -> None:
    assert "turns in the chat template of the tokenizer, style mine:shout" in run.terminal
    tokenizer = AutoTokenizer.from_pretrained(model)
    shown = tokenizer.decode(next(one for one in samples if one.program.purpose == "train").program.prompt_ids)
    assert "user\nADD.\n" in shown.replace("<|im_start|>", "").replace("  ", " "), shown


def test_programs_are_parts_of_responses(run: Launched, samples: list[Sample]) -> None:
    assert samples and all(sample.program.prompt_ids for sample in samples)
    inside = [one for one in samples if one.program.has_program]
    assert inside, "the prompt has opened a block"
    for one in samples:
        assert (one.feedback.error_type == "NoProgram") == (not one.program.has_program)
        assert all(0 <= begin < end <= len(one.program.text) for begin, end in one.program.parts)
    folder = RunFolder.open(run.folder)
    rows = folder.steps()
    assert all(0 <= row["program_share"] <= 1 for row in rows) and any(row["program_share"] > 0 for row in rows)
    shares = [row["program_share"] for row in folder.held_out()]
    assert shares and all(0 <= share <= 1 for share in shares)
    card = (run.folder / "export" / "README.md").read_text()
    assert "add_special_tokens=False" in card and "<|im_start|>assistant" in card and "holds the program" in card
    generation = json.loads((run.folder / "export" / "generation_config.json").read_text())
    assert len(generation["eos_token_id"]) == 2, "both end tokens, as the base has them"


def test_rewards_and_verdicts_are_the_users(run: Launched, samples: list[Sample]) -> None:
    trained = {sample.program.id: sample for sample in samples if sample.program.purpose == "train"}
    for row in RunFolder.open(run.folder).steps():
        tokens = [len(trained[name].program.token_ids) for name in row["sample_ids"]]
        assert row["rewards"] == [number / 100 + 3 for number in tokens]
    verdicts = {sample.feedback.outcome for sample in trained.values()}
    assert verdicts & {"pass", "runtime_error", "compile_error"} and "failure" not in verdicts


def test_the_record_is_judged_and_taken_again(
    run: Launched, samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["replay", str(run.folder)]) == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert f"all {len(samples):,} verdicts are the same" in told
    assert launch.main(["replay", str(run.folder), "--step", "2"]) == 0, capsys.readouterr()
    assert "rewards, token weights and loss are those that were trained with" in capsys.readouterr().out


def test_the_users_files_are_kept_and_others_do_not_go_on(
    run: Launched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = run.folder / "code"
    assert (kept / "mine.py").read_text() == MINE
    assert [row["code"] for row in RunFolder.open(run.folder).events()] == [UserCode.read(kept).hash]
    assert launch.main(["--resume", str(run.folder), "--run.code", str(tmp_path)]) == 2
    assert "--run.code cannot be changed when a run goes on" in capsys.readouterr().err
    (kept / "mine.py").write_text(MINE.replace("100", "50"))
    assert launch.main(["--resume", str(run.folder)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "other code of yours (run.code), so their files have changed since" in told


def test_a_prompt_is_shown_in_the_chat_template(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--policy.model",
        str(model),
        "--policy.max_prompt_tokens",
        "300",
        "--problems.prompt_style",
        "instruct",
    ]
    assert launch.main(["show-prompt", "starter", *arguments, "--count", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("⟦<|im_start|>⟧system") == 2 and "in the chat template" in shown and "entry_block" in shown
