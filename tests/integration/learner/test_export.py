"""What an export keeps of its base, and what its model card says: everything is loaded again as a user would."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from rltf.actors.programs import programs_of
from rltf.actors.sampling_engine import SamplingEngine
from rltf.config import Config, PolicyConfig, UserError
from rltf.learner.engine import TrainingEngine
from rltf.learner.export import load_weights, save_model, write_card
from rltf.learner.world import World
from rltf.policy.encoding import encode_program
from rltf.policy.policy import Policy, build_policy, make_spec
from tests.support.learner_parts import CORPUS, learner_config, policy

SIZES = {"max_prompt_tokens": 32, "max_program_tokens": 24}
GENERATION = {"bos_token_id": 1, "pad_token_id": 0, "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.40.0"}
"""As published models have it: transformers reads it and refuses to write it, for it does not sample."""


def base(folder: Path, family: str, ends: Any, **generation: Any) -> str:
    """A model folder as one from the hub: tokenizer with a chat template, generation_config.json with its own end
    tokens.
    """
    toy = policy(family, seed=4, **SIZES)
    toy.model.save_pretrained(folder)
    toy.tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    toy.tokenizer.save_pretrained(folder)
    text = json.dumps(GENERATION | {"eos_token_id": ends} | generation, indent=3)
    (folder / "generation_config.json").write_text(text)
    return str(folder)


def from_folder(folder: str, **fields: Any) -> Policy:
    return build_policy(make_spec(PolicyConfig.model_validate({"model": folder} | SIZES | fields), CORPUS))


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_every_end_token_of_the_base_ends_a_program(family: str, tmp_path: Path) -> None:
    one = from_folder(base(tmp_path / "one", family, 2))
    assert one.stop_token_ids == (2,)
    written = _sampled(one)
    # The second end token is one that this policy writes often: where programs contain it they now end.
    often = max(range(3, 270), key=lambda token: sum(token in completion.token_ids for completion in written))
    two = from_folder(base(tmp_path / "two", family, [2, often, 100_000]))
    assert two.stop_token_ids == (2, often) and two.eos_id == 2
    ended_early = 0
    for before, after in zip(written, _sampled(two), strict=True):
        expected = before.token_ids
        if often in expected:
            expected = expected[: expected.index(often) + 1]
            ended_early += 1
            assert after.finish_reason == "stop"
        assert after.token_ids == expected and len(after.log_probs) == len(expected)
    assert ended_early > 3
    (program,) = programs_of(two, _sampled(two)[:1], group_id="g", problem_id="p", prompt_ids=[5])
    assert len(program.token_ids) == len(program.offsets), "T counts the end token"
    assert encode_program(two, "x")[-1] == 2, "programs of the corpus end as the tokenizer ends a text"


def _sampled(toy: Policy) -> list[Any]:
    (row,) = SamplingEngine(toy).sample([[5, 6, 7]], 16, greedy=True, generator=torch.Generator().manual_seed(1))
    return row


def test_end_tokens_of_a_base_without_generation_config_are_those_its_config_names(tmp_path: Path) -> None:
    folder = Path(base(tmp_path / "m", "llama", 2))
    (folder / "generation_config.json").unlink()
    assert from_folder(str(folder)).stop_token_ids == (2,)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"eos_token_id": [2, 9]}))
    assert from_folder(str(folder)).stop_token_ids == (2, 9)


DAMAGED = [("[1", "is no JSON object"), ("[]", "is no JSON object"), ('{"eos_token_id": "x"}', "token id")]


@pytest.mark.parametrize(("text", "sentence"), DAMAGED)
def test_a_damaged_generation_config_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    folder = base(tmp_path / "m", "llama", 2)
    (tmp_path / "m" / "generation_config.json").write_text(text)
    with pytest.raises(UserError, match=sentence):
        from_folder(folder)


@pytest.mark.parametrize("lora", [0, 2])
@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_an_export_keeps_what_the_base_has_and_loads_as_it_should(family: str, lora: int, tmp_path: Path) -> None:
    folder = base(tmp_path / "base", family, [2, 9])
    toy = from_folder(folder, **({"lora_rank": lora} if lora else {}))
    if lora:
        with torch.no_grad():
            for name, value in toy.model.named_parameters():
                if "lora_B" in name:
                    value.normal_(generator=torch.Generator().manual_seed(7))
    engine = TrainingEngine(toy, learner_config(), World())
    save_model(engine, toy, tmp_path / "export")
    engine.close()
    exported = tmp_path / "export"
    assert (exported / "generation_config.json").read_bytes() == (
        tmp_path / "base" / "generation_config.json"
    ).read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(folder).chat_template and tokenizer.chat_template
    again = from_folder(str(exported))
    assert again.stop_token_ids == (2, 9) and again.model.dtype == toy.model.dtype == torch.float32
    ids = torch.tensor([[5, 6, 7, 8]])
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if family == "t5" else {})
    expected = again.model(**inputs).logits
    warm = from_folder(folder, **({"lora_rank": lora} if lora else {}))
    load_weights(warm, exported)
    torch.testing.assert_close(warm.model.eval()(**inputs).logits, expected, rtol=0, atol=1e-5)
    if lora:
        peft = pytest.importorskip("peft")
        kind = peft.AutoPeftModelForSeq2SeqLM if family == "t5" else peft.AutoPeftModelForCausalLM
        adapted = kind.from_pretrained(exported / "adapter").eval()
        torch.testing.assert_close(adapted(**inputs).logits, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(adapted.generation_config.eos_token_id, [2, 9])
        assert float((expected - from_folder(folder).model(**inputs).logits).abs().max()) > 1e-3


def test_adapters_on_half_precision_leave_a_config_that_names_it(tmp_path: Path) -> None:
    toy = from_folder(base(tmp_path / "base", "llama", 2), lora_rank=2)
    toy.model.bfloat16()
    engine = TrainingEngine(toy, learner_config(dtype="bfloat16", zero_stage=1), World())
    save_model(engine, toy, tmp_path / "export")
    engine.close()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "export").dtype == torch.bfloat16


@pytest.mark.parametrize(("family", "tag"), [("llama", "text-generation"), ("t5", "text2text-generation")])
def test_the_model_card_can_be_followed_and_names_no_path(family: str, tag: str, tmp_path: Path) -> None:
    folder = base(tmp_path / "my-base", family, [2, 9])
    config = Config.model_validate(
        {
            "policy": {"model": folder, "tokenizer": folder} | SIZES,
            "problems": {
                "train": f"jsonl:{tmp_path}/secret/train.jsonl,ids=1-9",
                "held_out": "apps:data/APPS,split=test",
            },
            "warm_start": {"reuse": str(tmp_path / "old" / "warm_start")},
            "actors": {"temperature": 0.8, "top_p": 0.95},
            "prompt": {"stop": ["\n```"]},
            "run": {"folder": str(tmp_path / "runs")},
        }
    )
    toy = from_folder(folder)
    engine = TrainingEngine(toy, learner_config(), World())
    exported = tmp_path / "runs" / "tuesday" / "export"
    save_model(engine, toy, exported)
    engine.close()
    prompt = "\nQUESTION:\nSay 'hello' \\ twice.\n\nANSWER:\n"
    write_card(exported, config, {"steps": 3, "prompt": prompt})
    card = (exported / "README.md").read_text()
    front, title = yaml.safe_load(card.split("---")[1]), card.split("\n# ")[1].split("\n")[0]
    assert front["pipeline_tag"] == tag and "base_model" not in front and title == "tuesday: my-base"
    assert str(tmp_path) not in card and "secret" not in card and "data/APPS" not in card
    assert "jsonl:train.jsonl,ids=1-9" in card and "apps:APPS,split=test" in card and '"reuse": "warm_start"' in card
    code = card.split("```python\n")[1].split("\n```\n")[0].replace("FOLDER", str(exported))
    # The base's generation_config.json may name other values, which do not hold here.
    assert "do_sample=True, temperature=0.8, top_p=0.95, top_k=0, repetition_penalty=1.0, max_new_tokens=" in code
    assert "stop_strings=['\\n```'], tokenizer=tokenizer)" in code
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, names)  # noqa: S102 (our own card)
    assert names["prompt"] == prompt and names["written"].shape[1] > 1 and output.getvalue().endswith("\n")


def test_a_hub_base_is_named_as_on_the_hub(tmp_path: Path) -> None:
    hub = {
        "policy": {"model": "Salesforce/codet5-large-ntp-py"},
        "run": {"name": "apps"},
        "ray": {"address": "10.0.0.1:6379"},
    }
    config = Config.model_validate(hub)
    write_card(tmp_path, config, {})
    card = (tmp_path / "README.md").read_text()
    assert "# apps: Salesforce/codet5-large-ntp-py\n" in card and "base_model: Salesforce/codet5-large-ntp-py\n" in card
    assert "10.0.0.1" not in card and "## Prompt" not in card
