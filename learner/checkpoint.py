"""Checkpoints of the learner: whole or not at all, the newest few and the best by held-out pass@1, for any world size and ZeRO stage.

    checkpoints/step_000040/state-00000.safetensors    weights and AdamW's averages as full float32 tensors, KIND/NAME; random states
                            checkpoint.json            everything else (`learner.worker`), and which file has which tensor
                            COMPLETE                   written last: file sizes; a folder without it, or with other sizes, is no checkpoint
    checkpoints/scores.json                            held-out pass@1 by evaluation: label -> step, pass@1

A checkpoint is written under another name, synchronised with the disk and renamed, so that a kill at any moment leaves the one before. One
of the same step is step_000040.replaced until the new one stands in its place, and counts for it as long as that is empty.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from config import UserError
from learner.on_disk import REPLACED, put_in_place, synchronise, write_whole
from learner.optimizer_state import WEIGHT, OptimizerState
from policy.policy import Policy

FORMAT = 1
SHARD_BYTES = 1 << 30
"""Most bytes of one file, unless a tensor is larger: rank 0 holds so much at a time."""
_UNFINISHED = ".unfinished"

log = logging.getLogger(__name__)


class Saved:
    """A complete checkpoint on disk."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError when it is written in another format than this version's."""
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / "checkpoint.json").read_text())
        """What `Checkpoints.save` was given, `step` included."""
        if self.facts.get("format") != FORMAT:
            raise UserError(
                f"checkpoint {folder} has format {self.facts.get('format')}, and this version of the project reads format {FORMAT}: go on "
                "with the version that wrote it"
            )
        self.step: int = self.facts["step"]

    @torch.no_grad()
    def load_model(self, policy: Policy) -> None:
        """Puts the weights into the policy's model, in its own number format; to be called before there is an engine.

        Raises UserError when the checkpoint is of another model.
        """
        trained = {name: value for name, value in policy.model.named_parameters() if value.requires_grad}
        found = {key.removeprefix(f"{WEIGHT}/") for key in self.facts["tensors"] if key.startswith(f"{WEIGHT}/")}
        if found != set(trained):
            odd = sorted(found ^ set(trained))
            raise UserError(f"checkpoint {self.folder} is of another model: {len(odd)} weights differ, the first is {odd[0]}")
        for name, target in trained.items():
            value = self.read(WEIGHT, name)
            if value.shape != target.shape:
                raise UserError(f"checkpoint {self.folder} is of another model: {name} is {tuple(value.shape)}, not {tuple(target.shape)}")
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


