"""What the policy is (`PolicySpec`, picklable) and the policy itself (`Policy`: model, tokenizer and the ids that
matter).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
)
from transformers.initialization import no_init_weights

from rltf.config import PolicyConfig, PromptConfig, UserError, first_line
from rltf.policy import generation_config, shapes, tokenizers
from rltf.policy.chat import ChatFormat, chat_format_of
from rltf.policy.checksums import refuse_damaged
from rltf.policy.lora import LoraSettings, attach
from rltf.policy.offset_decoder import OffsetDecoder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class PolicySpec:
    """All that any process needs to build the policy: shape, tokenizer, origin of the weights.

    Plain data, picklable.
    """

    model_config: str
    """The transformers configuration as JSON, `model_type` included."""
    source: str
    """Folder or hub name of pretrained weights; empty: fresh weights."""
    tokenizer_files: tokenizers.TokenizerFiles
    max_prompt_tokens: int
    max_program_tokens: int
    lora: LoraSettings | None = None
    """None: all weights are trained."""
    generation: str = ""
    """The base model's generation_config.json as it is; empty: it has none, or the weights are fresh."""
    prompt: PromptConfig = PromptConfig(format="raw")
    """How a problem is put to the model."""
    chat: ChatFormat | None = None
    """What a chat template puts around a prompt; None: prompts are raw."""


