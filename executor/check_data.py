"""The command `check-data`: what is wrong with a data set's problems, and how much time its tests need.

A record that could not be loaded is told with the reason, and so is a field that nobody reads. Every reference solution
runs twice: once with a lane per core, then with four per core and another hash seed. A program that solves nothing must
not pass. CPU limits are calibrated from the references that pass.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig
from rltf.executor.grading import EXECUTOR_VERSION
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.protocol import LaneFailure
from rltf.executor.suites import ReadySuite, make_ready
from rltf.executor.trivial_programs import TrivialProgram, could_pass, trivial_programs
from rltf.problems.fields import foreign, hinted, mistakes
from rltf.problems.files import OutputFile
from rltf.problems.problem import Problem, ProblemSet, Skipped, TestSuite
from rltf.problems.quarantine import ProblemCheck, Status
from rltf.telemetry.console import counted, progress, warn

FACTOR, MIN_LIMIT_S = 10.0, 0.1
"""A test may use so many times what the slowest reference needs, and at least so much: calibrated = max(least, factor x
slowest)."""
TIGHT = 0.5
"""A limit of which a reference needs more than this share is too tight."""
LONGER = 5.0
"""A reference that runs into the limit is given so many times as much, once, to say what it needs."""
LOAD = 4
"""Lanes per core in the second run."""
OTHER_HASH_SEED = 1
MAX_NAMED, MAX_SHOWN = 3, 10


@dataclass
class _Findings:
    """One problem's."""

    problem: Problem
    ready: ReadySuite | None = None
    unusable: str = ""
    """Why there is no ready suite."""
    first: list[Feedback] = field(default_factory=list)
    second: list[Feedback] = field(default_factory=list)
    longer: list[Feedback] = field(default_factory=list)
    """With more time, of the references that all ran into the limit."""
    passing: list[str] = field(default_factory=list)
    """Programs that solve nothing and pass."""
    bad: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def limit_s(self) -> float:
        """The limit in force when it was checked."""
        return self.first[0].time_limit_s


def check_data(problems: ProblemSet, config: ExecutorConfig, lanes: int, console: Console) -> list[ProblemCheck]:
    """Checks every problem, in the order of the set, then come the records that could not be loaded.

    What is being done, and how long it will take, goes to the console.

    Raises LaneFailure when the sandbox does not start, or a program could not be judged twice in a row: that says
    nothing of the data.
    """
    unread = {one.id: one.fields for one in problems.unread}
    found = [_begun(problem, hinted(unread.get(problem.id, {}))) for problem in problems]
    _run(found, config, lanes, console)
    return [_concluded(one) for one in found] + [_not_loaded(skipped) for skipped in problems.skipped]


def _run(found: Sequence[_Findings], config: ExecutorConfig, lanes: int, console: Console) -> None:
    """Runs the references, and the programs that solve nothing, of the problems whose tests can be used."""
    usable = [one for one in found if one.ready is not None]
    if not usable:
        return
    references = [(one, program) for one in usable for program in one.problem.solutions]
    with Judge.from_config(config, lanes) as judge:
        doing = (
            f"{counted(len(references), 'reference solution')} of {counted(len(found), 'problem')}, {lanes} at a time"
        )
        for (one, _), feedback in zip(references, _graded(judge, references, doing, console), strict=True):
            one.first.append(feedback)
        tried = [
            (one, constant)
            for one in usable
            for constant in trivial_programs(_ready(one))
            if could_pass(_ready(one), constant)
        ]
        _run_constants(judge, tried, console)
        late = [
            one for one in usable if one.first and all(feedback.error_type == "TimeLimit" for feedback in one.first)
        ]
        if late:
            _run_longer(judge, late, console)
    with Judge.from_config(config, LOAD * lanes, OTHER_HASH_SEED) as judge:
        doing = f"the references again, {LOAD * lanes} at a time and with another hash seed"
        for (one, _), feedback in zip(references, _graded(judge, references, doing, console), strict=True):
            one.second.append(feedback)


