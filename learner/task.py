"""What a learner is to do."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rltf.buffer.records import Sample
from rltf.config import NO_CODE, Config, PromptConfig, UserCode, UserError, run_files
from rltf.policy.policy import PolicySpec
from rltf.problems import Corpus


def hash_of_inputs(
    training_ids: Sequence[str],
    held_out: Mapping[str, Sequence[str]],
    spec: PolicySpec,
    code: UserCode = NO_CODE,
) -> str:
    """Of what a checkpoint needs as it was: visits number the training problems, scores are of the held-out ones,
    weights know tokens, and what was learned depends on how problems were put and on the user's own rewards.

    `held_out`: problem ids by the set's name, the main one without one.
    """
    given: tuple[Any, ...] = (list(training_ids), list(held_out.get("", ())), spec.tokenizer_files)
    given += tuple((name, list(ids)) for name, ids in held_out.items() if name)
    given += (code.hash,) if code.files else ()
    if spec.chat is not None or spec.prompt.model_copy(update={"format": "auto"}) != PromptConfig():
        given += (spec.prompt.model_dump_json(exclude=None if spec.prompt.date else {"date"}),)
    return hashlib.blake2b(repr(given).encode(), digest_size=16).hexdigest()


Figures = Callable[[Sequence[Sample], int], Mapping[str, float]]
"""From the samples of an evaluation, and the programs that it asked for of each problem, to its figures by name."""


@dataclass(frozen=True)
class HeldOutSet:
    """A held-out set as the learner asks for evaluations of it."""

    problem_ids: Sequence[str]
    """Those of `too_long` are not among them."""
    name: str = ""
    """Empty for the main one."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What its figures are about (`evaluation.tasks.HeldOutTasks.about`)."""
    figures: Figures | None = None
    """Gives the figures that `evaluation.best_by` may name; None: pass@1 alone is known."""


@dataclass(frozen=True)
class LearnerTask:
    """What one run's learner is given; the same on every rank."""

    config: Config
    spec: PolicySpec
    corpus: Corpus | None
    """None where nothing is trained on supervised."""
    training_ids: Sequence[str]
    held_out: Sequence[HeldOutSet]
    """The main set and the further ones; none where nothing is evaluated."""
    folder: Path
    """The run's folder; a learner that finds checkpoints in it goes on after the newest one."""
    code_version: str = ""
    prompt: str = ""
    """The prompt of a training problem, for the model card."""
    code: UserCode = NO_CODE
    """The user's files."""
    key: str = ""
    """What the file .key in the folder holds; empty: it is not looked at."""

    @property
    def inputs(self) -> str:
        """`hash_of_inputs`."""
        held_out = {one.name: one.problem_ids for one in self.held_out}
        return hash_of_inputs(self.training_ids, held_out, self.spec, self.code)

    def require_folder(self) -> None:
        """Raises UserError when the run's folder is not on a disk of this machine: what the learner writes would not be
        in the run.
        """
        file = self.folder / run_files.KEY
        if self.key and not (file.is_file() and file.read_text().strip() == self.key):
            raise UserError(
                f"run.folder: {self.folder} on {socket.gethostname()}, where a learner worker runs, is not the run's "
                "folder: choose one on a disk that this machine shares with the driver's, by --run.folder or, "
                "for every run, by RLTF_RUN_FOLDER in the environment of the driver"
            )
