"""One checkpoint of the learner on disk, whole or not at all, for any world size and ZeRO stage.

    checkpoints/step_000040/state-00000.safetensors    weights and AdamW's averages, full float32 tensors, KIND/NAME;
                                                       random states
                            checkpoint.json            everything else (`learner.worker`), and where each tensor is
                            COMPLETE                   written last: sizes and checksums of the files (policy.checksums)
    checkpoints/scores.json                            held-out figures by evaluation: label -> step, pass@1, figures

`learner.checkpoints` finds them, `learner.checkpoint_writer` writes them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import safe_open

from rltf.config import UserError
from rltf.learner.optimizer_state import WEIGHT, OptimizerState
from rltf.policy.checksums import Damaged, verify_checksums
from rltf.policy.policy import Policy

FORMAT = 2
SEAL = "COMPLETE"


class Checkpoint:
    """A complete checkpoint on disk."""

    def __init__(self, folder: Path, contents: bool = True) -> None:
        """Looks whether all of it is as it was written; `contents` false looks at the files' sizes alone.

        Raises policy.checksums.Damaged when it is not, UserError when it is written in another format than this
        version's.
        """
        _refuse_format_1(folder)
        verify_checksums(folder, SEAL, contents)
        self.folder = folder
        try:
            self.facts: dict[str, Any] = json.loads((folder / "checkpoint.json").read_bytes())
        except (OSError, ValueError) as error:  # it has been looked at above, if only at its size
            raise Damaged(f"checkpoint.json cannot be read: {error}") from error
        """What `CheckpointWriter.save` was given, `step` included."""
        if self.facts.get("format") != FORMAT:
            raise _other_format(folder, self.facts.get("format"))
        self.step: int = self.facts["step"]

    def require_inputs(self, inputs: str) -> None:
        """Raises UserError when it was made with others than these (`learner.task.hash_of_inputs`)."""
        if self.facts.get("inputs") != inputs:
            raise UserError(
                f"checkpoint {self.folder} was made with other problems, another tokenizer or other code of yours "
                "(run.code), so their files have changed since: bring them back, or begin a new run from its export"
            )

    @torch.no_grad()
    def load_model(self, policy: Policy) -> None:
        """Puts the weights into the policy's model, in its own number format; to be called before there is an engine.

        Raises UserError when the checkpoint is of another model.
        """
        trained = {name: value for name, value in policy.model.named_parameters() if value.requires_grad}
        found = {key.removeprefix(f"{WEIGHT}/") for key in self.facts["tensors"] if key.startswith(f"{WEIGHT}/")}
        if found != set(trained):
            odd = sorted(found ^ set(trained))
            raise UserError(
                f"checkpoint {self.folder} is of another model: {len(odd)} weights differ, the first is {odd[0]}"
            )
        for name, target in trained.items():
            value = self.read(WEIGHT, name)
            if value.shape != target.shape:
                raise UserError(
                    f"checkpoint {self.folder} is of another model: {name} is {tuple(value.shape)}, not "
                    f"{tuple(target.shape)}"
                )
            target.copy_(value)

    def load_optimizer(self, state: OptimizerState) -> None:
        """Puts float32 weights and averages back into the optimizer, each rank its parts."""
        state.load(self.read, self.facts["optimizer_steps"])
        state.load_loss_scale(self.facts.get("loss_scale", {}))

    def restore_random(self) -> None:
        """Puts the random states of Python, numpy and torch back."""
        version, internal, following = self.facts["random"]["python"]
        random.setstate((version, tuple(internal), following))
        name, keys, *rest = self.facts["random"]["numpy"]
        np.random.set_state((name, np.array(keys, np.uint32), *rest))
        torch.set_rng_state(self.read("random", "torch"))
        if "random/cuda" in self.facts["tensors"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.read("random", "cuda"))

    def read(self, kind: str, name: str) -> torch.Tensor:
        """One tensor. Raises KeyError when it is not there."""
        key = f"{kind}/{name}"
        with safe_open(self.folder / self.facts["tensors"][key], framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(key)
        return tensor


def is_complete(folder: Path) -> bool:
    """Whether every file that was to be written is there, with its size."""
    try:
        verify_checksums(folder, SEAL, contents=False)
    except Damaged:
        return False
    return True


def _refuse_format_1(folder: Path) -> None:
    """Raises UserError for a checkpoint whose COMPLETE has sizes without checksums: whether it is as it was written
    cannot be known.
    """
    try:
        sizes = msgspec.json.decode((folder / SEAL).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return
    if sizes and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items()
    ):
        raise _other_format(folder, 1)


def _other_format(folder: Path, found: Any) -> UserError:
    return UserError(
        f"checkpoint {folder} has format {found}, and this version of the project reads format {FORMAT}: go on with "
        "the version that wrote it"
    )
