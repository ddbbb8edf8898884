"""Models in Hugging Face format: the warm-started one, to be used again, and the trained one with its model card."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from rltf.config import Config, UserError, first_line, replace_atomically, run_files, saving
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.engine import TrainingEngine
from rltf.learner.model_card import write_card
from rltf.policy import generation_config
from rltf.policy.checksums import LIST, has_checksums, refuse_damaged, write_checksums
from rltf.policy.lora import FOLDER as ADAPTERS
from rltf.policy.lora import load_adapters, merged, save_adapters
from rltf.policy.policy import Policy, PolicySpec, build_policy, build_shape
from rltf.weights.packing import named_weights

__all__ = [
    "check_weights",
    "export",
    "export_checkpoint",
    "load_weights",
    "save_model",
    "missing_checksums_warning",
    "write_card",
]

log = logging.getLogger(__name__)


def save_model(
    engine: TrainingEngine, policy: Policy, folder: Path, facts: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> None:
    """Writes model and tokenizer so that `from_pretrained` reads them. Collective; rank 0 writes, whole or not at all.

    The base's generation_config.json stays as it is. Adapters are merged into the model, and lie beside it in peft's
    format. `facts`: further files of JSON, by name. All of them get checksums (policy.checksums). Raises
    config.DiskFailure.
    """
    state: dict[str, torch.Tensor] = {}
    for name, tensor in engine.gathered_weights(named_weights(policy.model)):
        if engine.world.rank == 0:
            state[name] = tensor.detach().cpu().clone()
    if engine.world.rank == 0:
        _write(policy, state, folder, facts)


def _write(
    policy: Policy, state: dict[str, torch.Tensor], folder: Path, facts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Puts the files into `folder`, whole or not at all."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with saving(unfinished):
        _write_files(policy, state, unfinished, facts)
        replace_atomically(unfinished, folder)


def _write_files(
    policy: Policy, state: dict[str, torch.Tensor], folder: Path, facts: Mapping[str, Mapping[str, Any]]
) -> None:
    lora, model = policy.spec.lora, policy.model
    if lora is not None:
        named = {name.replace(".default.", "."): tensor for name, tensor in state.items() if ".lora_" in name}
        save_adapters(folder / ADAPTERS, named, lora, policy.spec.source, policy.is_encoder_decoder)
        state, dtype = merged(model, state, lora), model.dtype
        model = build_policy(policy.spec, weights=False, adapters=False).model.to(dtype)  # config.json names it
    model.save_pretrained(folder, state_dict=state)
    if policy.spec.generation:
        (folder / generation_config.FILE).write_text(policy.spec.generation)
    policy.tokenizer.save_pretrained(folder)
    for name, values in facts.items():
        (folder / name).write_text(json.dumps(values, indent=1) + "\n")
    write_checksums(folder)


def check_weights(policy: Policy, folder: Path) -> None:
    """Looks at the checksums and the shape of a folder that `save_model` wrote; `policy` need not have weights.

    Raises UserError when it holds no model, a damaged one, or one of another shape or with another tokenizer than the
    policy's.
    """
    if not has_checksums(folder) and not (folder / "config.json").is_file():
        raise UserError(f"warm_start.reuse {folder}: there is no model in this folder (no config.json)")
    refuse_damaged(folder, "warm_start.reuse")
    plain = policy if policy.spec.lora is None else build_shape(policy.spec, adapters=False)
    if policy.spec.lora is not None and not (folder / ADAPTERS).is_dir():
        raise UserError(f"warm_start.reuse {folder}: it has no adapters, which policy.lora_rank asks for")
    own = {name: tuple(tensor.shape) for name, tensor in plain.model.state_dict().items()}
    found: dict[str, tuple[int, ...]] = {}
    try:
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as tensors:
                found |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118 (no mapping)
        tokenizer = type(policy.tokenizer).from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"warm_start.reuse {folder}: {first_line(error)}") from error
    other = next((name for name in sorted(found) if own.get(name) != found[name]), None)
    # Tied weights are in the file once.
    if other is not None or sum(map(math.prod, found.values())) != plain.parameters:
        reason = (
            f"{other} is {found[other]}, not {own.get(other, 'there')}"
            if other
            else f"it has {len(found)} tensors, not {len(own)}"
        )
        raise UserError(f"warm_start.reuse {folder}: the model does not fit the configured policy: {reason}")
    if tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise UserError(
            f"warm_start.reuse {folder}: its tokenizer is not the policy's (another corpus or policy.vocab_size)"
        )


def load_weights(policy: Policy, folder: Path) -> None:
    """Reads the weights of a folder that `save_model` wrote, before there is an engine.

    Raises UserError as `check_weights`.
    """
    check_weights(policy, folder)
    if not has_checksums(folder):
        log.warning(missing_checksums_warning(folder))
    try:
        if policy.spec.lora is not None:
            load_adapters(policy.model, folder / ADAPTERS)
        else:
            found = type(policy.model).from_pretrained(folder, dtype=policy.model.dtype)
            policy.model.load_state_dict(found.state_dict(), strict=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"warm_start.reuse {folder}: the model does not fit the configured policy: {first_line(error)}"
        ) from error


def missing_checksums_warning(folder: Path) -> str:
    """A sentence about a model without checksums."""
    return f"the model in {folder} has no {LIST}: whether its files are as they were written is not known"


def export_checkpoint(
    policy: Policy, checkpoint: Checkpoint, folder: Path, config: Config, facts: Mapping[str, Any]
) -> None:
    """As `export`, of the weights in a checkpoint: one process, no engine. `policy` may have any weights before.

    Raises UserError when the checkpoint is of another model, DiskFailure when the folder cannot be written.
    """
    checkpoint.load_model(policy)
    _write(policy, {name: tensor.detach().cpu() for name, tensor in named_weights(policy.model)}, folder, {})
    write_card(folder, config, facts)


def export(engine: TrainingEngine, policy: Policy, folder: Path, config: Config, facts: Mapping[str, Any]) -> None:
    """The trained model with a model card (`learner.model_card`). Collective."""
    save_model(engine, policy, folder)
    if engine.world.rank == 0:
        write_card(folder, config, facts)


def first_weights(config: Config, run: Path) -> Path | None:
    """Folder of the warm-started model of the run in `run`; None where it trains on from the policy's own weights."""
    if config.warm_start.reuse:
        return Path(config.warm_start.reuse)
    return run / run_files.WARM_START if config.warm_start.steps else None


def keeps_first_weights(config: Config, run: Path) -> bool:
    """Whether the weights that the run in `run` began to train with can be had to the last bit."""
    if config.learner.dtype != "float32":
        return False  # the folder has what the model computes with, not the optimizer's float32 copy
    folder = first_weights(config, run)
    return folder is None or folder.is_dir()


def first_policy(spec: PolicySpec, config: Config, run: Path) -> Policy:
    """The policy with which the run in `run` began to train. Raises UserError when the warm start does not fit it."""
    policy = build_policy(spec, config.run.seed, config.learner.dtype)
    if (folder := first_weights(config, run)) is not None:
        load_weights(policy, folder)
    return policy
