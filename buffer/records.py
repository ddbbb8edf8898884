"""The wire records: what actors, executors and learner say to each other. Msgpack through msgspec, a versioned schema, no pickle.

A record that does not decode raises ``Malformed``; nobody crashes on one.
"""

from __future__ import annotations

from typing import Literal, TypeVar, get_args

import msgspec

SCHEMA = 1

T = TypeVar("T", "Program", "Feedback", "Sample")

Outcome = Literal["pass", "failure", "runtime_error", "compile_error"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Purpose = Literal["train", "evaluation"]
LearnerFate = Literal["trained", "baseline", "no_signal"]
Fate = Literal["trained", "baseline", "no_signal", "evicted", "stale", "malformed", "dead_letter", "evaluated"]
"""How a program ends: used by the learner (for training, as a greedy baseline, without effect because its advantage is zero), put out
of the full buffer, too old, not a record, given up after three tries; or read as an evaluation's result."""


class Malformed(Exception):
    """Bytes that are not a record of this schema version."""


class VersionRun(msgspec.Struct, frozen=True, array_like=True):
    """Policy version `version` sampled the tokens from index `first_token` on, up to the next run."""

    version: int
    first_token: int


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One program as the policy wrote it, before it was run."""

    schema: int = SCHEMA
    id: str
    """Unique, made by the actor."""
    problem_id: str
    group_id: str
    """Shared by all programs of one visit of a problem."""
    purpose: Purpose = "train"
    label: str = ""
    """Evaluation only: which evaluation the program belongs to."""
    greedy: bool = False
    """Greedy decode (the visit's baseline) rather than a sample."""
    prompt_ids: list[int]
    token_ids: list[int]
    """Exactly as sampled, end-of-sequence included if it was sampled; never re-tokenised."""
    log_probs: list[float]
    """log p of each token under the policy that sampled it, temperature and nucleus not applied."""
    versions: list[VersionRun]
    finish_reason: Literal["stop", "length"]
    temperature: float
    top_p: float
    text: str
    offsets: list[int]
    """Index in `text` of the first character of each token; a token without text has the next token's."""


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit test said."""

    outcome: Outcome | Literal["not_run"]
    error_type: str | None = None
    cpu_s: float = 0.0


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """What the unit tests said of a program. An infrastructure failure is no Feedback."""

    schema: int = SCHEMA
    outcome: Outcome
    """The worst over the tests: compile_error, runtime_error, failure, pass."""
    error_type: str | None = None
    """Exception class, or TimeLimit, MemoryLimit, OutputLimit, NonZeroExit, Crash."""
    line: int | None = None
    """1-based line of the program."""
    message: str = ""
    tests: list[TestResult] = []
    passed: int = 0
    run: int = 0
    """Tests that ran; the rest were not reached."""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0
    problem_hash: str = ""
    time_limit_s: float = 0.0
    memory_limit_mb: int = 0
    checker: str = "standard"
    executor_version: str = ""
    executor: str = ""
    """Name of the executor that ran it."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A program and its feedback: what the learner trains on. Rewards are derived by the learner, never stored."""

    schema: int = SCHEMA
    program: Program
    feedback: Feedback


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one visit of a problem, drawn, evicted and counted as one."""

    id: str
    problem_id: str
    samples: list[Sample]
    """The sampled programs; dead-lettered members are missing."""
    greedy: Sample | None = None


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """A program whose fate is known, as the driver writes it to the run folder."""

    schema: int = SCHEMA
    id: str
    group_id: str
    problem_id: str
    fate: Fate
    step: int | None = None
    """Learner step that used the sample."""
    reason: str = ""
    """Why it was dead-lettered or malformed."""
    program: bytes
    """An encoded Program; anything at all when malformed."""
    feedback: bytes = b""
    """An encoded Feedback; empty when there never was one."""

    @property
    def sample(self) -> Sample | None:
        """The sample; None when it is malformed or never got its feedback."""
        try:
            return Sample(program=decode_program(self.program), feedback=decode_feedback(self.feedback))
        except Malformed:
            return None


def encode(record: Program | Feedback | Sample | Archived) -> bytes:
    """The record as msgpack."""
    return msgspec.msgpack.encode(record)


def decode_program(data: bytes) -> Program:
    """Raises Malformed when `data` is no Program of this schema."""
    return _decode(data, Program)


def decode_feedback(data: bytes) -> Feedback:
    """Raises Malformed when `data` is no Feedback of this schema."""
    return _decode(data, Feedback)


def decode_sample(data: bytes) -> Sample:
    """Raises Malformed when `data` is no Sample of this schema."""
    return _decode(data, Sample)


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        record = msgspec.msgpack.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not a {kind.__name__}: {error}") from None
    if record.schema != SCHEMA:
        raise Malformed(f"{kind.__name__} of schema {record.schema}, this version reads {SCHEMA}")
    return record