def _begun(problem: Problem, remarks: list[str]) -> _Findings:
    try:
        return _Findings(problem, ready=make_ready(problem.suite), remarks=remarks)
    except ValueError as error:
        return _Findings(problem, unusable=str(error), remarks=remarks)


def _not_loaded(skipped: Skipped) -> ProblemCheck:
    reason = f"{skipped.place}: {skipped.reason}" if skipped.place else skipped.reason
    return ProblemCheck(skipped.id, "", "skipped", (reason,), None, EXECUTOR_VERSION)


def is_fit_for_training(problems: ProblemSet, checked: Sequence[ProblemCheck], strict: bool) -> bool:
    """Whether every record could be loaded and a problem is fit for training; `strict`: all are, and no field is likely
    to be misnamed.
    """
    statuses = Counter(one.status for one in checked)
    if statuses["skipped"] or statuses["quarantined"] == len(checked):
        return False
    return not (strict and (statuses["quarantined"] or mistakes(problems.unread)))


def _ready(one: _Findings) -> ReadySuite:
    assert one.ready is not None
    return one.ready


def _judged(
    judge: Judge, work: Sequence[tuple[TestSuite, str]], doing: str, console: Console
) -> list[Feedback | InfrastructureFailure]:
    """Verdicts in the order of `work`; says what is done and shows how far it is."""
    console.print(doing, markup=False)
    with progress(console, "judging", len(work)) as advance:
        return judge.grade(work, advance)


def _graded(judge: Judge, work: Sequence[tuple[_Findings, str]], doing: str, console: Console) -> list[Feedback]:
    """Raises LaneFailure when a program could not be judged."""
    results = _judged(judge, [(one.problem.suite, program) for one, program in work], doing, console)
    for (one, _), result in zip(work, results, strict=True):
        if not isinstance(result, Feedback):
            raise LaneFailure(f"a program for {one.problem.id} could not be judged: {result.reason}")
    return [result for result in results if isinstance(result, Feedback)]


def _run_constants(judge: Judge, tried: list[tuple[_Findings, TrivialProgram]], console: Console) -> None:
    work = [(one, constant.program) for one, constant in tried]
    doing = f"{counted(len(tried), 'program')} that solve{'s' if len(tried) == 1 else ''} nothing"
    for (one, constant), feedback in zip(tried, _graded(judge, work, doing, console), strict=True):
        if feedback.outcome == "pass":
            one.passing.append(constant.shown)


def _run_longer(judge: Judge, late: list[_Findings], console: Console) -> None:
    longer = {id(one): replace(one.problem.suite, time_limit_s=LONGER * one.limit_s) for one in late}
    work = [(one, program) for one in late for program in one.problem.solutions]
    doing = f"{counted(len(late), 'problem')} whose references all run into the limit, with more time"
    results = _judged(judge, [(longer[id(one)], program) for one, program in work], doing, console)
    for (one, _), result in zip(work, results, strict=True):
        if isinstance(result, Feedback):
            one.longer.append(result)


def _concluded(one: _Findings) -> ProblemCheck:
    """Status and reasons from what was found."""
    problem = one.problem
    limit: float | None = None
    if one.ready is None:
        one.bad.append("its tests cannot be used: " + one.unusable)
    elif not problem.solutions:
        one.remarks.append("it has no reference solution: only programs that solve nothing were tried")
    else:
        limit = _judge_references(one)
    if one.passing:
        one.bad.append(f"{' and '.join(one.passing[:MAX_NAMED])} {'passes' if len(one.passing) == 1 else 'pass'}")
    status: Status = "quarantined" if one.bad else "warned" if one.remarks else "ok"
    version = one.first[0].executor_version if one.first else EXECUTOR_VERSION
    return ProblemCheck(problem.id, problem.suite.content_hash, status, (*one.bad, *one.remarks), limit, version)


