"""Programs made elsewhere, judged for `evaluate --from-samples`.

Needs neither Ray nor torch, and no Redis server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from rltf.buffer.columns import Floats, Ints
from rltf.buffer.records import Archived, Program, VersionRun, encode
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.monitor.run_folder import RunFolder
from rltf.problems import Problem, Skipped
from rltf.problems.files import read_records
from rltf.telemetry.console import progress

PROGRAMS_PER_LANE = 64
"""Programs judged between two writes."""
NAMES = (("problem_id", "code"), ("task_id", "solution"))
"""Keys of a line: those of `grade`, and those of EvalPlus."""
FORM = " or ".join(f'{{"{name}": .., "{code}": ..}}' for name, code in NAMES)


@dataclass
class Judged:
    """What became of a file of programs."""

    asked: Counter[str] = field(default_factory=Counter)
    """Programs of the file by problem id."""
    refused: list[str] = field(default_factory=list)
    """A sentence for each line that is no program of a problem."""
    failures: list[str] = field(default_factory=list)
    """A sentence for each program that could not be judged."""


def judge_samples(
    file: Path, problems: Mapping[str, Problem], folder: RunFolder, judge: Judge, console: Console
) -> Judged:
    """Judges the programs of a file of JSON lines, gzipped or not, that the folder has no verdict of yet.

    Each is known by its problem and its place among the programs of that problem. Raises UserError when the file cannot
    be read.
    """
    judged = Judged()
    records = list(read_records(file))
    known = {row.id for row in folder.samples()}
    work = _work(records, problems, judged)
    with progress(console, "judging", len(records)) as advance:
        while batch := list(islice(work, PROGRAMS_PER_LANE * judge.lanes)):
            left = [(problem, program) for problem, program in batch if program.id not in known]
            advance(len(batch) - len(left))
            results = judge.grade([(problem.suite, program.text) for problem, program in left], advance)
            rows = []
            for (_, program), result in zip(left, results, strict=True):
                if isinstance(result, InfrastructureFailure):
                    judged.failures.append(f"program {program.id} could not be judged: {result.reason}")
                else:
                    rows.append(_row(program, encode(result)))
            folder.add_samples(rows)
    return judged


def _work(
    records: list[tuple[str, dict[str, Any] | Skipped]], problems: Mapping[str, Problem], judged: Judged
) -> Iterator[tuple[Problem, Program]]:
    for place, record in records:
        if isinstance(record, Skipped):
            judged.refused.append(f"{place}: {record.reason}")
            continue
        name, code = next(
            ((record[name], record[code]) for name, code in NAMES if name in record and code in record), (None, None)
        )
        if not isinstance(name, str | int) or isinstance(name, bool) or not isinstance(code, str):
            judged.refused.append(f"{place}: it is no {FORM}")
        elif (problem := problems.get(str(name))) is None:
            judged.refused.append(f"{place}: no usable problem {name!r} is in --problems")
        else:
            number = judged.asked[problem.id]
            judged.asked[problem.id] += 1
            yield problem, _program(problem.id, number, code)


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
