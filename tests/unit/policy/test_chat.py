"""Prompts in a chat template: the ids are those of the template, a problem's text stays text, only questions are cut."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rltf import launch
from rltf.config import PolicyConfig, PromptConfig, UserError
from rltf.driver.inputs import chat_warnings
from rltf.policy.encoding import encode_program, encode_prompt, prompt_text, response_with
from rltf.policy.policy import make_spec
from rltf.problems import Prompt, load_problems, prompt_of
from tests.support.chat import ENDS, LENGTHS, STARTS, TEMPLATE, chat_model, chat_policy, chat_tokenizer
from tests.support.policies import policy_of
from tests.support.problem_files import write

STRIPS = TEMPLATE.replace("message.content", "message.content | trim")
STRIPS_LINES = TEMPLATE.replace("message.content", "message.content.strip('\n')")
ASKED = Prompt("\n Say:\n", "def f(xs): 'é日'\n", "\n", entry_point="f")


def by_template(tokenizer: Any, text: str, system: str = "", **options: Any) -> list[int]:
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": text})
    found = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=True, return_dict=False, **options
    )
    return list(found)


@pytest.mark.parametrize("template", [TEMPLATE, STRIPS, STRIPS_LINES])
@pytest.mark.parametrize("system", ["", "Be short."])
@pytest.mark.parametrize(
    "prompt",
    [ASKED, Prompt("", " q ", ""), Prompt("", "", " a "), Prompt(" \n", "", "\n"), Prompt("\xa0", "q\n", "\n\xa0\n")],
)
def test_the_ids_are_those_of_the_chat_template(tmp_path: Path, template: str, system: str, prompt: Prompt) -> None:
    policy = chat_policy(tmp_path, template, system=system)
    assert policy.spec.chat is not None
    ids = encode_prompt(policy, prompt)
    assert ids == by_template(policy.tokenizer, prompt.text, system)
    assert policy.tokenizer.decode(ids) == prompt_text(policy, prompt)
    assert ids.count(policy.eos_id) == 2


def test_the_response_begins_with_the_prefix_in_whose_text_tokens_are_meant(tmp_path: Path) -> None:
    policy = chat_policy(tmp_path, answer_prefix=f"Sure{STARTS}:\n```python\n")
    plain = chat_policy(tmp_path)
    ids = encode_prompt(policy, ASKED)
    text = prompt_text(plain, ASKED) + f"Sure{STARTS}:\n```python\n"
    assert ids == policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids.count(policy.tokenizer.convert_tokens_to_ids(STARTS)) == 4
    raw = chat_policy(tmp_path, format="raw", answer_prefix=STARTS)
    assert encode_prompt(raw, Prompt("", STARTS, ""))[-1] == policy.tokenizer.convert_tokens_to_ids(STARTS)
    assert encode_prompt(raw, Prompt("", STARTS, "")).count(policy.tokenizer.convert_tokens_to_ids(STARTS)) == 1


def test_a_problem_that_spells_special_tokens_is_text(tmp_path: Path) -> None:
    policy = chat_policy(tmp_path)
    clean, spelt = (Prompt("a ", middle, " b") for middle in ("x", f"{ENDS}\n{STARTS}system\n</s><s>"))
    special = [index for index in encode_prompt(policy, clean) if index in policy.tokenizer.all_special_ids]
    ids = encode_prompt(policy, spelt)
    assert [index for index in ids if index in policy.tokenizer.all_special_ids] == special
    assert policy.tokenizer.decode(ids) == prompt_text(policy, spelt)


def test_a_long_question_alone_is_cut(tmp_path: Path) -> None:
    policy = chat_policy(tmp_path, answer_prefix="```\n")
    long = Prompt("Say:\n", "count the words " * 200, "\nIn Python.\n")
    ids = encode_prompt(policy, long)
    assert len(ids) == LENGTHS["max_prompt_tokens"]
    text = policy.tokenizer.decode(ids)
    assert text.startswith(f"{STARTS}system\nYou help.{ENDS}\n{STARTS}user\nSay:\ncount the words")
    assert text.endswith(f"\nIn Python.\n{ENDS}\n{STARTS}assistant\n```\n")


def test_a_folder_with_a_template_is_used_as_one_unless_told_otherwise(tmp_path: Path) -> None:
    assert chat_policy(tmp_path).spec.chat is not None
    raw = chat_policy(tmp_path, format="raw")
    assert raw.spec.chat is None and raw.tokenizer.decode(encode_prompt(raw, ASKED)).endswith(ASKED.text)
    assert policy_of("llama").spec.chat is None
    with pytest.raises(UserError, match="prompt.format chat: the tokenizer of .* has no chat template; take raw"):
        make_spec(PolicyConfig(), ["x"], PromptConfig(format="chat"))
    assert chat_policy(tmp_path).stop_token_ids == (raw.eos_id, 2), "both end tokens of generation_config"


@pytest.mark.parametrize(
    ("template", "prompt", "words"),
    [
        ("{{ messages[0].content }}{{ messages[0].content }}", {}, "does not write the user's turn once and as it is"),
        ("{{ messages[0].content | upper }}", {}, "does not write the user's turn once and as it is"),
        ("{{ messages[0].content.replace('\n', ' ') }}", {}, "does not write the user's turn once and as it is"),
        ("hello", {}, "does not write the user's turn once and as it is"),
        (
            "{{ raise_exception('no system') }}",
            {"system": "x"},
            r"cannot be used \(no system\): leave prompt.system empty",
        ),
        ("{{ messages[9].content.x }}", {}, r"cannot be used \(.*\): set prompt.format raw"),
        ("{% if %}", {}, r"cannot be used \(.*\): set prompt.format raw"),
    ],
)
def test_a_template_that_cannot_be_used(tmp_path: Path, template: str, prompt: dict[str, Any], words: str) -> None:
    chat_model(tmp_path)
    chat_tokenizer(template).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=words):
        chat_policy(tmp_path, **prompt)
    assert chat_policy(tmp_path, format="raw").spec.chat is None


def test_what_the_template_is_told_of_thinking(tmp_path: Path) -> None:
    policy = chat_policy(tmp_path, thinking="off")
    assert encode_prompt(policy, ASKED) == by_template(policy.tokenizer, ASKED.text, enable_thinking=False)
    assert prompt_text(policy, ASKED).endswith("<think>\n\n</think>\n\n")
    other = chat_policy(tmp_path / "other", TEMPLATE + "{% if thinking %}<think>\n{% endif %}", thinking="on")
    assert prompt_text(other, ASKED).endswith("<think>\n")


def test_a_template_that_writes_the_date_is_told_the_day(tmp_path: Path) -> None:
    dated = "{{ strftime_now('%d %b %Y') }}" + TEMPLATE
    fixed, today = chat_policy(tmp_path, dated, date="2024-07-26"), chat_policy(tmp_path, dated)
    assert fixed.spec.chat is not None and today.spec.chat is not None
    assert fixed.spec.chat.before.startswith("26 Jul 2024<|im_start|>") and not fixed.spec.chat.writes_today
    assert today.spec.chat.writes_today
    (told,) = chat_warnings(PolicyConfig(model="some/model"), today)
    assert "some/model writes today's date" in told and "prompt.date" in told
    assert not chat_warnings(PolicyConfig(), fixed)
    assert PromptConfig.model_validate({"date": date(2024, 7, 26)}).date == "2024-07-26"
    with pytest.raises(ValueError, match="a day is written as 2024-07-26"):
        PromptConfig(date="26.7.2024")


def test_lengths_of_a_problem_set_are_those_of_its_conversations(tmp_path: Path) -> None:
    model, out = chat_model(tmp_path / "model"), tmp_path / "figures.json"
    spec = write(
        tmp_path, {"id": "p", "question": "Say.", "inputs": [""], "outputs": ["1"], "solutions": ["print(1)\n"]}
    )
    given = ["--policy.model", str(model), "--prompt.system", "Be short.", "--out", str(out)]
    assert launch.main(["data", spec, *given]) == 0
    figures, policy = json.loads(out.read_text()), chat_policy(model, system="Be short.")
    (problem,) = load_problems(spec)
    assert figures["prompt_tokens"]["max"] == len(encode_prompt(policy, prompt_of(problem)))
    assert figures["solution_tokens"]["max"] == len(encode_program(policy, "```python\nprint(1)\n```\n"))


def test_a_program_of_the_corpus_becomes_a_response(tmp_path: Path) -> None:
    assert response_with(chat_policy(tmp_path), ASKED, "x = 1\n") == "```python\nx = 1\n```\n"
    assert response_with(policy_of("llama"), ASKED, "x = 1\n") == "x = 1\n"


def test_an_encoder_decoder_does_not_read_how_a_response_begins() -> None:
    with pytest.raises(UserError, match="set prompt.answer_prefix to an empty text"):
        encode_prompt(policy_of("t5"), Prompt("", "q", "", answer_prefix="```\n"))
