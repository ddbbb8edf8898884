"""Checkpoints of the learner: whole or not at all, the newest few and the best by held-out pass@1, for any world size
and ZeRO stage.

    checkpoints/step_000040/state-00000.safetensors    weights and AdamW's averages, full float32 tensors, KIND/NAME;
                                                       random states
                            checkpoint.json            everything else (`learner.worker`), and where each tensor is
                            COMPLETE                   written last: sizes and checksums of the files (policy.checksums)
    checkpoints/scores.json                            held-out pass@1 by evaluation: label -> step, pass@1

A checkpoint is written under another name, synchronised with the disk and renamed, so that a kill at any moment leaves
the one before. One of the same step is step_000040.replaced until the new one stands in its place, and counts for it as
long as that is empty. One that is not as it was written is passed over for the one before.
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

import msgspec
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rltf.config import UserError, saving
from rltf.learner.on_disk import REPLACED, put_in_place, write_whole
from rltf.learner.optimizer_state import WEIGHT, OptimizerState
from rltf.learner.world import World, agree
from rltf.policy.checksums import Damaged, require_whole, seal
from rltf.policy.policy import Policy

FORMAT = 2
SHARD_BYTES = 1 << 30
"""Most bytes of one file, unless a tensor is larger: rank 0 holds so much at a time."""
_UNFINISHED = ".unfinished"
_SEAL = "COMPLETE"
_NONE, _REFUSED = -1, -2
"""What rank 0 tells the others in place of a step."""

log = logging.getLogger(__name__)


class _Score(msgspec.Struct):
    step: int
    pass_at_1: float = msgspec.field(name="pass@1")


class Saved:
    """A complete checkpoint on disk."""

    def __init__(self, folder: Path, contents: bool = True) -> None:
        """Looks whether all of it is as it was written; `contents` false looks at the files' sizes alone.

        Raises policy.checksums.Damaged when it is not, UserError when it is written in another format than this
        version's.
        """
        _refuse_format_1(folder)
        require_whole(folder, _SEAL, contents)
        self.folder = folder
        try:
            self.facts: dict[str, Any] = json.loads((folder / "checkpoint.json").read_bytes())
        except (OSError, ValueError) as error:  # it has been looked at above, if only at its size
            raise Damaged(f"checkpoint.json cannot be read: {error}") from error
        """What `Checkpoints.save` was given, `step` included."""
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
        self.passed_over: list[str] = []
        """A sentence for each checkpoint that `newest` found damaged."""
        file = folder / "scores.json"
        try:
            self._scores = msgspec.json.decode(file.read_bytes(), type=dict[str, _Score]) if file.is_file() else {}
        except (OSError, msgspec.DecodeError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): delete it to go on without the scores of earlier evaluations"
            ) from error

    def newest(self, most: int | None = None) -> Saved | None:
        """The newest whole one, of at most `most` steps if that is given; None when there is none.

        Every file of it is read. What is damaged is passed over, with a warning in the log and in `passed_over`.
        """
        self.passed_over = []
        for step, folder in sorted(self._folders().items(), reverse=True):
            if most is not None and step > most:
                continue
            try:
                return Saved(folder)
            except Damaged as damage:
                self.passed_over.append(f"checkpoint {folder} is damaged and passed over: {damage}")
                log.warning(self.passed_over[-1])
        return None

    def required(self) -> Saved | None:
        """As `newest`; raises UserError when there are checkpoints and none of them is whole."""
        saved = self.newest()
        if saved is None and self.passed_over:
            raise UserError(
                f"none of the {len(self.passed_over)} checkpoints in {self.folder} is whole; {self.passed_over[0]}: "
                "bring one back from a "
                f"copy, or begin a new run, with --warm_start.reuse {self.folder.parent / 'warm_start'} if it had a "
                "warm start"
            )
        return saved

    def agreed(self, world: World) -> Saved | None:
        """The one that rank 0 finds by `required`, on every rank. Collective.

        Raises UserError on all ranks when there are checkpoints and none of them is whole, and on one that cannot see
        rank 0's.
        """
        saved: Saved | None = None
        refusal: UserError | None = None
        if world.rank == 0:
            try:
                saved = self.required()
            except UserError as error:
                refusal = error
        step = agree(world, _REFUSED if refusal else _NONE if saved is None else saved.step)
        if step == _REFUSED:
            raise refusal or UserError(f"none of the checkpoints in {self.folder} can be used; rank 0 says why")
        return saved if world.rank == 0 or step == _NONE else self._at(step)

    def _at(self, step: int) -> Saved:
        """That of `step`, whose contents another rank has looked at."""
        folder = self._folders().get(step, self.folder / f"step_{step:06d}")
        try:
            return Saved(folder, contents=False)
        except Damaged as damage:
            raise UserError(
                f"checkpoint {folder}, from which rank 0 goes on, is not whole on this machine: {damage}"
            ) from damage

    def steps(self) -> list[int]:
        """Steps of those whose files have the right sizes, ascending; their contents are not looked at."""
        return sorted(step for step, folder in self._folders().items() if _is_complete(folder))

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
            put_in_place(unfinished, final)
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
        seal(unfinished, _SEAL)

    def set_score(self, label: str, step: int, pass_at_1: float) -> None:
        """Keeps the held-out pass@1 that evaluation `label` found for the weights of `step`. Rank 0 only."""
        self._scores[label] = _Score(step, pass_at_1)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(
            self.folder / "scores.json",
            msgspec.json.format(msgspec.json.encode(self._scores), indent=1).decode() + "\n",
        )

    def score(self, label: str) -> float | None:
        """pass@1 that evaluation `label` found; None when it is not known."""
        found = self._scores.get(label)
        return None if found is None else found.pass_at_1

    def best(self) -> Saved | None:
        """The whole checkpoint with the highest pass@1, the earlier one of equals; None when none has a score."""
        folders = self._folders()
        for step in self._by_score():
            try:
                return Saved(folders[step])
            except Damaged as damage:
                log.warning("checkpoint %s is damaged and passed over: %s", folders[step], damage)
        return None

    def _by_score(self) -> list[int]:
        """Steps with a score, of those whose files have the right sizes, the best first."""
        # A step that was done again after a crash was evaluated again: the later score is that of the weights that are
        # kept.
        by_step = {score.step: score.pass_at_1 for score in self._scores.values()}
        return [step for _, step in sorted((-by_step[step], step) for step in self.steps() if step in by_step)]

    def _folders(self) -> dict[int, Path]:
        """By step. One that was about to be replaced counts where a kill has left its place empty."""
        places = {
            path: path.name.removesuffix(REPLACED).removeprefix("step_")
            for path in self.folder.glob("step_*")
            if path.is_dir()
        }
        by_length = sorted(
            places, key=lambda path: len(path.name), reverse=True
        )  # what stands in its place comes last and wins
        return {int(places[path]): path for path in by_length if places[path].isdigit()}

    def _remove_old(self, step: int, needed: set[int]) -> None:
        """After the checkpoint of `step`.

        A later one is damaged, else the run had gone on from it: it stands for none that is kept.
        """
        for aside in self.folder.glob(f"step_*{REPLACED}"):
            if aside.with_name(
                aside.name.removesuffix(REPLACED)
            ).exists():  # a kill came when the new one was in its place already
                shutil.rmtree(aside)
        folders = self._folders()
        kept = {
            *sorted(each for each in folders if each <= step)[-self._keep :],
            *needed,
            *(each for each in folders if each > step),
        }
        kept |= set(self._by_score()[:1] if self._best else ())
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


def _is_complete(folder: Path) -> bool:
    """Whether every file that was to be written is there, with its size."""
    try:
        require_whole(folder, _SEAL, contents=False)
    except Damaged:
        return False
    return True


def _refuse_format_1(folder: Path) -> None:
    """Raises UserError for a checkpoint whose COMPLETE has sizes without checksums: whether it is as it was written
    cannot be known.
    """
    try:
        sizes = msgspec.json.decode((folder / _SEAL).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return
    if sizes and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items()
    ):
        raise _other_format(folder, 1)


def _other_format(folder: Path, found: Any) -> UserError:
    return UserError(
        f"checkpoint {folder} has format {found}, and this version of the project reads format {FORMAT}: go on with "
        "the version that "
        "wrote it"
    )
