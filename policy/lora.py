"""Low-rank adapters (LoRA, arXiv 2106.09685): W + (alpha / rank) B A in place of W, and only A and B are trained and
published.

The learner's model has the adapters as modules of `peft`; an actor's has none: it merges what it is sent into its own
copy of W, so that sampling costs what it costs without adapters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from rltf.config import UserError, first_line

FOLDER = "adapter"
"""Where an exported model keeps its adapters, in peft's format."""
_PREFIX = "base_model.model."
_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class LoraSettings:
    """Which adapters; plain data, picklable."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    """Names of the layers that get one; empty: the attention projections that peft names for the architecture."""

    @property
    def scale(self) -> float:
        """Factor of B A."""
        return self.alpha / self.rank


def attach(model: Any, settings: LoraSettings, seed: int) -> None:
    """Puts adapters into `model` and freezes all else; the model computes what it did, since B is zero.

    A is drawn with `seed`.

    Raises UserError when the layers do not exist, are no linear ones, or share their weight with another.
    """
    from peft import inject_adapter_in_model

    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
            warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings")  # refused below
            torch.manual_seed(seed)
            inject_adapter_in_model(_peft_config(settings), model)
    except ValueError as error:
        reason = first_line(error)
        raise UserError(f"policy.lora_targets {list(settings.targets)}: {reason}") from error
    embedding = model.get_input_embeddings().weight
    for name, layer in _adapted(model):
        base = layer.get_base_layer()
        if not isinstance(base, torch.nn.Linear | Conv1D):
            raise UserError(
                f"policy.lora_targets: {name} is a {type(base).__name__}; only linear layers can have adapters"
            )
        if base.weight is embedding:
            raise UserError(f"policy.lora_targets: {name} shares its weight with the embedding; leave it out")


def named_adapters(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The trained tensors by peft's names for files: ``LAYER.lora_A.weight`` (rank, in) and ``LAYER.lora_B.weight``
    (out, rank).
    """
    for name, layer in _adapted(model):
        yield f"{name}.lora_A.weight", layer.lora_A["default"].weight
        yield f"{name}.lora_B.weight", layer.lora_B["default"].weight


def merged(model: Any, tensors: Mapping[str, Tensor], settings: LoraSettings) -> dict[str, Tensor]:
    """The weights of the model without adapters that computes the same.

    `tensors`: the adapted model's named weights, whole (`weights.packing.named_weights`).
    """
    found: dict[str, Tensor] = {}
    layers = dict(_adapted(model))
    for name, tensor in tensors.items():
        layer, _, rest = name.rpartition(".base_layer.")
        if ".lora_A." in name or ".lora_B." in name:
            continue
        if not layer:
            found[name] = tensor
        elif rest != "weight":
            found[f"{layer}.{rest}"] = tensor
        else:
            down, up = tensors[f"{layer}.lora_A.default.weight"], tensors[f"{layer}.lora_B.default.weight"]
            delta = _delta(layers[layer].get_base_layer(), down, up, settings.scale)
            found[f"{layer}.weight"] = (tensor.float() + delta).to(tensor.dtype)
    return found


def save_adapters(
    folder: Path, tensors: Mapping[str, Tensor], settings: LoraSettings, source: str, encoder_decoder: bool
) -> None:
    """Writes adapters (`named_adapters`, whole) as `peft` reads them, its AutoPeftModels too; `source` is the model
    they belong to.
    """
    config = _peft_config(settings)
    config.task_type = "SEQ_2_SEQ_LM" if encoder_decoder else "CAUSAL_LM"
    config.base_model_name_or_path = source or None
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file({f"{_PREFIX}{name}": tensor.contiguous() for name, tensor in tensors.items()}, folder / _FILE)


@torch.no_grad()
def load_adapters(model: Any, folder: Path) -> None:
    """Reads adapters that `save_adapters` wrote into an adapted model.

    Raises UserError when they are not there or do not fit.
    """
    file = folder / _FILE
    if not file.is_file():
        raise UserError(f"{folder}: there are no adapters in this folder (no {_FILE})")
    found = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(file).items()}
    targets = dict(named_adapters(model))
    odd = sorted(set(found) ^ set(targets)) or [
        name for name, target in targets.items() if target.shape != found[name].shape
    ]
    if odd:
        raise UserError(f"{folder}: the adapters do not fit the policy: {len(odd)} differ, the first is {odd[0]}")
    for name, target in targets.items():
        target.copy_(found[name])


class AdapterMerger:
    """Merges adapters into a plain model, in place; keeps a copy of the weights that they change."""

    def __init__(self, model: Any, settings: LoraSettings) -> None:
        self._layers = dict(model.named_modules())
        self._scale = settings.scale
        self._bases: dict[str, Tensor] = {}

    @torch.no_grad()
    def merge(self, tensors: Mapping[str, Tensor]) -> None:
        """`tensors`: as of `named_adapters`, in place of those of the call before.

        Raises ValueError, before anything is written, when the model lacks a layer or it has another shape.
        """
        names = sorted({name.rpartition(".lora_")[0] for name in tensors})
        for name in names:
            down, up = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
            layer = self._layers.get(name)
            if down is None or up is None or not isinstance(layer, torch.nn.Linear | Conv1D):
                raise ValueError(f"{name} is no layer that the published adapters fit")
            shape = (up.shape[0], down.shape[1]) if isinstance(layer, torch.nn.Linear) else (down.shape[1], up.shape[0])
            if tuple(layer.weight.shape) != shape:
                raise ValueError(f"{name} is {shape}, the model's {tuple(layer.weight.shape)}")
        for name in names:
            weight = self._layers[name].weight
            base = self._bases.setdefault(name, weight.detach().clone())
            down, up = (tensors[f"{name}.lora_{part}.weight"].to(weight.device) for part in ("A", "B"))
            weight.copy_(base.float() + _delta(self._layers[name], down, up, self._scale))


def _delta(layer: Any, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """What the adapter adds to the layer's weight, float32. GPT-2's layers hold their weight transposed."""
    product = scale * (up.float() @ down.float())
    return product.T if isinstance(layer, Conv1D) else product


def _adapted(model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer"):
            yield name, module


def _peft_config(settings: LoraSettings) -> Any:
    from peft import LoraConfig

    targets = list(settings.targets) or None
    return LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=targets, lora_dropout=0.0, bias="none")