class Checkpoints:
    """The checkpoints of one run. Every rank may read; rank 0 writes what all ranks gather."""

    def __init__(self, folder: Path, keep: int, best: bool, writes: bool = True) -> None:
        """`keep`: newest ones kept; `best`: whether the best one is kept too; `writes`: whether this is rank 0.

        Raises UserError when scores.json cannot be read.
        """
        self.folder = folder
        self._keep = keep
        self._best = best
        self._writes = writes
        file = folder / "scores.json"
        try:
            self._scores: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else {}
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): delete it to go on without the scores of earlier evaluations") from error

    def newest(self, most: int | None = None) -> Saved | None:
        """The newest complete one, of at most `most` steps if that is given; None when there is none."""
        for step, folder in sorted(self._folders().items(), reverse=True):
            if most is not None and step > most:
                continue
            if _is_complete(folder):
                return Saved(folder)
            log.warning("checkpoint %s is incomplete and left alone", folder)
        return None

    def steps(self) -> list[int]:
        """Steps of the complete ones, ascending."""
        return sorted(step for step, folder in self._folders().items() if _is_complete(folder))

    def save(self, step: int, state: OptimizerState, facts: Mapping[str, Any], needed: Collection[int] = ()) -> None:
        """Writes the checkpoint of `step`, in place of an earlier one of that step, and removes old ones but for steps in `needed`.

        `facts` are JSON-able. Collective. Raises OSError when the disk is full or gone; the checkpoint before is untouched.
        """
        final = self.folder / f"step_{step:06d}"
        unfinished = final.with_name(final.name + _UNFINISHED)
        if not self._writes:
            for _ in state.tensors():  # takes part in gathering
                pass
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        places: dict[str, str] = {}
        for number, shard in enumerate(_shards(state)):
            file = f"state-{number:05d}.safetensors"
            save_file(shard, unfinished / file)
            places |= {key: file for key in shard}
        own = {"format": FORMAT, "step": step, "optimizer_steps": state.steps(), "loss_scale": state.loss_scale()}
        own |= {"random": _random(), "tensors": places}
        (unfinished / "checkpoint.json").write_text(json.dumps(dict(facts) | own))
        sizes = {path.name: path.stat().st_size for path in unfinished.iterdir()}
        for name in sizes:
            synchronise(unfinished / name)
        (unfinished / "COMPLETE").write_text(json.dumps(sizes))
        synchronise(unfinished / "COMPLETE")
        synchronise(unfinished)
        put_in_place(unfinished, final)
        self._remove_old({step, *needed})

    def set_score(self, label: str, step: int, pass_at_1: float) -> None:
        """Keeps the held-out pass@1 that evaluation `label` found for the weights of `step`. Rank 0 only."""
        self._scores[label] = {"step": step, "pass@1": pass_at_1}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "scores.json", json.dumps(self._scores, indent=1) + "\n")

    def score(self, label: str) -> float | None:
        """pass@1 that evaluation `label` found; None when it is not known."""
        found = self._scores.get(label)
        return None if found is None else float(found["pass@1"])

    def best(self) -> Saved | None:
        """The checkpoint with the highest pass@1, the earlier one of equals; None when none has a score."""
        # A step that was done again after a crash was evaluated again: the later score is that of the weights that are kept.
        by_step = {int(score["step"]): float(score["pass@1"]) for score in self._scores.values()}
        complete = {step: path for step, path in self._folders().items() if _is_complete(path)}
        scored = [(-value, step) for step, value in by_step.items() if step in complete]
        return Saved(complete[min(scored)[1]]) if scored else None

    def _folders(self) -> dict[int, Path]:
        """By step. One that was about to be replaced counts where a kill has left its place empty."""
        places = {path: path.name.removesuffix(REPLACED).removeprefix("step_") for path in self.folder.glob("step_*") if path.is_dir()}
        by_length = sorted(places, key=lambda path: len(path.name), reverse=True)  # what stands in its place comes last and wins
        return {int(places[path]): path for path in by_length if places[path].isdigit()}

    def _remove_old(self, needed: set[int]) -> None:
        best = self.best() if self._best else None
        for aside in self.folder.glob(f"step_*{REPLACED}"):
            if aside.with_name(aside.name.removesuffix(REPLACED)).exists():  # a kill came when the new one was in its place already
                shutil.rmtree(aside)
        folders = self._folders()
        kept = {*sorted(folders)[-self._keep :], *needed} | ({best.step} if best else set())
        for step in folders.keys() - kept:
            # Renamed first: what is half removed must not look like a checkpoint.
            folder = folders[step]
            doomed = folder.with_name(folder.name + _UNFINISHED)
            os.replace(folder, doomed)
            shutil.rmtree(doomed)


def _shards(state: OptimizerState) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors in pieces of at most SHARD_BYTES, on the CPU; the random states are in the first."""
    shard = {"random/torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        shard["random/cuda"] = torch.cuda.get_rng_state()
    held = 0
    for kind, name, tensor in state.tensors():
        if held and held + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, held = {}, 0
        # A copy: the optimizer goes on with its own, and safetensors refuses tensors that share memory.
        shard[f"{kind}/{name}"] = tensor.detach().to("cpu", copy=True).contiguous()
        held += tensor.nbytes
    yield shard


def _random() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {"python": random.getstate(), "numpy": [name, [int(key) for key in keys], *rest]}


def _is_complete(folder: Path) -> bool:
    """Whether everything that was to be written is there."""
    file = folder / "COMPLETE"
    if not file.is_file():
        return False
    sizes = json.loads(file.read_text())
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())
