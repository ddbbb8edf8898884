"""The command `grade`: programs from a file, verdicts into another. Uses the lanes of this machine directly."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.buffer.records import Feedback
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.problems.fields import mistakes
from rltf.problems.files import atomic_output, read_records
from rltf.problems.problem import Problem, ProblemSet, Skipped
from rltf.telemetry.console import counted, print_error, progress, warn

PROGRAMS_PER_LANE = 64
"""Programs judged between two writes."""
MAX_SHOWN = 10

GradeRequest = tuple[str, Problem, str, str]
"""Place in the file, problem, its id as the file has it, program."""


@dataclass
class Graded:
    """What became of a file of programs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unjudged: list[str] = field(default_factory=list)
    """A sentence for each line without a verdict, or one where there is no verdict at all."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Programs of quarantined problems, by problem id."""


def grade_file(
    problems: ProblemSet,
    programs: Path,
    out: Path,
    judge: Judge,
    console: Console,
    also_read: Sequence[Path | None] = (),
) -> Graded:
    """Judges JSON lines `{"problem_id": .., "code": ..}` (gzipped or not) and writes a line for each verdict, in the
    same order.

    A line that is malformed, names no problem of the set or could not be judged has no verdict; it is named in the
    result and the rest goes on. `out` is replaced once all are judged. Raises UserError when a file cannot be read or
    written, or `out` is `programs` or one of the files `also_read`.
    """
    graded = Graded()
    start = time.monotonic()
    records = list(read_records(programs))
    lines = _lines(problems, records, graded)
    with atomic_output(out, programs, *also_read) as file, progress(console, "judging", len(records)) as advance:
        while batch := list(islice(lines, PROGRAMS_PER_LANE * judge.lanes)):
            results = judge.grade([(problem.suite, code) for _, problem, _, code in batch], advance)
            for (place, _, name, _), result in zip(batch, results, strict=True):
                if isinstance(result, InfrastructureFailure):
                    graded.unjudged.append(f"{place}: could not be judged: {result.reason}")
                else:
                    graded.outcomes[result.outcome] += 1
                    file.write(json.dumps(as_row(name, result)) + "\n")
            file.flush()
    if not graded.outcomes and not graded.unjudged:
        graded.unjudged.append(
            f"{programs}: no program was judged" + ("" if graded.left_out else ", the file holds none")
        )
    show(graded, problems, judge, time.monotonic() - start, out, console)
    return graded


def as_row(problem_id: str, feedback: Feedback) -> dict[str, Any]:
    """A verdict as `grade` writes it."""
    return {
        "problem_id": problem_id,
        "outcome": feedback.outcome,
        "error_type": feedback.error_type,
        "line": feedback.line,
        "message": feedback.message,
        "passed": feedback.passed,
        "total": len(feedback.tests),
        "tests": [{"outcome": test.outcome, "cpu_s": round(test.cpu_s, 6)} for test in feedback.tests],
        "cpu_s": round(feedback.cpu_s, 6),
        "wall_s": round(feedback.wall_s, 6),
        "memory_mb": round(feedback.memory_mb, 1),
    }


def _lines(
    problems: ProblemSet, records: Iterable[tuple[str, dict[str, Any] | Skipped]], graded: Graded
) -> Iterator[GradeRequest]:
    quarantined = {skipped.id: skipped.reason for skipped in problems.skipped}
    for place, record in records:
        if isinstance(record, Skipped):
            graded.unjudged.append(f"{place}: {record.reason}")
            continue
        name, code = record.get("problem_id"), record.get("code")
        if not isinstance(name, str | int) or isinstance(name, bool) or not isinstance(code, str):
            graded.unjudged.append(f'{place}: it needs "problem_id" and "code"')
            continue
        problem = problems.by_id.get(str(name))
        if problem is not None:
            yield place, problem, name if isinstance(name, str) else str(name), code
        elif quarantined.get(str(name), "").startswith("quarantined"):
            graded.left_out[str(name)] += 1
        else:
            reason = f": {quarantined[str(name)]}" if str(name) in quarantined else ""
            graded.unjudged.append(f"{place}: no usable problem {name!r} in {problems.name}{reason}")


def show(graded: Graded, problems: ProblemSet, judge: Judge, seconds: float, out: Path, console: Console) -> None:
    """Prints the outcomes, and the lines without a verdict last."""
    total = sum(graded.outcomes.values())
    title = f"{counted(total, 'program')} judged in {seconds:.1f} s, {judge.hits} of them duplicates"
    table = Table("outcome", "programs", "share", title=title)
    for outcome in ("pass", "failure", "runtime_error", "compile_error"):
        table.add_row(outcome, str(graded.outcomes[outcome]), f"{graded.outcomes[outcome] / max(1, total):.3f}")
    console.print(table)
    console.print(f"verdicts are in {out}", markup=False)
    if graded.left_out:
        programs, problems_left = (
            counted(graded.left_out.total(), "program"),
            counted(len(graded.left_out), "quarantined problem"),
        )
        warn(f"left out: {programs} of {problems_left}")
    for sentence in mistakes(problems.unread):
        warn(sentence)
    for sentence in graded.unjudged[:MAX_SHOWN]:
        print_error(sentence)
    if len(graded.unjudged) > MAX_SHOWN:
        print_error(f"and {len(graded.unjudged) - MAX_SHOWN} more")
