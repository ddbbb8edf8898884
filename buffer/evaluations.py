"""Held-out evaluations: asked for by the learner, written by actors in chunks, graded through their own work queue."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from rltf.buffer.groups import read_groups
from rltf.buffer.lua import Place
from rltf.buffer.records import Sample

Reader = Literal["learner", "driver"]
"""Who reads the results of held-out evaluations."""
ANY_VERSION = 2**53
"""An actor that will load whatever version a chunk asks for."""


def label_of(step: int, name: str = "") -> str:
    """Label under which the learner asks for the evaluation of a held-out set after `step` steps; `name`: of a further
    set, empty for the main one.
    """
    return f"{name}:step-{step:06d}" if name else f"step-{step:06d}"


def set_of(label: str) -> str:
    """Name of the held-out set that an evaluation is of; empty for the main one, and for what is no set's."""
    return label.rpartition(":")[0]


def labels_of(label: str) -> Iterator[str]:
    """`label`, `label`-2, `label`-3 .. without end: what it is requested under, one after the other (see
    `Evaluations.fresh_label`).
    """
    return itertools.chain([label], (f"{label}-{number}" for number in itertools.count(2)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Problems of one evaluation that one actor writes programs for."""

    id: str
    label: str
    version: int
    """Policy version to sample with; where it is lost, a later one."""
    problem_ids: list[str]
    samples: int
    """Programs to write for each problem."""
    first: int = 0
    """Number of the first of them."""
    series: str = ""
    """What numbers count in, of one seed: with equal numbers programs of a problem are the same; empty: the label."""


class _Packed(msgspec.Struct, array_like=True):
    """A chunk in Redis; the scripts read its version, the second."""

    label: str
    version: int
    problem_ids: list[str]
    samples: int
    first: int = 0
    series: str = ""


@dataclass(frozen=True, slots=True)
class EvaluationProgress:
    """How far an evaluation is, in programs unless said otherwise."""

    version: int
    expected: int
    pushed: int
    finished: int
    """With a result, dead-lettered or malformed."""
    lost: int
    """Dead-lettered or malformed."""
    chunks: int
    chunks_done: int

    @property
    def written(self) -> bool:
        """Every chunk is written."""
        return self.chunks_done == self.chunks

    @property
    def complete(self) -> bool:
        """Every chunk is written and every program has its result or is lost."""
        return self.written and self.finished == self.pushed


class Evaluations(Place):
    """Evaluations by label (`label_of`)."""

    def request(
        self,
        label: str,
        version: int,
        chunks: Sequence[Sequence[str]],
        programs_per_problem: int = 1,
        first: int = 0,
        series: str = "",
    ) -> None:
        """Offers problems to the actors, chunk by chunk; a label is requested once, again has no effect.

        `first`, `series`: see Chunk; by them a problem's programs can be asked for in parts, under several labels.

        Raises:
            ValueError: a problem occurs twice (a problem's programs are one group).
        """
        problem_ids = [problem_id for chunk in chunks for problem_id in chunk]
        if len(set(problem_ids)) < len(problem_ids):
            raise ValueError(f"evaluation {label} names a problem twice")
        packed = [
            msgspec.msgpack.encode(_Packed(label, version, list(chunk), programs_per_problem, first, series))
            for chunk in chunks
        ]
        parts = [part for chunk, bytes_ in zip(chunks, packed, strict=True) for part in (len(chunk), bytes_)]
        self._scripts.run("request", label, version, programs_per_problem, *parts)

    def fresh_label(self, label: str, version: int) -> str:
        """`label`, or with -2, -3 .. behind it when it was requested before for another version than `version`.

        A learner that does steps again after a crash so evaluates its own weights, not those that were lost.
        """
        newest, following = self._newest(label)
        if newest and int(self._client.hget(self._keys.label(newest), "version")) == version:
            return newest
        return following

    def latest_label(self, label: str) -> str | None:
        """The last of `label`, `label`-2, .. that was requested (see `fresh_label`); None when none was."""
        return self._newest(label)[0] or None

    def _newest(self, label: str) -> tuple[str, str]:
        requested = list(itertools.takewhile(self.is_requested, labels_of(label)))
        following = next(name for name in labels_of(label) if name not in requested)
        return requested[-1] if requested else "", following

    def next_chunk(self, actor: str, version: int = ANY_VERSION) -> Chunk | None:
        """A chunk for `actor`, which can sample with policy `version`; None when there is none.

        An actor holds one chunk at a time and gets the same again, after a restart too, until `finish_chunk`. A chunk
        whose actor has not asked again within a lease is offered to others; programs that both push count once.
        """
        answer = self._scripts.run("next_chunk", actor, version)
        if not answer:
            return None
        found = msgspec.msgpack.decode(answer[1], type=_Packed)
        return Chunk(id=answer[0].decode(), **msgspec.structs.asdict(found))

    def unwritten(self, chunk: Chunk) -> list[str]:
        """Problems of the chunk whose programs are not pushed yet: an actor that held it before may have died."""
        pushed = self._client.smismember(self._keys.label(chunk.label) + ":pushed", chunk.problem_ids)
        return [problem_id for problem_id, there in zip(chunk.problem_ids, pushed, strict=True) if not there]

    def finish_chunk(self, chunk: Chunk) -> None:
        """All programs of the chunk are pushed."""
        self._scripts.run("finish_chunk", chunk.id, chunk.label)

    def progress(self, label: str) -> EvaluationProgress:
        """How far the evaluation is. Raises KeyError when it was never requested."""
        fields: dict[bytes, bytes] = self._client.hgetall(self._keys.label(label))
        if b"version" not in fields:
            raise KeyError(f"no evaluation {label!r} was requested")
        names = ("version", "expected", "pushed", "finished", "bad", "chunks", "chunks_done")
        return EvaluationProgress(*(int(fields.get(name.encode(), 0)) for name in names))

    def is_requested(self, label: str) -> bool:
        """Whether it was requested."""
        return bool(self._client.hexists(self._keys.label(label), "version"))

    def is_closed(self, label: str) -> bool:
        """Whether its results have been read and are gone to the archive."""
        return bool(self._client.hexists(self._keys.label(label), "closed"))

    def expected(self, label: str) -> int:
        """Programs that the request asked for."""
        return self.progress(label).expected

    def is_complete(self, label: str) -> bool:
        """Whether nothing is left to write or to grade; what was dead-lettered is missing from the results."""
        return self.progress(label).complete

    def results(self, label: str) -> list[Sample]:
        """The samples so far, problem by problem in order of completion, the greedy one of a problem last; empty after
        `close`.
        """
        ids = self._client.lrange(self._keys.label(label) + ":results", 0, -1)
        groups = read_groups(self._client, self._scripts, self._keys, [group_id.decode() for group_id in ids])
        return [sample for group in groups for sample in group.members]

    def close(self, label: str, reader: Reader | None = None) -> None:
        """Sends the samples to the archive, fate `evaluated`; call it once the results have been read.

        Later ones follow by themselves.

        With a `reader` only when the other one has said so too: neither takes away what the other still has to read.
        """
        self._scripts.run("close_evaluation", label, reader or "")
