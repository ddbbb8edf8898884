"""The checkpoints that a run has: the newest, the one that all ranks go on from, the best by a held-out figure.

One of a step that is being replaced is step_000040.replaced until the new one stands in its place, and counts for it as
long as that is empty. One that is not as it was written is passed over for the one before.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from rltf.config import REPLACED, UserError, run_files
from rltf.learner.checkpoint import Checkpoint, is_complete
from rltf.learner.world import World, broadcast_int
from rltf.policy.checksums import Damaged

SCORES = "scores.json"
_NONE, _REFUSED = -1, -2
"""What rank 0 tells the others in place of a step."""

log = logging.getLogger(__name__)


class Score(msgspec.Struct, omit_defaults=True):
    """What the evaluation of a held-out set found for the weights of a step."""

    step: int
    pass_at_1: float = msgspec.field(name="pass@1")
    figures: dict[str, float] = {}
    """pass@k and max@k by name."""
    set: str = ""
    """Name of the held-out set; empty for the main one."""

    def value(self, figure: str) -> float | None:
        """A figure by name; None where the evaluation has none of it."""
        return self.pass_at_1 if figure == "pass@1" else self.figures.get(figure)


class Checkpoints:
    """The checkpoints of one run, for every rank to read."""

    def __init__(self, folder: Path, best_by: str = "pass@1") -> None:
        """`best_by`: name of the held-out figure and its set (`evaluation.best_by`).

        Raises UserError when scores.json cannot be read.
        """
        self.folder = folder
        self._best_set, _, self._best_figure = best_by.rpartition(":")
        self.passed_over: list[str] = []
        """A sentence for each checkpoint that `newest` found damaged."""
        file = folder / SCORES
        try:
            self._scores = msgspec.json.decode(file.read_bytes(), type=dict[str, Score]) if file.is_file() else {}
        except (OSError, msgspec.DecodeError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): delete it to go on without the scores of earlier evaluations"
            ) from error

    @classmethod
    def of_run(cls, run: Path, best_by: str = "pass@1") -> Checkpoints:
        """Those in the folder of a run. Raises as the constructor."""
        return cls(run / run_files.CHECKPOINTS, best_by)

    def newest(self, most: int | None = None) -> Checkpoint | None:
        """The newest whole one, of at most `most` steps if that is given; None when there is none.

        Every file of it is read. What is damaged is passed over, with a warning in the log and in `passed_over`.
        """
        self.passed_over = []
        for step, folder in sorted(self.folders().items(), reverse=True):
            if most is not None and step > most:
                continue
            try:
                return Checkpoint(folder)
            except Damaged as damage:
                self.passed_over.append(f"checkpoint {folder} is damaged and passed over: {damage}")
                log.warning(self.passed_over[-1])
        return None

    def required(self) -> Checkpoint | None:
        """As `newest`; raises UserError when there are checkpoints and none of them is whole."""
        saved = self.newest()
        if saved is None and self.passed_over:
            raise UserError(
                f"none of the {len(self.passed_over)} checkpoints in {self.folder} is whole; {self.passed_over[0]}: "
                "bring one back from a copy, or begin a new run, with --warm_start.reuse "
                f"{self.folder.parent / 'warm_start'} if it had a warm start"
            )
        return saved

    def agreed(self, world: World) -> Checkpoint | None:
        """The one that rank 0 finds by `required`, on every rank. Collective.

        Raises UserError on all ranks when there are checkpoints and none of them is whole, and on one that cannot see
        rank 0's.
        """
        saved: Checkpoint | None = None
        refusal: UserError | None = None
        if world.rank == 0:
            try:
                saved = self.required()
            except UserError as error:
                refusal = error
        step = broadcast_int(world, _REFUSED if refusal else _NONE if saved is None else saved.step)
        if step == _REFUSED:
            raise refusal or UserError(f"none of the checkpoints in {self.folder} can be used; rank 0 says why")
        return saved if world.rank == 0 or step == _NONE else self._at(step)

    def _at(self, step: int) -> Checkpoint:
        """That of `step`, whose contents another rank has looked at."""
        folder = self.folders().get(step, self.folder / f"step_{step:06d}")
        try:
            return Checkpoint(folder, contents=False)
        except Damaged as damage:
            raise UserError(
                f"checkpoint {folder}, from which rank 0 goes on, is not whole on this machine: {damage}"
            ) from damage

    def at(self, step: int) -> Checkpoint | None:
        """The checkpoint of `step`; None when there is none. Raises UserError when it is not as it was written."""
        if step not in self.folders():
            return None
        folder = self.folders()[step]
        try:
            return Checkpoint(folder)
        except Damaged as damage:
            raise UserError(f"checkpoint {folder} is damaged: {damage}") from damage

    def steps(self) -> list[int]:
        """Steps of those whose files have the right sizes, ascending; their contents are not looked at."""
        return sorted(step for step, folder in self.folders().items() if is_complete(folder))

    def score(self, label: str) -> Score | None:
        """What evaluation `label` found; None when it is not known."""
        return self._scores.get(label)

    def best(self) -> Checkpoint | None:
        """The whole checkpoint with the highest `best_by`, the earlier one of equals; None when none has a score."""
        folders = self.folders()
        for step in self.by_score():
            try:
                return Checkpoint(folders[step])
            except Damaged as damage:
                log.warning("checkpoint %s is damaged and passed over: %s", folders[step], damage)
        return None

    def by_score(self) -> list[int]:
        """Steps with a score, of those whose files have the right sizes, the best first."""
        # A step that was done again after a crash was evaluated again: the later score is that of the weights that are
        # kept.
        scores = (score for score in self._scores.values() if score.set == self._best_set)
        found = ((score.step, score.value(self._best_figure)) for score in scores)
        by_step = {step: value for step, value in found if value is not None}
        return [step for _, step in sorted((-by_step[step], step) for step in self.steps() if step in by_step)]

    def folders(self) -> dict[int, Path]:
        """By step. One that was about to be replaced counts where a kill has left its place empty."""
        places = {
            path: path.name.removesuffix(REPLACED).removeprefix("step_")
            for path in self.folder.glob("step_*")
            if path.is_dir()
        }
        # What stands in its place comes last and wins.
        by_length = sorted(places, key=lambda path: len(path.name), reverse=True)
        return {int(places[path]): path for path in by_length if places[path].isdigit()}
