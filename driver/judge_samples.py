"""Programs made elsewhere, judged for `evaluate --from-samples`.

Needs neither Ray nor torch, and no Redis server.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from rltf.buffer.columns import Floats, Ints
from rltf.buffer.records import Archived, Program, VersionRun, encode
from rltf.config import UserError
from rltf.executor.grade import read_request
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.monitor.run_folder import RunFolder
from rltf.problems import Problem, Skipped
from rltf.problems.fences import blocks_of
from rltf.problems.files import read_records
from rltf.telemetry.console import progress

PROGRAMS_PER_LANE = 64
"""Programs judged between two writes."""


@dataclass
class Judged:
    """What became of a file of programs."""

    asked: Counter[str] = field(default_factory=Counter)
    """Programs of the file by problem id."""
    refused: list[str] = field(default_factory=list)
    """A sentence for each line that is no program of a problem."""
    failures: list[str] = field(default_factory=list)
    """A sentence for each program that could not be judged."""
    fenced: list[str] = field(default_factory=list)
    """Programs that do not compile and hold a fenced block of code, as a model's replies do."""


def judge_samples(
    file: Path, problems: Mapping[str, Problem], folder: RunFolder, judge: Judge, console: Console
) -> Judged:
    """Judges the programs of a file of JSON lines (`executor.grade.read_request`), gzipped or not, that the folder has
    no verdict of yet.

    Each is known by its problem and its place among the programs of that problem. Raises UserError when the file cannot
    be read, or the folder has another program in a place.
    """
    judged = Judged()
    records = list(read_records(file))
    known = {row.id: _digest(row.sample.program.text) for row in folder.samples() if row.sample is not None}
    work = _work(records, problems, judged)
    with progress(console, "judging", len(records)) as advance:
        while batch := list(islice(work, PROGRAMS_PER_LANE * judge.lanes)):
            left = [(problem, program) for problem, program in batch if program.id not in known]
            for _, program in batch:
                if known.get(program.id, found := _digest(program.text)) != found:
                    raise UserError(
                        f"{folder.path} holds the verdict of another program as {program.id}, so {file} has changed "
                        "since: name another --out"
                    )
            advance(len(batch) - len(left))
            results = judge.grade([(problem.suite, program.text) for problem, program in left], advance)
            rows = []
            for (_, program), result in zip(left, results, strict=True):
                if isinstance(result, InfrastructureFailure):
                    judged.failures.append(f"program {program.id} could not be judged: {result.reason}")
                else:
                    rows.append(_row(program, encode(result)))
                    if result.outcome == "compile_error" and blocks_of(program.text):
                        judged.fenced.append(program.id)
            folder.add_samples(rows)
    return judged


def _work(
    records: list[tuple[str, dict[str, Any] | Skipped]], problems: Mapping[str, Problem], judged: Judged
) -> Iterator[tuple[Problem, Program]]:
    for place, record in records:
        request = read_request(problems, place, record)
        if (problem := request.problem) is None:
            reason = request.reason or f"no usable problem {request.name!r} is in --problems"
            judged.refused.append(f"{place}: {reason}")
            continue
        number = judged.asked[problem.id]
        judged.asked[problem.id] += 1
        yield problem, _program(problem.id, number, request.program)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _program(problem_id: str, number: int, code: str) -> Program:
    return Program(
        id=f"{problem_id}/{number}",
        problem_id=problem_id,
        group_id=problem_id,
        purpose="evaluation",
        label="samples",
        prompt_ids=Ints(),
        token_ids=Ints(),
        log_probs=Floats(),
        versions=[VersionRun(0, 0)],
        finish_reason="stop",
        temperature=1.0,
        top_p=1.0,
        text=code,
        offsets=Ints(),
    )


def _row(program: Program, feedback: bytes) -> Archived:
    return Archived(
        id=program.id,
        group_id=program.group_id,
        problem_id=program.problem_id,
        fate="evaluated",
        program=encode(program),
        feedback=feedback,
    )
