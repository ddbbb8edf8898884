"""Reads groups from Redis: their samples in the order in which the actor pushed them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from rltf.buffer.connection import DataLost
from rltf.buffer.keys import Keys
from rltf.buffer.lua import Scripts
from rltf.buffer.records import Archived, Fate, Group, Malformed, Program, Sample, decode_feedback, decode_parts, join

Fields = dict[bytes, bytes]

_names = msgspec.msgpack.Decoder(list[str])
_traces = msgspec.msgpack.Decoder(list[bytes])


def read_fields(client: Any, keys: Sequence[str | bytes]) -> list[Fields]:
    """The hashes at `keys`, in one round trip; an empty one where there is none."""
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.hgetall(key)
    return list(pipe.execute())


def members_of(fields: Fields) -> list[str]:
    """Program ids of the group."""
    return _names.decode(fields[b"members"])


def traces_of(fields: Fields, members: Sequence[str]) -> list[bytes]:
    """The encoded trace of each member; empty ones where they cannot be told apart."""
    try:
        traces = _traces.decode(fields.get(b"traces", b""))
    except msgspec.MsgspecError:
        traces = []
    return traces if len(traces) == len(members) else [b""] * len(members)


def read_groups(
    client: Any, scripts: Scripts, keys: Keys, group_ids: Sequence[str], check: Callable[[Program], None] | None = None
) -> list[Group]:
    """Complete groups, without members that are dead letters.

    A member that does not decode, or for which `check` raises Malformed, is left out and counted as malformed, with the
    reason.

    Raises DataLost when the samples of a group are not there.
    """
    groups: list[Group] = []
    spoiled: defaultdict[str, list[str]] = defaultdict(list)
    for group_id, fields in zip(
        group_ids, read_fields(client, [keys.group(group_id) for group_id in group_ids]), strict=True
    ):
        if not fields:
            raise DataLost(
                f"Redis at {scripts.where} has lost a part of the run's data: the samples of group {group_id}, which "
                "somebody deleted"
            )
        samples: list[Sample] = []
        greedy: Sample | None = None
        members = members_of(fields)
        for program_id, trace in zip(members, traces_of(fields, members), strict=True):
            name = program_id.encode()
            if fields.get(b"fate:" + name) in (b"dead_letter", b"malformed"):
                continue
            try:
                program = decode_parts(fields.get(b"source:" + name, b""), trace)
                if (program.id, program.group_id) != (program_id, group_id):
                    raise Malformed(f"{program_id} holds program {program.id} of group {program.group_id}")
                if check is not None:
                    check(program)
                sample = Sample(program=program, feedback=decode_feedback(fields.get(b"feedback:" + name, b"")))
            except Malformed as error:
                spoiled[str(error)] += [group_id, program_id]
                continue
            if program.greedy and greedy is None:
                greedy = sample
            else:
                samples.append(sample)
        groups.append(Group(id=group_id, problem_id=fields[b"problem"].decode(), samples=samples, greedy=greedy))
    for reason, programs in spoiled.items():
        scripts.run("mark_malformed", reason, *programs)
    return groups


def archived_of(key: bytes, fields: Fields) -> list[Archived]:
    """All members of a group in a form that the driver can write; `under_way` are those whose fate is not known."""
    group_id = key.decode().split(":group:", 1)[1]
    group_fate = fields.get(b"fate", b"").decode()
    step = int(fields[b"step"]) if b"step" in fields else None
    members = members_of(fields)
    rows = []
    for program_id, trace in zip(members, traces_of(fields, members), strict=True):
        name = program_id.encode()
        fate = fields.get(b"fate:" + name, b"").decode() or group_fate
        why = fields.get(b"why:" + name) or (b"" if fate else fields.get(b"used:" + name, b""))
        rows.append(
            Archived(
                id=program_id,
                group_id=group_id,
                problem_id=fields[b"problem"].decode(),
                fate=cast(Fate, fate or "under_way"),
                step=step,
                reason=why.decode(errors="replace"),
                program=join(fields.get(b"source:" + name, b""), trace),
                feedback=fields.get(b"feedback:" + name, b""),
            )
        )
    return rows