@dataclass(frozen=True)
class Policy:
    """A model with its tokenizer and the token ids that encoding, sampling and training have to agree on."""

    model: Any
    """An unmodified transformers model for causal or sequence-to-sequence language modelling."""
    tokenizer: Any
    spec: PolicySpec
    is_encoder_decoder: bool
    pad_id: int
    eos_id: int
    bos_id: int | None
    decoder_start_id: int
    """What the decoder of an encoder-decoder reads before the first program token; meaningless for decoder-only."""
    prompt_prefix: tuple[int, ...]
    """Special tokens before each prompt, by the tokenizer's own convention."""
    prompt_suffix: tuple[int, ...]
    """Special tokens after each prompt (encoder-decoder only: nothing stands between prompt and program otherwise)."""
    pieces: OffsetDecoder
    """Each token's share of the text."""
    specials: str
    """Pattern of the tokenizer's special tokens as they are spelt, longer ones first; empty where it has none."""
    extra_stop_token_ids: tuple[int, ...] = ()
    """Tokens that end a program beside `eos_id`, by the base model's generation_config or config."""

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Every token that ends a program. Programs of the corpus end with the first, the tokenizer's own."""
        return (self.eos_id, *self.extra_stop_token_ids)

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def trained_parameters(self) -> int:
        """Of these, those that are trained and published: all, or those of the adapters."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)


def make_spec(config: PolicyConfig, texts: Iterable[str], prompt: PromptConfig | None = None) -> PolicySpec:
    """The specification that `config` describes; `texts` are what a tokenizer is trained on where one has to be.

    `prompt`: how problems are put to the model, by default as `PromptConfig` has it. Raises UserError when the model
    folder is no model, the tokenizer folder holds none, the shape cannot be, or the chat template cannot be used.
    """
    prompt = prompt or PromptConfig()
    generation = ""
    if config.model:
        model_config = _read_model_config(config.model)
        generation = generation_config.read(config.model)
        tokenizer = tokenizers.read_tokenizer(config.model if config.tokenizer == "train" else config.tokenizer)
        _require_end(tokenizer, config)
        if len(tokenizer) > model_config.vocab_size:
            raise UserError(
                f"The tokenizer has {len(tokenizer)} tokens but the model {config.model} only "
                f"{model_config.vocab_size}: "
                "they do not belong together."
            )
        shapes.check_length(model_config, config)
    else:
        if config.tokenizer == "train":
            tokenizer = tokenizers.train_tokenizer(texts, config.vocab_size)
        else:
            tokenizer = tokenizers.read_tokenizer(config.tokenizer)
            _require_end(tokenizer, config)
        # Into the tokenizer itself, so that whoever loads the exported model writes prompts as it was trained on them.
        tokenizers.frame(tokenizer, config.family == "t5")
        model_config = shapes.fresh(
            config, len(tokenizer), _pad_id(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
        )
    if prompt.format == "auto" and model_config.is_encoder_decoder:
        prompt = prompt.model_copy(update={"format": "raw"})
    return PolicySpec(
        prompt=prompt,
        chat=chat_format_of(tokenizer, prompt, config.model or config.tokenizer),
        model_config=json.dumps(model_config.to_dict(), default=str),
        source=_resolved(config.model),
        tokenizer_files=tokenizers.to_files(tokenizer),
        max_prompt_tokens=config.max_prompt_tokens,
        max_program_tokens=config.max_program_tokens,
        lora=LoraSettings(config.lora_rank, config.lora_alpha, config.lora_targets) if config.lora_rank else None,
        generation=generation,
    )


def build_policy(
    spec: PolicySpec, seed: int = 0, dtype: str = "float32", weights: bool = True, adapters: bool = True
) -> Policy:
    """The policy on the CPU in evaluation mode, dropout off.

    With `weights` they are read from `spec.source`, or drawn with `seed` (the same on every machine); without, only the
    shape is built and the values are undefined until `weights.unpacking.load_into`. `adapters` false leaves those of
    `spec.lora` out. Raises UserError when the weights cannot be read or are damaged, or the adapters do not fit the
    model.
    """
    settings = json.loads(spec.model_config)
    model_config = AutoConfig.for_model(**settings)
    model_config.use_cache = True
    loader = AutoModelForSeq2SeqLM if model_config.is_encoder_decoder else AutoModelForCausalLM
    model: Any
    if weights and spec.source:
        refuse_damaged(Path(spec.source), "model folder")
        try:
            model = loader.from_pretrained(spec.source, config=model_config, dtype=DTYPES[dtype])
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(f"No weights could be loaded from {spec.source}: {first_line(error)}") from error
    elif weights:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = loader.from_config(model_config).to(DTYPES[dtype])
    else:
        with no_init_weights():
            model = loader.from_config(model_config).to(DTYPES[dtype])
        model.tie_weights()  # left out together with the initialisation
    # The base's own, which `learner.export` writes as it is, may be one that transformers reads and refuses to write.
    model.generation_config = GenerationConfig.from_model_config(model_config)
    if spec.lora is not None and adapters:
        attach(model, spec.lora, seed)
    model.eval()
    tokenizer = tokenizers.from_files(spec.tokenizer_files)
    prefix, suffix = _special_frame(tokenizer)
    return Policy(
        model=model,
        tokenizer=tokenizer,
        spec=spec,
        is_encoder_decoder=model_config.is_encoder_decoder,
        pad_id=_pad_id(tokenizer),
        eos_id=tokenizer.eos_token_id,
        bos_id=tokenizer.bos_token_id,
        decoder_start_id=_decoder_start_id(model_config, tokenizer),
        prompt_prefix=prefix,
        prompt_suffix=suffix if model_config.is_encoder_decoder else (),
        pieces=OffsetDecoder.from_tokenizer(tokenizer),
        specials=_specials(tokenizer),
        extra_stop_token_ids=generation_config.read_extra_stop_ids(
            spec.generation, model_config, tokenizer.eos_token_id
        ),
    )


def build_shape(spec: PolicySpec, adapters: bool = True) -> Policy:
    """The policy without memory for its weights, however large it is: for prompts, names, shapes and counts.

    Raises UserError as `build_policy`.
    """
    with torch.device("meta"):
        return build_policy(spec, weights=False, adapters=adapters)


def checkpoint_layers(policy: Policy) -> None:
    """Makes the model keep each layer's input alone for the backward pass, and compute the rest again there.

    `transformers` does so only in training mode, in which the model is left: no layer drops anything out then either.
    Raises UserError when the model cannot.
    """
    model = policy.model
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    try:
        model.activation_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        reason = first_line(error)
        raise UserError(
            f"learner.gradient_checkpointing: {type(model).__name__} cannot do it, set it to false: {reason}"
        ) from error
    model.train()


def _read_model_config(source: str) -> Any:
    folder = Path(source).expanduser()
    refuse_damaged(folder, "model folder")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UserError(f"{source} is no model folder: it has no config.json.")
    if not folder.is_dir() and (source.startswith((".", "/", "~")) or source.count("/") > 1 or folder.exists()):
        raise UserError(f"Model folder {source} does not exist.")
    try:
        model_config = AutoConfig.from_pretrained(str(folder) if folder.is_dir() else source)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{source} is no model that transformers can load: {first_line(error)}") from error
    if folder.is_dir() and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise UserError(f"{source} is no model folder: it has a config.json but no weights (*.safetensors or *.bin).")
    kinds = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING if model_config.is_encoder_decoder else MODEL_FOR_CAUSAL_LM_MAPPING
    if type(model_config) not in kinds:
        raise UserError(
            f"{source} is a {model_config.model_type} model: a causal or sequence-to-sequence language model is needed."
        )
    # Dropout makes the trained policy another one than the sampling policy, so the ratio of the two would be noise: it
    # is off.
    for name, value in model_config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(model_config, name, 0.0)
    return model_config


def _resolved(source: str) -> str:
    """A folder as an absolute path: other processes have other working directories."""
    folder = Path(source).expanduser()
    return str(folder.resolve()) if source and folder.is_dir() else source


def _require_end(tokenizer: Any, config: PolicyConfig) -> None:
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"The tokenizer of {config.model or config.tokenizer} has no end-of-sequence token: no token would end a "
            "program."
        )


def _pad_id(tokenizer: Any) -> int:
    # Padding is always masked explicitly, so where a tokenizer has no token for it any other one does.
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def _decoder_start_id(model_config: Any, tokenizer: Any) -> int:
    start = getattr(model_config, "decoder_start_token_id", None)
    return int(start) if start is not None else _pad_id(tokenizer)


def _specials(tokenizer: Any) -> str:
    added = tokenizer.added_tokens_decoder.values()
    texts = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)} - {""}
    return "|".join(map(re.escape, sorted(texts, key=lambda text: (-len(text), text))))


def _special_frame(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Special tokens that the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    framed = tokenizer("a", add_special_tokens=True)["input_ids"]
    before = next((i for i in range(len(framed)) if framed[i : i + len(bare)] == bare), 0)
    prefix, suffix = tuple(framed[:before]), tuple(framed[before + len(bare) :])
    return prefix, suffix
