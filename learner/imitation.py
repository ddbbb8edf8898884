"""Supervised steps as an objective of their own: its programs come from the corpus, not from groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rltf.buffer.records import Group
from rltf.config import Normalise
from rltf.learner.corpus_stream import CorpusStream
from rltf.learner.objectives.base import PreparedStep
from rltf.learner.objectives.supervised import Supervised


class Imitation(Supervised):
    """Cross-entropy of the corpus programs of a stream, a batch of them for each step."""

    def __init__(self, stream: CorpusStream, normalise: Normalise = "token_mean", token_limit: int = 1) -> None:
        """As Supervised."""
        super().__init__(normalise, token_limit)
        self.stream = stream

    def prepare(self, groups: Sequence[Group] = ()) -> PreparedStep:
        """The next batch, whatever the groups."""
        items, totals = self.stream.next()
        return PreparedStep(items, totals, fates={}, rewards=[])

    def state_dict(self) -> dict[str, Any]:
        """The stream's."""
        return self.stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As CorpusStream."""
        self.stream.load_state_dict(state)
