"""Model configurations of fresh shapes: Llama, Qwen2, GPT-2, CodeGen and T5 (CodeT5's architecture); dropout off,
embeddings tied.
"""

from __future__ import annotations

import math
from typing import Any

from transformers import CodeGenConfig, GPT2Config, LlamaConfig, Qwen2Config, T5Config

from rltf.config import PolicyConfig, UserError


def fresh(config: PolicyConfig, vocab_size: int, pad_id: int, bos_id: int | None, eos_id: int) -> Any:
    """The transformers configuration of the shape; raises UserError where the heads do not divide the width."""
    if config.d_model % config.heads or (config.family != "t5" and (config.d_model // config.heads) % 2):
        raise UserError(f"policy.d_model {config.d_model} does not divide into {config.heads} heads of even width.")
    positions = config.max_prompt_tokens + config.max_program_tokens
    ids: dict[str, Any] = {
        "vocab_size": vocab_size,
        "pad_token_id": pad_id,
        "bos_token_id": bos_id,
        "eos_token_id": eos_id,
    }
    # SmallInit (Nguyen and Salazar, arXiv 1910.05895): 0.02 at a width of 1,000, and more for narrow models, which
    # learn far faster so.
    spread = math.sqrt(2 / (5 * config.d_model))
    if config.family in ("llama", "qwen2"):
        make = LlamaConfig if config.family == "llama" else Qwen2Config
        return make(
            hidden_size=config.d_model,
            intermediate_size=config.d_ff,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=positions,
            initializer_range=spread,
            tie_word_embeddings=True,
            architectures=["LlamaForCausalLM" if config.family == "llama" else "Qwen2ForCausalLM"],
            **ids,
        )
    if config.family == "gpt2":
        return GPT2Config(
            n_embd=config.d_model,
            n_inner=config.d_ff,
            n_layer=config.layers,
            n_head=config.heads,
            n_positions=positions,
            initializer_range=spread,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            architectures=["GPT2LMHeadModel"],
            **ids,
        )
    if config.family == "codegen":
        if config.heads % 4:
            raise UserError(
                f"policy.heads {config.heads}: CodeGen splits its heads over 4 cores, so they must be a multiple of 4."
            )
        return CodeGenConfig(
            n_embd=config.d_model,
            n_inner=config.d_ff,
            n_layer=config.layers,
            n_head=config.heads,
            n_positions=positions,
            n_ctx=positions,
            initializer_range=spread,
            rotary_dim=min(64, config.d_model // config.heads),
            tie_word_embeddings=True,
            architectures=["CodeGenForCausalLM"],
            **ids,
        )
    return T5Config(
        d_model=config.d_model,
        d_kv=config.d_model // config.heads,
        d_ff=config.d_ff,
        num_layers=config.layers,
        num_decoder_layers=config.layers,
        num_heads=config.heads,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        tie_word_embeddings=True,
        decoder_start_token_id=pad_id,
        architectures=["T5ForConditionalGeneration"],
        **ids,
    )


def check_length(model_config: Any, config: PolicyConfig) -> None:
    """Raises UserError when prompt and program do not fit into the positions that a pretrained model was made for."""
    if model_config.model_type == "t5":
        return  # relative positions: no end
    positions = getattr(model_config, "max_position_embeddings", None)
    needed = (
        config.max_program_tokens
        if model_config.is_encoder_decoder
        else config.max_prompt_tokens + config.max_program_tokens
    )
    if positions is not None and needed > positions:
        raise UserError(
            f"{config.model} has {positions} positions but policy.max_prompt_tokens + policy.max_program_tokens is "
            f"{needed}: lower one."
        )
