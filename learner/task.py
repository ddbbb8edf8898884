"""What a learner is to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config import Config
from learner.corpus_stream import Corpus
from policy.policy import PolicySpec


@dataclass(frozen=True)
class LearnerTask:
    """What one run's learner is given; the same on every rank."""

    config: Config
    spec: PolicySpec
    corpus: Corpus | None
    """None where nothing is trained on supervised."""
    training_ids: Sequence[str]
    held_out_ids: Sequence[str]
    folder: Path
    """The run's folder; a learner that finds checkpoints in it goes on after the newest one."""
    code_version: str = ""
