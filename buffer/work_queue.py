"""The work queue between actors and executors: a bounded stream whose entries are claimed, held, handed over or given
back.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import redis

from rltf.buffer.keys import Keys
from rltf.buffer.lua import Call, Place, Scripts
from rltf.buffer.records import Feedback, Malformed, Program, Purpose, Source, decode_source, encode, encode_parts

BATCH = 64
"""Programs in one script call: large enough to share the round trip, small enough not to hold up the server."""
GROUPS = 16
"""Groups in one script call, for the same reason."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A program that a consumer holds until it hands it over, gives it back, or lets the lease run out."""

    entry: str
    program: Source
    """The part of it that an executor needs: ids and text."""
    tries: int
    """Tries without a verdict so far."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A program that was given up, as a person is shown it."""

    program_id: str
    group_id: str
    fate: str
    """dead_letter or malformed."""
    reason: str
    time: float
    """Seconds since the epoch."""


class WorkQueue(Place):
    """Programs without a verdict. Delivery is at least once; the first verdict of a program is the one that counts."""

    def __init__(self, client: redis.Redis, scripts: Scripts, keys: Keys, purpose: Purpose, timeout_s: float) -> None:
        super().__init__(client, scripts, keys)
        self._purpose = purpose
        self._full = False
        # A blocking read must answer before the connection's own time limit; expired leases are looked for at least
        # this often.
        self._max_block_s = min(1.0, timeout_s / 2)

    def push(self, group: Sequence[Program], actor: str = "") -> bool:
        """Adds all programs of one visit, the greedy one included; False when they do not fit, then nothing is added.

        True without effect when the group id is known. For an evaluation a problem counts once per label, so a chunk
        that was offered again may be written again. Uses up one group of the reservation of `actor`.
        """
        return self.push_many([group], actor)[0]

    def push_many(self, groups: Sequence[Sequence[Program]], actor: str = "") -> list[bool]:
        """`push` for several groups in one round trip; the bytes of a group are sent once and never move in Redis."""
        accepted: list[bool] = []
        # An actor asks again and again while the queue is full: it need not send megabytes each time to be refused.
        if self._full and groups:
            accepted = self._push(groups[:1], actor)
            if not accepted[0]:
                return [False] * len(groups)
        accepted += self._push(groups[len(accepted) :], actor)
        self._full = not all(accepted)
        return accepted

    def _push(self, groups: Sequence[Sequence[Program]], actor: str) -> list[bool]:
        calls: list[Call] = []
        for first in range(0, len(groups), GROUPS):
            arguments: list[str | int] = [actor]
            staged: dict[str, dict[str, bytes]] = {}
            for group in groups[first : first + GROUPS]:
                key = self._keys.staged(uuid.uuid4().hex)
                staged[key] = self._fields_of(group)
                oldest = min((run.version for program in group for run in program.versions), default=0)
                arguments += [key, group[0].group_id, group[0].label, group[0].problem_id, oldest, len(group)]
                arguments += [program.id for program in group]
            calls.append(Call("push", arguments, staged))
        return [answer != 0 for answers in self._scripts.run_many(calls) for answer in answers]

    def _fields_of(self, group: Sequence[Program]) -> dict[str, bytes]:
        """The bytes of a group, as its hash holds them."""
        if not group:
            raise ValueError("a group without programs cannot be pushed")
        first = group[0]
        ids = [program.id for program in group]
        if len(set(ids)) < len(ids):
            raise ValueError(f"group {first.group_id} has two programs of one id")
        fields: dict[str, bytes] = {}
        traces: list[bytes] = []
        for program in group:
            if (program.group_id, program.problem_id, program.label) != (first.group_id, first.problem_id, first.label):
                raise ValueError(
                    f"program {program.id} does not belong to group {first.group_id} of problem {first.problem_id}"
                )
            if program.purpose != self._purpose:
                raise ValueError(f"program {program.id} is for {program.purpose}, this queue for {self._purpose}")
            fields[f"source:{program.id}"], trace = encode_parts(program)
            traces.append(trace)
        fields["traces"] = msgspec.msgpack.encode(traces)
        fields["members"] = msgspec.msgpack.encode(ids)
        return fields

    def claim(self, consumer: str, count: int, block_s: float = 0.0) -> list[Claim]:
        """Up to `count` programs: what other consumers let lie for longer than the lease, then new ones, oldest first.

        Waits up to `block_s` seconds for the first one; an empty list when none came. A program whose bytes are no
        record is set aside, counted as malformed, and not returned.
        """
        deadline = time.monotonic() + block_s
        while True:
            answer = self._scripts.run("claim", consumer, uuid.uuid4().hex, count)
            claims = self._decode(answer[1:])
            left = deadline - time.monotonic()
            if claims or left <= 0:
                return claims
            # Only a bell: returns as soon as there is an entry after the last one, and takes nothing.
            block_ms = max(1, int(1000 * min(left, self._max_block_s)))
            self._client.xread({self._keys.work: answer[0]}, count=1, block=block_ms)

    def _decode(self, answer: list[bytes]) -> list[Claim]:
        claims: list[Claim] = []
        malformed: list[bytes] = []
        for entry, group_id, program_id, tries, data in zip(*[iter(answer)] * 5, strict=True):
            try:
                program = decode_source(data)
            except Malformed:
                malformed += [entry, group_id, program_id]
                continue
            if (program.group_id.encode(), program.id.encode()) != (group_id, program_id):
                malformed += [entry, group_id, program_id]
                continue
            claims.append(Claim(entry.decode(), program, int(tries)))
        if malformed:
            self._scripts.run("reject", "not a record of this schema when it was claimed", *malformed)
        return claims

    def renew(self, consumer: str, claims: Sequence[Claim]) -> list[Claim]:
        """Holds `claims` for another lease; returns those still held.

        The others have a verdict or another consumer by now.
        """
        if not claims:
            return []
        held = {entry.decode() for entry in self._scripts.run("renew", consumer, *[claim.entry for claim in claims])}
        return [claim for claim in claims if claim.entry in held]

    def ack(self, consumer: str, claim: Claim, feedback: Feedback) -> bool:
        """Stores the verdict; see `ack_many`."""
        return self.ack_many(consumer, [(claim, feedback)])[0]

    def ack_many(self, consumer: str, verdicts: Sequence[tuple[Claim, Feedback]]) -> list[bool]:
        """Stores verdicts with their programs and takes these out of the queue; True for each verdict that was the
        first.

        With its last verdict a group enters the online buffer (oldest groups are evicted if it is full) or the
        evaluation's results.
        """
        calls: list[Call] = []
        for first in range(0, len(verdicts), BATCH):
            arguments: list[str | bytes] = []
            for claim, feedback in verdicts[first : first + BATCH]:
                if not feedback.executor:
                    feedback = msgspec.structs.replace(feedback, executor=consumer)
                arguments += [claim.entry, claim.program.group_id, claim.program.id, encode(feedback)]
            calls.append(Call("ack", arguments))
        return [counted == 1 for answer in self._scripts.run_many(calls) for counted in answer]

    def nack(self, consumer: str, claim: Claim, reason: str, tried: bool = True) -> None:
        """Puts a claim back at the end of the queue after an infrastructure failure; the third failed try makes it a
        dead letter.

        `tried` False gives back what was never started, when a worker stops. Nothing happens to a claim no longer held.
        """
        self._scripts.run("nack", consumer, int(tried), reason, claim.entry, claim.program.group_id, claim.program.id)

    def requeue_consumer(self, consumer: str) -> int:
        """Gives back everything a dead consumer held, without waiting for the lease; one failed try each.

        Returns how much it was.

        A restarted worker calls it with its own name before its first claim; a supervisor calls it for a worker that
        will not return.
        """
        return int(self._scripts.run("requeue_consumer", consumer))

    def requeue_all(self) -> int:
        """Gives back everything that anybody holds; a part of `Flow.resume`, when no worker lives.

        Returns how much it was.
        """
        return int(self._scripts.run("requeue_all"))

    def length(self) -> int:
        """Programs that nobody has claimed; the bound `work_capacity` is on these."""
        return int(self._client.hget(self._keys.counts, "queued") or 0)

    def dead_letters(self, count: int = 100) -> list[DeadLetter]:
        """The newest programs that were given up, newest first; the last 1,000 are kept."""
        rows = self._client.lrange(self._keys.dead, 0, count - 1)
        decoded = [msgspec.msgpack.decode(row, type=tuple[str, str, str, str, float], strict=False) for row in rows]
        return [DeadLetter(pid, gid, fate, reason, time_ms / 1000) for pid, gid, fate, reason, time_ms in decoded]
