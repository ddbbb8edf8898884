"""The records: what actors, executors and learner say to each other.

Msgpack through msgspec, a versioned schema, no pickle.

A record that does not decode, or whose parts do not fit together, raises ``Malformed``; nobody crashes on one. Records
cannot be part of a reference cycle, so they are kept from Python's garbage collector (``gc=False``), which would
otherwise take a quarter of the time in which a learner reads its groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Literal, TypeVar, get_args

import msgspec

from rltf.buffer.columns import Floats, Ints, from_wire, to_wire

SCHEMA = 2

T = TypeVar("T", "Source", "Trace", "Feedback")

Outcome = Literal["pass", "failure", "runtime_error", "compile_error"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Purpose = Literal["train", "evaluation"]
LearnerFate = Literal["trained", "baseline", "no_signal"]
Fate = Literal[
    "trained", "baseline", "no_signal", "evicted", "stale", "malformed", "dead_letter", "evaluated", "under_way"
]
"""How a program ends: used by the learner (for training, as a greedy baseline, without effect because its advantage is
zero), put out of the full buffer, too old, not a record, given up after three tries; or read as an evaluation's result.
In the run folder alone `under_way`: it had a place, or uses left, when the run ended."""


class Malformed(Exception):
    """Bytes that are not a record of this schema version."""


class VersionRun(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Policy version `version` sampled the tokens from index `first_token` on, up to the next run."""

    version: int
    first_token: int


