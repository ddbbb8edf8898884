"""Writes the checkpoints of a run, and keeps the newest few and the best by a held-out figure.

A checkpoint is written under another name, synchronised with the disk and renamed, so that a kill at any moment leaves
the one before.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import save_file

from rltf.config import REPLACED, replace_atomically, saving, write_atomically
from rltf.learner.checkpoint import FORMAT, SEAL
from rltf.learner.checkpoints import SCORES, Checkpoints, Score
from rltf.learner.optimizer_state import OptimizerState
from rltf.policy.checksums import write_checksums

SHARD_BYTES = 1 << 30
"""Most bytes of one file, unless a tensor is larger: rank 0 holds so much at a time."""
_UNFINISHED = ".unfinished"


class CheckpointWriter(Checkpoints):
    """The checkpoints of a run that trains: every rank calls `save`, rank 0 writes what all ranks gather."""

    def __init__(self, folder: Path, keep: int, best: bool, writes: bool = True, best_by: str = "pass@1") -> None:
        """`keep`: newest ones kept; `best`: whether the one with the best `best_by` is kept too; `writes`: whether this
        is rank 0.

        Raises UserError when scores.json cannot be read.
        """
        super().__init__(folder, best_by)
        self._keep = keep
        self._best = best
        self._writes = writes

    def save(self, step: int, state: OptimizerState, facts: Mapping[str, Any], needed: Collection[int] = ()) -> None:
        """Writes the checkpoint of `step`, in place of an earlier one of that step, and removes old ones but for steps
        in `needed`.

        `facts` are JSON-able. Collective. Raises config.DiskFailure; the checkpoint before is untouched then.
        """
        final = self.folder / f"step_{step:06d}"
        unfinished = final.with_name(final.name + _UNFINISHED)
        if not self._writes:
            for _ in state.tensors():  # takes part in gathering
                pass
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        with saving(unfinished):
            self._write(unfinished, step, state, facts)
            replace_atomically(unfinished, final)
            self._remove_old(step, {step, *needed})

    def _write(self, unfinished: Path, step: int, state: OptimizerState, facts: Mapping[str, Any]) -> None:
        unfinished.mkdir(parents=True)
        places: dict[str, str] = {}
        for number, shard in enumerate(_shards(state)):
            file = f"state-{number:05d}.safetensors"
            save_file(shard, unfinished / file)
            places |= {key: file for key in shard}
        own = {"format": FORMAT, "step": step, "optimizer_steps": state.steps(), "loss_scale": state.loss_scale()}
        own |= {"random": _random(), "tensors": places}
        (unfinished / "checkpoint.json").write_text(json.dumps(dict(facts) | own))
        write_checksums(unfinished, SEAL)

    def set_score(self, label: str, score: Score) -> None:
        """Keeps what evaluation `label` found. Rank 0 only."""
        self._scores[label] = score
        self.folder.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(self._scores), indent=1).decode()
        write_atomically(self.folder / SCORES, text + "\n")

    def _remove_old(self, step: int, needed: set[int]) -> None:
        """After the checkpoint of `step`.

        A later one is damaged, else the run had gone on from it: it stands for none that is kept.
        """
        for aside in self.folder.glob(f"step_*{REPLACED}"):
            if aside.with_name(aside.name.removesuffix(REPLACED)).exists():  # a kill came when it was replaced already
                shutil.rmtree(aside)
        folders = self.folders()
        kept = {
            *sorted(each for each in folders if each <= step)[-self._keep :],
            *needed,
            *(each for each in folders if each > step),
        }
        kept |= set(self.by_score()[:1] if self._best else ())
        for each in folders.keys() - kept:
            # Renamed first: what is half removed must not look like a checkpoint.
            folder = folders[each]
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
