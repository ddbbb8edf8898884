"""Attention for trees of sequences and for training on the CPU, plugged in through the attention interface of
`transformers`.

On the CPU torch's fused kernel has no fast backward in bfloat16, and the models' own formulation passes over the square
of scores a dozen times; the one here passes over it twice in each direction. On other devices and for long rows it is
torch's own. Model classes stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

NAME = "prefix_tree"
_MAX_DENSE_KEYS = 1024
"""Keys beyond which a row's whole square of scores is not kept for the backward pass."""

FAMILIES = frozenset({"llama", "qwen2", "gpt2", "codegen", "t5"})
"""Model types that take a mask of four dimensions and positions as they are given; others train each program in a row
of its own."""


def supports_trees(model: Any) -> bool:
    """Whether rows of the model may be trees: a known type, without a window, which would count a tree's nodes and not
    positions.
    """
    return model.config.model_type in FAMILIES and not getattr(model.config, "sliding_window", None)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    tree_depths: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function registered with `transformers`.

    Shapes: query (B, heads, L, width), key and value (B, key heads, M, width), `attention_mask` (B or 1, 1, L or 1, M)
    added to the scores, `position_bias` (1 or B, heads, L, M) of models with relative positions, `tree_depths` (B, L)
    where the rows are trees. Returns (B, L, heads, width). Dropout is not supported: the trained policy is the one that
    samples.
    """
    if dropout:
        raise ValueError(f"attention dropout is {dropout}, but policies are trained without")
    if position_bias is not None and tree_depths is not None and getattr(module, "is_causal", False):
        position_bias = _by_depth(position_bias, tree_depths)
    bias = attention_mask
    if position_bias is not None:
        bias = position_bias if bias is None else position_bias + bias
    if query.device.type != "cpu" or key.shape[2] > _MAX_DENSE_KEYS:
        if bias is not None:
            bias = bias.to(query.dtype)
        result: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, bias, scaling=scaling, **kwargs)
        return result
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _Dense.apply(query, key, value, bias, scale).transpose(1, 2), None


def _by_depth(position_bias: Tensor, depths: Tensor) -> Tensor:
    """The bias between nodes, (B, heads, L, L), from the (1, heads, L, L) of a plain row, where it depends on the
    distance.
    """
    by_distance = position_bias[0, :, :, 0]  # of i positions back
    back = (depths[:, :, None] - depths[:, None, :]).clamp_(min=0)
    return by_distance[:, back].transpose(0, 1)


class _Dense(torch.autograd.Function):
    """softmax(scale q k' + bias) v, keeping the weights for the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
        with torch.autocast("cpu", enabled=False):
            query, key, value = (query.to(kind) * scale), key.to(kind), value.to(kind)
            scores = torch.matmul(query, key.transpose(2, 3))
            if bias is not None:
                scores += bias.to(kind)
            weights = torch.softmax(scores, dim=-1)
            ctx.save_for_backward(query, key, value, weights)
            ctx.scale = scale
            ctx.bias = bias if bias is not None and bias.requires_grad else None
            return torch.matmul(weights, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
        query, key, value, weights = ctx.saved_tensors
        gradient = gradient.to(value.dtype)
        of_value = torch.matmul(weights.transpose(2, 3), gradient)
        of_weights = torch.matmul(gradient, value.transpose(2, 3))
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.matmul(of_scores, key).mul_(ctx.scale)
        of_key = torch.matmul(of_scores.transpose(2, 3), query)
        of_bias = None
        if ctx.bias is not None:
            of_bias = of_scores.sum_to_size(ctx.bias.shape).to(ctx.bias.dtype)
        return of_query, of_key, of_value, of_bias, None


def patch_attention(model: Any, device: str) -> None:
    """Makes `model` attend through `attention` wherever its classes use the interface; the others go on as they are."""
    # Off the CPU no mask is made where torch's kernel can do without.
    plug_in(model, NAME, attention, eager_mask if device == "cpu" else sdpa_mask)


def plug_in(model: Any, name: str, function: Callable[..., Any], mask: Callable[..., Any]) -> None:
    """Registers an attention function with `transformers`, and makes `model` attend through it."""
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, mask)
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    for config in configs.values():
        config._attn_implementation = name