def _judge_references(one: _Findings) -> float | None:
    """Adds what the references' runs say; the calibrated limit, None where no reference passes."""
    total = len(one.first)
    passed = [feedback for feedback in one.first if feedback.outcome == "pass"]
    failed = [
        f"#{number} {_described(feedback)}"
        for number, feedback in enumerate(one.first, 1)
        if feedback.outcome != "pass"
    ]
    if one.longer:
        needed = [max(test.cpu_s for test in feedback.tests) for feedback in one.longer if feedback.outcome == "pass"]
        needs = f"{min(needed):.2g} s are needed" if needed else f"{LONGER:g} times as much is not enough"
        one.bad.append(f"too slow: no reference ends within {one.limit_s:g} s of CPU time per test, {needs}")
    elif not passed:
        one.bad.append(f"no reference passes ({total} tried): " + "; ".join(failed[:MAX_NAMED]))
    elif failed:
        one.remarks.append(f"{len(failed)} of {total} references fail: " + "; ".join(failed[:MAX_NAMED]))
    unlike = [
        f"#{number} {_described(first)}, then {_described(second)}"
        for number, (first, second) in enumerate(zip(one.first, one.second, strict=True), 1)
        if [test.outcome for test in first.tests] != [test.outcome for test in second.tests]
    ]
    if unlike:
        one.bad.append(
            f"flaky: {len(unlike)} of {total} references not the same twice: " + "; ".join(unlike[:MAX_NAMED])
        )
    if not passed:
        return None
    slowest = max(test.cpu_s for feedback in passed for test in feedback.tests)
    if slowest > TIGHT * one.limit_s:
        one.remarks.append(
            f"limit too tight: the slowest reference needs {slowest:.2g} of {one.limit_s:g} s of CPU time per test"
        )
    return min(one.limit_s, max(MIN_LIMIT_S, math.ceil(100 * FACTOR * slowest) / 100))


def _described(feedback: Feedback) -> str:
    if feedback.outcome == "pass":
        return "pass"
    place = next((number for number, test in enumerate(feedback.tests, 1) if test.outcome == feedback.outcome), 0)
    where = f" at line {feedback.line}" if feedback.line else ""
    message = f" ({feedback.message[:80]})" if feedback.message else ""
    return f"{feedback.error_type or feedback.outcome} in test {place}{where}{message}"


def write(checked: Sequence[ProblemCheck], file: OutputFile) -> None:
    """One line per problem. Raises UserError when the file cannot be written."""
    for one in checked:
        file.write(one.to_json() + "\n")


def show(problems: ProblemSet, checked: Sequence[ProblemCheck], out: Path, console: Console) -> None:
    """Prints how many of what, the problems that are quarantined and the records that could not be loaded, and the
    fields not read.
    """
    bad = [one for one in checked if one.status == "quarantined"]
    kinds = Counter(one.reasons[0].partition(":")[0].partition(" (")[0] for one in bad)
    counts = Counter(one.status for one in checked)
    limits = sorted(one.cpu_limit_s for one in checked if one.cpu_limit_s is not None)
    table = Table("", "problems", title=problems.name)
    for status in ("ok", "warned", "quarantined"):
        table.add_row(status, str(counts[status]))
    for kind, count in kinds.most_common(8):
        table.add_row(f"  {kind}", str(count))
    if problems.skipped:
        table.add_row("could not be loaded", str(len(problems.skipped)))
    console.print(table)
    if limits:
        console.print(
            f"calibrated CPU limits per test: median {limits[len(limits) // 2]:g} s, largest {limits[-1]:g} s"
        )
    _show_first([f"{one.problem_id}: {'; '.join(one.reasons)}" for one in bad], "quarantined", console)
    _show_first([str(skipped) for skipped in problems.skipped], "not loaded", console)
    for sentence in mistakes(problems.unread):
        warn(sentence)
    if others := foreign(problems.unread):
        console.print(f"fields that are not read: {others}", markup=False)
    console.print(
        f"written to {out}; --problems.checked {out} makes training, evaluation and grading honour it", markup=False
    )


def _show_first(sentences: Sequence[str], status: str, console: Console) -> None:
    for sentence in sentences[:MAX_SHOWN]:
        console.print(sentence[:300], markup=False)
    if len(sentences) > MAX_SHOWN:
        console.print(f"and {len(sentences) - MAX_SHOWN} more {status}", markup=False)