class Source(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The part of a program that an executor needs; it travels to the executors alone, without the tokens."""

    schema: int = SCHEMA
    id: str
    """Unique, made by the actor."""
    problem_id: str
    group_id: str
    """Shared by all programs of one visit of a problem."""
    purpose: Purpose = "train"
    label: str = ""
    """Evaluation only: which evaluation the program belongs to."""
    text: str
    """The response: all that the policy wrote."""
    lead: str = ""
    """What the prompt wrote of the program already: it stands before the spans."""
    spans: Ints = msgspec.field(default_factory=Ints)
    """Begin and end of each part of `text` that the program is made of, in order, as characters; none: all of it."""
    has_program: bool = True
    """False where the response holds no program, which is a compile error of its own kind."""

    @property
    def code(self) -> str:
        """The program that is judged: `lead` and the spans of `text`; empty where there is none."""
        if not self.has_program:
            return ""
        return self.lead + "".join(self.text[begin:end] for begin, end in self.parts)

    @property
    def parts(self) -> list[tuple[int, int]]:
        """The spans in pairs, half-open; of a response without a program none."""
        if not self.has_program:
            return []
        return list(zip(self.spans[::2], self.spans[1::2], strict=True)) if self.spans else [(0, len(self.text))]


class Program(Source, frozen=True, kw_only=True, gc=False):
    """One program as the policy wrote it, before it was run. T is its number of tokens.

    The columns are arrays of 32-bit numbers (`buffer.columns`).
    """

    greedy: bool = False
    """Greedy decode (the visit's baseline) rather than a sample."""
    prompt_ids: Ints
    token_ids: Ints
    """(T,): exactly as sampled, end-of-sequence included if it was sampled; never re-tokenised."""
    log_probs: Floats
    """(T,): log p of each token under the policy that sampled it, temperature, truncation and penalty not applied, so
    that a ratio to the learner's own carries nothing of what they cut."""
    versions: list[VersionRun]
    finish_reason: Literal["stop", "length"]
    temperature: float
    top_p: float
    offsets: Ints
    """(T,): index in `text` of the first character of each token; len(text) for a token without text."""
    end_tokens: int = 0
    """How many of the last tokens ended it: an end-of-sequence token, or those of a stop string."""
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    sampled_log_probs: Floats = msgspec.field(default_factory=Floats)
    """(T,): log p of each token under the distribution that it was drawn from, all of these applied; empty where that
    is the policy's own."""


class Trace(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The rest of a program: what only the learner needs. Fields as in Program."""

    schema: int = SCHEMA
    greedy: bool
    prompt_ids: Ints
    token_ids: Ints
    log_probs: Floats
    versions: list[VersionRun]
    finish_reason: Literal["stop", "length"]
    temperature: float
    top_p: float
    offsets: Ints
    end_tokens: int = 0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    sampled_log_probs: Floats = msgspec.field(default_factory=Floats)


class TestResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one unit test said."""

    outcome: Outcome | Literal["not_run"]
    error_type: str | None = None
    cpu_s: float = 0.0


class Feedback(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the unit tests said of a program. An infrastructure failure is no Feedback."""

    schema: int = SCHEMA
    outcome: Outcome
    """The worst over the tests: compile_error, runtime_error, failure, pass."""
    error_type: str | None = None
    """Exception class, or TimeLimit, MemoryLimit, OutputLimit, NonZeroExit, Crash, NoProgram."""
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

    @property
    def error_name(self) -> str:
        """Of a program that did not pass: its error type; `WrongAnswer` where a test failed without one."""
        if self.error_type:
            return self.error_type
        return "WrongAnswer" if self.outcome == "failure" else self.outcome

    @property
    def share_passed(self) -> float:
        """Of all tests, those that it passed."""
        return self.passed / max(1, len(self.tests))


NO_PROGRAM = "NoProgram"
"""Error type of a response without a program."""
MAX_ERROR_TYPES = 20


def count_error_types(names: Iterable[str]) -> dict[str, int]:
    """How often each error type occurs, the most frequent first; beyond MAX_ERROR_TYPES as `other`, for programs make
    up names.
    """
    numbers = Counter(names)
    named = dict(numbers.most_common(MAX_ERROR_TYPES))
    rest = numbers.total() - sum(named.values())
    return named | ({"other": named.get("other", 0) + rest} if rest else {})


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A program and its feedback: what the learner trains on. Rewards are derived by the learner, never stored."""

    schema: int = SCHEMA
    program: Program
    feedback: Feedback


class Group(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All samples of one visit of a problem, drawn, evicted and counted as one."""

    id: str
    problem_id: str
    samples: list[Sample]
    """The sampled programs; dead-lettered members are missing."""
    greedy: Sample | None = None

    @property
    def members(self) -> list[Sample]:
        """The sampled programs and, last, the greedy one if there is one."""
        return self.samples if self.greedy is None else [*self.samples, self.greedy]


class Archived(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A program whose fate is known, as the driver writes it to the run folder."""

    schema: int = SCHEMA
    id: str
    group_id: str
    problem_id: str
    fate: Fate
    step: int | None = None
    """Learner step that used the sample, the last of them."""
    reason: str = ""
    """Why it was dead-lettered or malformed; of one under way what it was used for so far."""
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


_encoder = msgspec.msgpack.Encoder(enc_hook=to_wire)
_decoders: dict[type, Any] = {
    kind: msgspec.msgpack.Decoder(kind, dec_hook=from_wire) for kind in (Source, Trace, Feedback)
}
_pair = msgspec.msgpack.Decoder(tuple[bytes, bytes])


def encode(record: Program | Feedback) -> bytes:
    """The record as msgpack; of a program its two parts, joined."""
    return join(*encode_parts(record)) if isinstance(record, Program) else _encoder.encode(record)


def source_of(program: Program) -> Source:
    """The part of a program that an executor needs."""
    p = program
    return Source(
        schema=p.schema,
        id=p.id,
        problem_id=p.problem_id,
        group_id=p.group_id,
        purpose=p.purpose,
        label=p.label,
        text=p.text,
        lead=p.lead,
        spans=p.spans,
        has_program=p.has_program,
    )


def encode_parts(program: Program) -> tuple[bytes, bytes]:
    """Source and trace of a program, as msgpack."""
    p = program
    trace = Trace(
        schema=p.schema,
        greedy=p.greedy,
        prompt_ids=p.prompt_ids,
        token_ids=p.token_ids,
        log_probs=p.log_probs,
        versions=p.versions,
        finish_reason=p.finish_reason,
        temperature=p.temperature,
        top_p=p.top_p,
        offsets=p.offsets,
        end_tokens=p.end_tokens,
        top_k=p.top_k,
        min_p=p.min_p,
        repetition_penalty=p.repetition_penalty,
        sampled_log_probs=p.sampled_log_probs,
    )
    return _encoder.encode(source_of(program)), _encoder.encode(trace)


def join(source: bytes, trace: bytes) -> bytes:
    """An encoded program from its encoded parts, whatever they hold."""
    return _encoder.encode((source, trace))


def decode_parts(source: bytes, trace: bytes) -> Program:
    """The program of two parts. Raises Malformed when they are none, or do not fit together."""
    s, t = decode_source(source), _decode(trace, Trace)
    if not len(t.token_ids) == len(t.log_probs) == len(t.offsets):
        raise Malformed(
            f"program {s.id}: {len(t.token_ids)} tokens, {len(t.log_probs)} log-probabilities, {len(t.offsets)} offsets"
        )
    if len(t.sampled_log_probs) not in (0, len(t.token_ids)):
        raise Malformed(
            f"program {s.id}: {len(t.token_ids)} tokens, {len(t.sampled_log_probs)} log-probabilities as sampled"
        )
    if not 0 <= t.end_tokens <= len(t.token_ids):
        raise Malformed(f"program {s.id}: {t.end_tokens} of {len(t.token_ids)} tokens are said to end it")
    if not t.versions or t.versions[0].first_token != 0:
        raise Malformed(f"program {s.id}: no policy version for its first token")
    return Program(
        schema=s.schema,
        id=s.id,
        problem_id=s.problem_id,
        group_id=s.group_id,
        purpose=s.purpose,
        label=s.label,
        greedy=t.greedy,
        prompt_ids=t.prompt_ids,
        token_ids=t.token_ids,
        log_probs=t.log_probs,
        versions=t.versions,
        finish_reason=t.finish_reason,
        temperature=t.temperature,
        top_p=t.top_p,
        text=s.text,
        lead=s.lead,
        spans=s.spans,
        has_program=s.has_program,
        offsets=t.offsets,
        end_tokens=t.end_tokens,
        top_k=t.top_k,
        min_p=t.min_p,
        repetition_penalty=t.repetition_penalty,
        sampled_log_probs=t.sampled_log_probs,
    )


def decode_program(data: bytes) -> Program:
    """Raises Malformed when `data` is no Program of this schema."""
    try:
        source, trace = _pair.decode(data)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not a Program: {error}") from None
    return decode_parts(source, trace)


def decode_source(data: bytes) -> Source:
    """Raises Malformed when `data` is no Source of this schema, or its spans are none of its text."""
    source = _decode(data, Source)
    places = [0, *source.spans, len(source.text)]
    if len(places) % 2 or any(first > second for first, second in pairwise(places)):
        raise Malformed(f"program {source.id}: spans {list(source.spans)} of {len(source.text)} characters")
    return source


def decode_feedback(data: bytes) -> Feedback:
    """Raises Malformed when `data` is no Feedback of this schema."""
    return _decode(data, Feedback)


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        record: T = _decoders[kind].decode(data)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not a {kind.__name__}: {error}") from None
    if record.schema != SCHEMA:
        raise Malformed(f"{kind.__name__} of schema {record.schema}, this version reads {SCHEMA}")
    return record
