"""The command `replay RUN`: every recorded program judged again, on this machine.

Needs neither Ray nor torch, and no Redis server.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from rich.console import Console

from rltf.buffer.records import Feedback, Sample
from rltf.config import Config, UserError, run_files
from rltf.driver.resume import code_of
from rltf.executor.checkers import require_checkers
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.responses import judged
from rltf.monitor.run_record import RunRecord
from rltf.monitor.samples import kept_rows
from rltf.problems import Problem, TestSuite, load_problem_split
from rltf.problems.files import atomic_output, or_user_error
from rltf.telemetry.console import print_error, progress

PROGRAMS_PER_LANE = 64
"""Programs judged between two writes."""
MAX_SHOWN = 10


@dataclass
class Regraded:
    """What came of it, in programs."""

    recorded: int = 0
    same: int = 0
    different: int = 0
    without_verdict: int = 0
    """In the record without one: dead letters and malformed ones."""
    dropped: int = 0
    """No longer in the record: `run.samples_gb` was reached."""
    damage: list[str] = field(default_factory=list)
    """A sentence for what of the record could not be read."""
    unjudged: Counter[str] = field(default_factory=Counter)
    """By the reason why they could not be judged again."""
    executors: Counter[str] = field(default_factory=Counter)
    """By the version of the executor that judged them then."""
    seconds: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether there are verdicts in the record, and every one was found again."""
        return bool(self.same) and not self.different and not self.unjudged and not self.damage


def regrade(folder: RunRecord, config: Config, lanes: int, console: Console) -> Regraded:
    """Judges every recorded program with the limits that it was judged under, by the problems that `config` names.

    Verdicts that differ go to replay/differing.jsonl, the numbers to replay/regraded.json, both in the run's folder. A
    verdict is outcome, error type and line, and outcome and error type of each test; messages and seconds are not
    compared. Raises UserError when the problems cannot be read or the folder not be written,
    executor.protocol.LaneFailure when nothing can be judged here.
    """
    if next(folder.samples(), None) is None and not folder.damage():
        raise UserError(
            f"{folder.path / run_files.SAMPLES} keeps no program of this run{_why_none(folder)}: there is "
            "nothing to judge again"
        )
    console.print("Reading problems ...")
    code_of(config, folder.path).install()
    sets = load_problem_split(config.problems, config.run.seed, config.evaluation.specs, must_match=False)
    problems = {problem.id: problem for part in sets.parts for problem in part}
    require_checkers(problems.values())
    found = Regraded(dropped=folder.dropped_samples)
    start = time.monotonic()
    out = folder.path / run_files.REPLAY
    with or_user_error(out):
        out.mkdir(exist_ok=True)
    with (
        atomic_output(out / "regraded.json") as numbers,
        atomic_output(out / "differing.jsonl") as differing,
        Judge.from_config(config.executor, lanes) as judge,
        progress(console, "judging", kept_rows(folder.path / run_files.SAMPLES)) as advance,
    ):
        work = _work(folder, problems, found)
        while batch := list(islice(work, PROGRAMS_PER_LANE * judge.lanes)):
            responses = [(suite, sample.program) for sample, suite in batch]
            for index, now in judged(judge, responses, config.executor):
                advance(1)
                sample = batch[index][0]
                if isinstance(now, InfrastructureFailure):
                    found.unjudged[f"they could not be judged: {now.reason}"] += 1
                elif verdict(now) == verdict(sample.feedback):
                    found.same += 1
                else:
                    found.different += 1
                    differing.write(json.dumps(_difference(sample, now)) + "\n")
        found.seconds = time.monotonic() - start
        found.damage = folder.damage()
        numbers.write(json.dumps(vars(found), indent=1) + "\n")
    return found


def _why_none(folder: RunRecord) -> str:
    """In words that follow on "keeps no program of this run"."""
    if dropped := folder.dropped_samples:
        return f" any more ({dropped:,} were deleted, which run.samples_gb bounds)"
    return " (none had its verdict when it ended, or the folder was deleted)"


def verdict(feedback: Feedback) -> dict[str, Any]:
    """What two gradings of a program have to agree about."""
    return {
        "outcome": feedback.outcome,
        "error_type": feedback.error_type,
        "line": feedback.line,
        "passed": feedback.passed,
        "run": feedback.run,
        "tests": [[test.outcome, test.error_type] for test in feedback.tests],
    }


def show(found: Regraded, folder: RunRecord, console: Console) -> None:
    """Prints the numbers, and what is wrong last."""
    judged = found.same + found.different
    console.print(
        f"{found.recorded:,} recorded programs, {judged:,} judged again in {found.seconds:.1f} s", markup=False
    )
    for version, number in found.executors.most_common():
        console.print(f"  {number:,} were judged by executor {version}", markup=False)
    for number, words in (
        (found.without_verdict, "have no verdict to compare with"),
        (found.dropped, "are no longer in the record"),
    ):
        if number:
            console.print(f"  {number:,} {words}", markup=False)
    for reason, number in found.unjudged.most_common(MAX_SHOWN):
        print_error(f"{number:,} programs could not be compared: {reason}")
    for sentence in found.damage:
        print_error(sentence)
    file = folder.path / run_files.REPLAY / "differing.jsonl"
    if found.different:
        print_error(f"replay failed: {found.different:,} verdicts differ; they are in {file}")
    elif found.unjudged:
        print_error(f"replay failed: {found.unjudged.total():,} programs could not be judged again")
    elif found.damage:
        print_error(f"replay failed: {found.same:,} verdicts are the same, others are lost")
    elif not found.same:
        print_error("replay failed: no recorded program has a verdict to compare with")
    else:
        console.print(f"all {found.same:,} verdicts are the same", style="green", markup=False)


def _work(folder: RunRecord, problems: dict[str, Problem], found: Regraded) -> Iterator[tuple[Sample, TestSuite]]:
    """Samples that can be judged again, with their tests under the limits of then; the others are counted."""
    suites: dict[tuple[str, float, int], TestSuite] = {}
    hashes: dict[str, str] = {}
    for kept in folder.samples():
        found.recorded += 1
        sample = kept.sample
        if sample is None:
            found.without_verdict += 1
            continue
        problem, feedback = problems.get(kept.problem_id), sample.feedback
        if problem is None:
            found.unjudged[f"problem {kept.problem_id} is not among the problems any more"] += 1
            continue
        if problem.id not in hashes:
            hashes[problem.id] = problem.suite.content_hash
        if hashes[problem.id] != feedback.problem_hash:
            found.unjudged[f"the tests of problem {problem.id} are not those that it was judged by"] += 1
            continue
        found.executors[feedback.executor_version] += 1
        key = (problem.id, feedback.time_limit_s, feedback.memory_limit_mb)
        if key not in suites:
            suites[key] = replace(
                problem.suite, time_limit_s=feedback.time_limit_s, memory_limit_mb=feedback.memory_limit_mb
            )
        yield sample, suites[key]


def _difference(sample: Sample, now: Feedback) -> dict[str, Any]:
    program, then = sample.program, sample.feedback
    return {
        "id": program.id,
        "problem_id": program.problem_id,
        "recorded": verdict(then) | {"message": then.message, "cpu_s": then.cpu_s, "executor": then.executor_version},
        "now": verdict(now) | {"message": now.message, "cpu_s": now.cpu_s, "executor": now.executor_version},
        "text": program.code,
    }
