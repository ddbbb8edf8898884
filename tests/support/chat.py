"""A tiny model made for conversations: a tokenizer with a chat template, and two tokens that end a response."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from rltf.config import PolicyConfig, PromptConfig
from rltf.policy import tokenizers
from rltf.policy.policy import Policy, build_policy, make_spec
from tests.support.policies import TEXTS

SHAPE: dict[str, Any] = {"d_model": 32, "layers": 1, "heads": 2, "d_ff": 32, "vocab_size": 320}
LENGTHS: dict[str, Any] = {"max_prompt_tokens": 400, "max_program_tokens": 120}
TEMPLATE = (
    "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{%- for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
STARTS, ENDS = "<|im_start|>", "<|im_end|>"


def chat_tokenizer(template: str = TEMPLATE) -> Any:
    """A byte-level tokenizer that ends a response with `<|im_end|>`, a document with `</s>`."""
    tokenizer = tokenizers.train_tokenizer(TEXTS, SHAPE["vocab_size"] - 2)
    tokenizer.add_special_tokens({"additional_special_tokens": [STARTS, ENDS]})
    tokenizer.eos_token = ENDS
    tokenizer.chat_template = template
    return tokenizer


def chat_model(folder: Path, template: str = TEMPLATE, seed: int = 0, **lengths: int) -> Path:
    """Writes the model, as a folder that `policy.model` takes; `lengths`: for prompts and programs longer than these."""
    tokenizer = chat_tokenizer(template)
    tokenizer.save_pretrained(folder)
    policy = build_policy(make_spec(PolicyConfig(**SHAPE, **LENGTHS | lengths, tokenizer=str(folder)), []), seed)
    policy.model.generation_config = GenerationConfig(eos_token_id=[tokenizer.eos_token_id, end_of_document(tokenizer)])
    policy.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # as it was, without what makes a tokenizer of a fresh model
    return folder


def end_of_document(tokenizer: Any) -> int:
    return int(tokenizer.convert_tokens_to_ids(tokenizers.EOS))


def chat_policy(folder: Path, template: str = TEMPLATE, **prompt: Any) -> Policy:
    """A policy of such a model; `prompt`: fields of that part of the configuration."""
    if not (folder / "config.json").is_file():
        chat_model(folder, template)
    config = PolicyConfig(model=str(folder), **LENGTHS)
    return build_policy(make_spec(config, [], PromptConfig.model_validate(prompt)))


def settings(folder: Path) -> dict[str, Any]:
    """The chat template's settings in a folder."""
    return dict(json.loads((folder / "tokenizer_config.json").read_text()))
