"""One decoding step of a small Llama or Qwen2 in a third of the calls.

At a million parameters a step spends as much time in calling modules as in arithmetic. The weights are still those of
the `transformers` model and the numbers are the same up to rounding (a test holds them together); only the calls are
fewer: one product for query, key and value, one for gate and up, fused norms, residuals added by the product before
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rltf.actors.shared_prefix import GeneratedKV, SharedPrefix, joint_attention
from rltf.actors.wide_linear import linear

MAX_PARAMETERS = 64_000_000
"""Parameters up to which calls matter; a larger model would only pay for the copies of its weights made here."""


@dataclass
class _Layer:
    norm: Tensor
    query_key_value: Tensor
    bias: Tensor | None
    output: Tensor
    norm_2: Tensor
    gate_up: Tensor
    down: Tensor


def is_supported(model: Any) -> bool:
    """Whether `FusedStep` computes what this model computes."""
    config = model.config
    return (
        type(model).__name__ in ("LlamaForCausalLM", "Qwen2ForCausalLM")
        and config.hidden_act == "silu"
        and not getattr(config, "mlp_bias", False)
        and all(layer.self_attn.o_proj.bias is None for layer in model.model.layers)
        and sum(parameter.numel() for parameter in model.parameters()) <= MAX_PARAMETERS
    )


class FusedStep:
    """Copies and joins the weights of `model` as they are now; made anew for each batch, which costs less than one
    step.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        config = model.config
        self._heads, self._key_heads = config.num_attention_heads, config.num_key_value_heads
        self._eps = config.rms_norm_eps
        self._layers = [self._join(layer) for layer in model.model.layers]

    def _join(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        # The scale of the scores goes into the query weights.
        parts = [attention.q_proj.weight * attention.scaling, attention.k_proj.weight, attention.v_proj.weight]
        bias = None
        if attention.q_proj.bias is not None:
            bias = torch.cat([attention.q_proj.bias * attention.scaling, attention.k_proj.bias, attention.v_proj.bias])
        return _Layer(
            norm=layer.input_layernorm.weight,
            query_key_value=torch.cat(parts),
            bias=bias,
            output=attention.o_proj.weight.t(),
            norm_2=layer.post_attention_layernorm.weight,
            gate_up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
            down=mlp.down_proj.weight.t(),
        )

    def __call__(self, tokens: Tensor, positions: Tensor, own: GeneratedKV, prefix: SharedPrefix) -> Tensor:
        """Feeds one token per row, `tokens` and `positions` (n,); returns the next logits (n, V)."""
        decoder = self._model.model
        n = tokens.shape[0]
        hidden = F.embedding(tokens, decoder.embed_tokens.weight)
        size = (hidden.shape[1],)
        cosine, sine = decoder.rotary_emb(hidden, positions[None])
        half = cosine.shape[-1] // 2
        cosine = cosine.view(n, 1, -1)
        # Rotating by halves is rolling by a half, with the sign of the first half in the sine (Su et al., arXiv
        # 2104.09864).
        sine = torch.cat([-sine[..., :half], sine[..., half:]], dim=-1).view(n, 1, -1)
        rotated = self._heads + self._key_heads
        for index, layer in enumerate(self._layers):
            normed = F.rms_norm(hidden, size, layer.norm, self._eps)
            projected = linear(normed, layer.query_key_value, layer.bias).view(n, rotated + self._key_heads, -1)
            turned = projected[:, :rotated]
            turned = torch.addcmul(turned * cosine, turned.roll(half, -1), sine)
            keys, values = own.append(index, turned[:, self._heads :, None], projected[:, rotated:, None])
            queries = turned[:, : self._heads].reshape(n, self._key_heads, self._heads // self._key_heads, -1)
            context = joint_attention(
                queries, keys, values, prefix.prompt_keys[index], prefix.prompt_values[index], prefix.rows
            )
            hidden = torch.addmm(hidden, context.reshape(n, -1), layer.output)
            gate, up = linear(F.rms_norm(hidden, size, layer.norm_2, self._eps), layer.gate_up).chunk(2, dim=-1)
            hidden = torch.addmm(hidden, F.silu(gate).mul_(up), layer.down)
        return linear(F.rms_norm(hidden, size, decoder.norm.weight, self._eps), self._model.lm_head.weight)
