"""Batches of corpus programs without end, of similar length within a batch so that little is padded, and the objective
that imitates them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from rltf.buffer.records import Group
from rltf.config import Normalise
from rltf.learner.objectives.base import PreparedStep, Totals, TrainItem
from rltf.learner.objectives.supervised import Supervised
from rltf.policy.encoding import encode_program, encode_prompt, response_with
from rltf.policy.policy import Policy
from rltf.problems import Corpus

POOL_BATCHES = 16
_KEPT_ENCODINGS = 50_000
"""Of prompts, and of programs."""


class CorpusStream:
    """Draws `POOL_BATCHES` batches at a time, sorts them by length, cuts them and shuffles the batches.

    Every rank that makes one with the same seed gets the same batches. The order of draws does not depend on lengths,
    so the stream is a uniform sample of the corpus.
    """

    def __init__(self, policy: Policy, corpus: Corpus, batch_size: int, seed: str) -> None:
        self._corpus = corpus
        self._batch_size = batch_size
        self._rng = random.Random(seed)
        self._supervised = Supervised()
        # Prompts and programs come again and again.
        self._prompt_ids = lru_cache(_KEPT_ENCODINGS)(partial(encode_prompt, policy))
        self._program_ids = lru_cache(_KEPT_ENCODINGS)(partial(encode_program, policy))
        self._response = partial(response_with, policy)
        self._drawn_with: Any = None
        self._pool: list[list[TrainItem]] = []
        self._totals = Totals(0, 0)
        self._taken = 0
        self._number = 0

    def next(self) -> tuple[list[TrainItem], Totals]:
        """The next batch and what its loss is divided by: the mean over its pool.

        With the same divisor for long and short batches each program token weighs the same over a pool, as in batches
        cut at random.
        """
        if self._taken == len(self._pool):
            self._draw()
        self._taken += 1
        return self._pool[self._taken - 1], self._totals

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is; JSON-able."""
        return {"random": self._drawn_with, "number": self._number, "taken": self._taken} if self._pool else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the batch after the last one that was taken when `state` was made."""
        if not state:
            return
        version, internal, following = state["random"]
        self._rng.setstate((version, tuple(internal), following))
        self._number = state["number"] - POOL_BATCHES
        self._draw()
        self._taken = state["taken"]

    def _draw(self) -> None:
        self._drawn_with = self._rng.getstate()
        drawn = [self._corpus.draw(self._rng) for _ in range(POOL_BATCHES * self._batch_size)]
        pool = [
            (self._prompt_ids(prompt), self._program_ids(self._response(prompt, program))) for prompt, program in drawn
        ]
        pool.sort(key=lambda pair: (len(pair[0]) + len(pair[1]), len(pair[1])))
        batches = [pool[start : start + self._batch_size] for start in range(0, len(pool), self._batch_size)]
        self._rng.shuffle(batches)
        self._totals = Totals(self._batch_size, round(sum(len(program) for _, program in pool) / POOL_BATCHES))
        self._pool = [
            self._supervised.items(batch, f"corpus:{self._number + index}") for index, batch in enumerate(batches)
        ]
        self._number += POOL_BATCHES
        self._taken = 0


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
