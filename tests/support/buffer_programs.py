"""Programs and the moves that buffer tests make with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rltf.buffer.flow import Flow
from rltf.buffer.groups import members_of, traces_of
from rltf.buffer.keys import Keys
from rltf.buffer.records import Feedback, Group, Program, VersionRun, decode_parts
from rltf.buffer.work_queue import Claim

PASS = Feedback(outcome="pass", passed=1, run=1)


def program(group: str, number: int, version: int = 0, **fields: Any) -> Program:
    """Program `number` of `group`; ids are group.number."""
    given: dict[str, Any] = {
        "id": f"{group}.{number}",
        "problem_id": f"problem of {group}",
        "group_id": group,
        "prompt_ids": [1, 2],
        "token_ids": [3, 4],
        "log_probs": [-0.5, -0.25],
        "versions": [VersionRun(version, 0)],
        "finish_reason": "stop",
        "temperature": 1.0,
        "top_p": 1.0,
        "text": "print(1)",
        "offsets": [0, 5],
    }
    return Program(**(given | fields))


def group_of(name: str, size: int = 2, version: int = 0, greedy: bool = False, **fields: Any) -> list[Program]:
    """A visit: `size` sampled programs and perhaps a greedy one."""
    programs = [program(name, number, version, **fields) for number in range(size)]
    return programs + ([program(name, size, version, greedy=True, **fields)] if greedy else [])


def grade_all(flow: Flow, consumer: str = "executor-0") -> int:
    """Hands over a pass for everything that can be claimed."""
    graded = 0
    while claims := flow.work.claim(consumer, 16):
        graded += sum(flow.work.ack_many(consumer, [(claim, PASS) for claim in claims]))
    return graded


def whole(flow: Flow, claims: Sequence[Claim]) -> list[Program]:
    """What was claimed with its traces, which no executor is given."""
    programs = []
    for claim in claims:
        source = claim.program
        fields = flow.client.hgetall(Keys(flow.address.run, source.purpose).group(source.group_id))
        members = members_of(fields)
        trace = traces_of(fields, members)[members.index(source.id)]
        programs.append(decode_parts(fields[b"source:" + source.id.encode()], trace))
    return programs


def buffered(flow: Flow, *names: str, version: int = 0, size: int = 2) -> None:
    """Brings groups into the online buffer, in this order."""
    for name in names:
        assert flow.work.push(group_of(name, size, version))
        grade_all(flow)


def names(groups: list[Group] | None) -> list[str]:
    """Ids of drawn groups."""
    assert groups is not None
    return [group.id for group in groups]


def fates(groups: list[Group], fate: Any = "trained") -> dict[str, Any]:
    """The same fate for every sample, baseline for greedy ones."""
    given = {sample.program.id: fate for group in groups for sample in group.samples}
    return given | {group.greedy.program.id: "baseline" for group in groups if group.greedy}


def places(flow: Flow) -> dict[str, int]:
    """The ledger without its zeros, after checking it."""
    assert flow.ledger.check() is None
    return {name: value for name, value in flow.ledger.counts().items() if value}
