"""Reads groups from Redis: their samples in the order in which the actor pushed them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from buffer.keys import Keys
from buffer.lua import Scripts
from buffer.records import Archived, Group, Malformed, Sample, decode_feedback, decode_program

Fields = dict[bytes, bytes]


def read_fields(client: Any, keys: Sequence[str | bytes]) -> list[Fields]:
    """The hashes at `keys`, in one round trip; an empty one where there is none."""
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.hgetall(key)
    return list(pipe.execute())


def members_of(fields: Fields) -> list[str]:
    """Program ids of the group."""
    return msgspec.msgpack.decode(fields[b"members"], type=list[str])


def read_groups(client: Any, scripts: Scripts, keys: Keys, group_ids: Sequence[str]) -> list[Group]:
    """Complete groups, without members that are dead letters; a member that does not decode is left out and counted as malformed."""
    groups: list[Group] = []
    spoiled: list[str] = []
    for group_id, fields in zip(group_ids, read_fields(client, [keys.group(group_id) for group_id in group_ids]), strict=True):
        if not fields:
            raise LookupError(f"group {group_id} is recorded, but its samples are not in Redis: something outside the flow deleted them")
        samples: list[Sample] = []
        for program_id in members_of(fields):
            name = program_id.encode()
            if fields.get(b"fate:" + name) in (b"dead_letter", b"malformed"):
                continue
            try:
                program = decode_program(fields.get(b"program:" + name, b""))
                samples.append(Sample(program=program, feedback=decode_feedback(fields.get(b"feedback:" + name, b""))))
            except Malformed:
                spoiled += [group_id, program_id]
        greedy = next((sample for sample in samples if sample.program.greedy), None)
        drawn = [sample for sample in samples if sample is not greedy]
        groups.append(Group(id=group_id, problem_id=fields[b"problem"].decode(), samples=drawn, greedy=greedy))
    if spoiled:
        scripts.run("spoil", "not a record of this schema when it was read", *spoiled)
    return groups


def archived_of(key: bytes, fields: Fields) -> list[Archived]:
    """All members of a group whose fate is known, in a form that the driver can write."""
    group_id = key.decode().split(":group:", 1)[1]
    group_fate = fields.get(b"fate", b"").decode()
    step = int(fields[b"step"]) if b"step" in fields else None
    rows = []
    for program_id in members_of(fields):
        name = program_id.encode()
        fate = fields.get(b"fate:" + name, b"").decode() or group_fate
        rows.append(
            msgspec.convert(
                {
                    "id": program_id,
                    "group_id": group_id,
                    "problem_id": fields[b"problem"].decode(),
                    "fate": fate,
                    "step": step,
                    "reason": fields.get(b"why:" + name, b"").decode(errors="replace"),
                    "program": fields.get(b"program:" + name, b""),
                    "feedback": fields.get(b"feedback:" + name, b""),
                },
                Archived,
            )
        )
    return rows
