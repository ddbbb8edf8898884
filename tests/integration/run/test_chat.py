"""A model made for conversations, through actor, executor and learner, and its record judged and taken again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rltf import launch
from rltf.monitor.run_record import RunRecord
from tests.support.chat import chat_model
from tests.support.run_parts import Launched


def test_a_model_made_for_conversations_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Launched(
        tmp_path,
        policy__model=chat_model(tmp_path / "model"),
        policy__max_prompt_tokens=400,
        policy__max_program_tokens=32,
        problems__prompt_style="instruct",
        prompt__answer_prefix="```python\n",
        prompt__stop='["\\n\\n\\n\\n"]',
        credit__outside="none",
        credit__end_token=False,
        warm_start__steps=2,
        learner__steps=4,
        evaluation__tasks=8,
    )
    assert run.wait() == 0, run.terminal
    assert "turns in the chat template of the tokenizer, style instruct" in run.terminal
    record = RunRecord.open(run.folder)
    samples = [kept.sample for kept in record.samples() if kept.sample is not None]
    assert samples and all(sample.program.prompt_ids for sample in samples)
    inside = [one for one in samples if one.program.has_program]
    assert inside, "the prompt has opened a block"
    for one in samples:
        assert (one.feedback.error_type == "NoProgram") == (not one.program.has_program)
        assert all(0 <= begin < end <= len(one.program.text) for begin, end in one.program.parts)
    rows = [row for row in record.steps() if row["objective"] == "rltf"]
    assert all(0 <= row["program_share"] <= 1 for row in rows) and any(row["program_share"] > 0 for row in rows)
    shares = [row["program_share"] for row in record.held_out()]
    assert shares and all(0 <= share <= 1 for share in shares)
    card = (run.folder / "export" / "README.md").read_text()
    assert "add_special_tokens=False" in card and "<|im_start|>assistant" in card and "holds the program" in card
    generation = json.loads((run.folder / "export" / "generation_config.json").read_text())
    assert len(generation["eos_token_id"]) == 2, "both end tokens, as the base has them"
    capsys.readouterr()
    assert launch.main(["replay", str(run.folder)]) == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert f"all {len(samples):,} verdicts are the same" in told
    step = str(rows[-1]["step"])
    assert launch.main(["replay", str(run.folder), "--step", step]) == 0, capsys.readouterr()
    assert "rewards, token weights and loss are those that were trained with" in capsys.readouterr().out
    model = ["--policy.model", str(tmp_path / "model"), "--policy.max_prompt_tokens", "300"]
    assert launch.main(["show-prompt", "starter", *model, "--count", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("⟦<|im_start|>⟧system") == 2 and "in the chat template" in shown and "entry_block" in shown
