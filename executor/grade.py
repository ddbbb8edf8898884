"""The command `grade`: programs from a file, verdicts into another. Uses the lanes of this machine directly."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.buffer.records import OUTCOMES, Feedback
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.problems.fields import mistakes
from rltf.problems.files import atomic_output, read_records
from rltf.problems.problem import Problem, ProblemSet, Skipped
from rltf.telemetry.console import counted, print_error, progress, warn

PROGRAMS_PER_LANE = 64
"""Programs judged between two writes."""
MAX_SHOWN = 10
_READ = ("problem_id", "code", "solution", "completion")
"""Fields of a line that are not written again; all others are, `task_id` too."""


@dataclass(slots=True)
class GradeRequest:
    """A line of the file."""

    place: str
    """Where it stands."""
    name: str | None
    """The problem's id as the file has it; None where it has none."""
    kept: dict[str, Any]
    """Its other fields."""
    problem: Problem | None = None
    program: str = ""
    reason: str = ""
    """Why it cannot be judged; empty where it can."""
    quarantined: bool = False


@dataclass
class Graded:
    """What became of a file of programs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unjudged: list[str] = field(default_factory=list)
    """A sentence for each line without a verdict, or one where there is no verdict at all."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Programs of quarantined problems, by problem id."""
    counts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    """By problem id: programs with a verdict, and those of them that pass."""
    seconds: float = 0.0

    def add(self, request: GradeRequest, result: Feedback | InfrastructureFailure | None) -> dict[str, Any]:
        """Counts a line; the row that is written of it."""
        if isinstance(result, Feedback) and request.problem is not None:
            self.outcomes[result.outcome] += 1
            samples = self.counts[request.problem.id]
            samples[0] += 1
            samples[1] += result.outcome == "pass"
            return request.kept | as_row(request.name or "", result)
        reason = request.reason if result is None else f"could not be judged: {getattr(result, 'reason', '')}"
        if request.quarantined:
            self.left_out[str(request.name)] += 1
        else:
            self.unjudged.append(f"{request.place}: {reason}")
        return request.kept | {"problem_id": request.name, "outcome": None, "reason": reason}


def grade_file(
    problems: ProblemSet,
    programs: Path,
    out: Path,
    judge: Judge,
    console: Console,
    also_read: Sequence[Path | None] = (),
) -> Graded:
    """Judges JSON lines (gzipped or not), which `requests` reads, and writes a line for each, in the same order.

    A line that is malformed, names no problem of the set or could not be judged has no verdict but the reason; it is
    named in the result and the rest goes on. `out` is replaced once all are judged. Raises UserError when a file cannot
    be read or written, or `out` is `programs` or one of the files `also_read`.
    """
    graded = Graded()
    start = time.monotonic()
    records = list(read_records(programs))
    lines = (request_of(problems, place, record) for place, record in records)
    with atomic_output(out, programs, *also_read) as file, progress(console, "judging", len(records)) as advance:
        while batch := list(islice(lines, PROGRAMS_PER_LANE * judge.lanes)):
            work = [(one.problem.suite, one.program) for one in batch if one.problem is not None]
            advance(len(batch) - len(work))
            results = iter(judge.grade(work, advance))
            for one in batch:
                row = graded.add(one, None if one.problem is None else next(results))
                file.write(json.dumps(row) + "\n")
            file.flush()
    if not graded.outcomes and not graded.unjudged:
        graded.unjudged.append(
            f"{programs}: no program was judged" + ("" if graded.left_out else ", the file holds none")
        )
    graded.seconds = time.monotonic() - start
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


def request_of(problems: ProblemSet, place: str, record: dict[str, Any] | Skipped) -> GradeRequest:
    """What a line asks for (`read_request`)."""
    request = read_request(problems.by_id, place, record)
    if request.problem is not None or request.reason:
        return request
    why = next((skipped.reason for skipped in reversed(problems.skipped) if skipped.id == request.name), "")
    request.quarantined = why.startswith("quarantined")
    unusable = f"no usable problem {request.name!r} in {problems.name}" + (f": {why}" if why else "")
    request.reason = why if request.quarantined else unusable
    return request


def read_request(problems: Mapping[str, Problem], place: str, record: dict[str, Any] | Skipped) -> GradeRequest:
    """What a line asks for: `{"problem_id": .., "code": ..}`, or a sample as HumanEval and EvalPlus have it.

    Those have `task_id` and `completion`, which goes behind the problem's starter code, or `solution`, which is whole.
    Neither a problem nor a reason where it names none of `problems`.
    """
    if isinstance(record, Skipped):
        return GradeRequest(place, None, {}, reason=record.reason)
    name = record.get("problem_id", record.get("task_id"))
    request = GradeRequest(place, None, {key: value for key, value in record.items() if key not in _READ})
    whole = next((record[key] for key in ("code", "solution") if isinstance(record.get(key), str)), None)
    rest = record.get("completion")
    usable = isinstance(name, str | int) and not isinstance(name, bool)
    request.name = str(name) if usable else None
    if not usable or not (isinstance(whole, str) or isinstance(rest, str)):
        request.reason = 'it needs "problem_id" and "code"'
        return request
    request.problem = problems.get(str(name)) or _by_folded_id(problems, str(name))
    if request.problem is not None:
        request.program = whole if isinstance(whole, str) else request.problem.starter_code + str(rest)
    return request


def _by_folded_id(problems: Mapping[str, Problem], name: str) -> Problem | None:
    """EvalPlus' samples call MBPP's problems `Mbpp/11`."""
    return problems.get(name.lower()) if "/" in name else None


def show(graded: Graded, problems: ProblemSet, judge: Judge, out: Path, console: Console) -> None:
    """Prints the outcomes."""
    total = sum(graded.outcomes.values())
    title = f"{counted(total, 'program')} judged in {graded.seconds:.1f} s, {judge.hits} of them duplicates"
    table = Table("outcome", "programs", "share", title=title)
    for outcome in OUTCOMES:
        table.add_row(outcome, str(graded.outcomes[outcome]), f"{graded.outcomes[outcome] / max(1, total):.3f}")
    console.print(table)
    console.print(f"verdicts are in {out}", markup=False)
    for sentence in mistakes(problems.unread):
        warn(sentence)


def show_left_out(graded: Graded) -> None:
    """Prints what has no verdict."""
    if graded.left_out:
        programs, problems_left = (
            counted(graded.left_out.total(), "program"),
            counted(len(graded.left_out), "quarantined problem"),
        )
        warn(f"left out: {programs} of {problems_left}")
    for sentence in graded.unjudged[:MAX_SHOWN]:
        print_error(sentence)
    if len(graded.unjudged) > MAX_SHOWN:
        print_error(f"and {len(graded.unjudged) - MAX_SHOWN} more")
