"""One program against one suite, on one lane: runs, confirms, labels.

All tests of a program share one process. Two rules keep that from changing a verdict. A program that visibly changes
what tests share (`executor.state_leaks`) gets a process per test. Of any other the first test that fails, unless it
is the very first, is run again alone; if the verdict changes, state leaked from one test to the next, and each test
gets a process of its own.

A test's limit is CPU time. It is ended a little above its limit, and one that ends in between is run once more, alone
and with nothing added, before it counts as too slow: clocks and caches of a busy machine are not the program's doing.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rltf.buffer.records import Feedback, TestResult
from rltf.executor import protocol
from rltf.executor.labels import (
    NOT_RUN,
    Report,
    Verdict,
    read_record,
    runtime_error,
    starts_to_spans,
    too_slow,
    verdict_of_death,
    verdict_of_tester,
)
from rltf.executor.lane import Lane, ProcessExit
from rltf.executor.protocol import Request
from rltf.executor.state_leaks import may_leak_state, mutates_shared_state
from rltf.executor.suites import MAX_RECORD_BYTES, ReadySuite

if TYPE_CHECKING:
    from rltf.executor.special_judge import SpecialJudge  # which grades checkers, with what is below

EXECUTOR_VERSION = "4"
MAX_PROCESSES = 64
STACK_BYTES = 512 << 20
"""Address space on top, of a program that asks for threads with large stacks: they are reserved, and hardly used."""
GRACE_SHARE, MAX_GRACE_S = 0.25, 1.0
"""A test is ended when it has used so much more CPU time than its limit: this share of it, at most so many seconds."""
UNACCOUNTED_SHARE, UNACCOUNTED_S = 0.25, 0.1
"""CPU time that a process used and its report does not account for: up to this share of the limit, and so many seconds,
is set-up."""
BROKEN = runtime_error("Crash", None, "the program broke what reports its results")
_RANK = {"not_run": 0, "pass": 0, "failure": 1, "runtime_error": 2, "compile_error": 3}


@dataclass(slots=True)
class _Usage:
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0

    def add(self, ended: ProcessExit) -> None:
        self.cpu_s += ended.cpu_s
        self.wall_s += ended.wall_s
        self.memory_mb = max(self.memory_mb, ended.memory_mb)


class Grader:
    """Grades one program; one use each."""

    def __init__(
        self,
        lane: Lane,
        ready: ReadySuite,
        program: str,
        time_limit_s: float,
        memory_limit_mb: int,
        special: SpecialJudge | None = None,
    ) -> None:
        """Limits are those in force: the suite's own, or the executor's where it names none.

        `special` decides where the problem has a checker of its own.
        """
        self._special = special
        self._lane, self._ready, self._program = lane, ready, program
        self._time_limit_s, self._memory_limit_mb = time_limit_s, memory_limit_mb
        self._usage = _Usage()
        self._unaccounted_s = 0.0
        self._alone = False
        """Whether each test needs a process of its own."""
        self.odd = False
        """Whether a test is about an object that only its own process can compare."""

    def grade(self) -> Feedback:
        """Raises LaneFailure when the lane broke, CheckerFailure when a checker did: neither says anything of the
        program.
        """
        return self._feedback(self._verdicts(list(range(self._ready.count))))

    def _verdicts(self, everything: list[int]) -> list[Verdict]:
        if len(everything) > 1 and mutates_shared_state(self._program):
            return self._each_alone(everything)
        verdicts = self._run(everything)
        if self._has_unaccounted_time():
            # Its report says less than the clock: only limits set from outside count then, and no test may borrow from
            # another.
            return self._each_alone(everything, grace=False)
        first = next((index for index, verdict in enumerate(verdicts) if verdict.outcome != "pass"), 0)
        # What earlier tests have left is counted as memory, too, until the interpreter looks for it.
        leaks = may_leak_state(self._program) or verdicts[first].error_type == "MemoryLimit"
        if first > 0 and not verdicts[first].final and leaks:
            (alone,) = self._run([first], grace=verdicts[first].error_type != "TimeLimit")
            if alone.outcome != verdicts[first].outcome:
                return self._each_alone(everything)
        return self._settled(verdicts)

    def _each_alone(self, indices: list[int], grace: bool = True) -> list[Verdict]:
        """Every test in a process of its own; nothing runs after a time limit."""
        self._alone = True
        verdicts: list[Verdict] = []
        for index in indices:
            verdicts += self._settled(self._run([index], grace), index)
            if self._has_unaccounted_time() and not grace:
                used_s = verdicts[-1].cpu_s + self._unaccounted_s
                verdicts[-1] = too_slow(replace(verdicts[-1], cpu_s=used_s), self._time_limit_s)
            if verdicts[-1].error_type == "TimeLimit":
                break
        return verdicts + [NOT_RUN] * (len(indices) - len(verdicts))

    def _has_unaccounted_time(self) -> bool:
        """Whether the last run used CPU time that its report does not account for."""
        return self._unaccounted_s > UNACCOUNTED_SHARE * self._time_limit_s + UNACCOUNTED_S

    def _settled(self, verdicts: list[Verdict], start: int = 0) -> list[Verdict]:
        """The verdicts of the tests from `start` on, after another run of each that ended above its limit."""
        settled = list(verdicts)
        for index, verdict in enumerate(settled):
            if verdict.cpu_s > self._time_limit_s and verdict.error_type != "TimeLimit":
                (again,) = self._run([start + index], grace=False)
                settled[index] = again
                if again.cpu_s > self._time_limit_s and again.error_type != "TimeLimit":
                    settled[index] = too_slow(again, self._time_limit_s)
            if settled[index].error_type == "TimeLimit":
                return settled[: index + 1] + [NOT_RUN] * (len(settled) - index - 1)
        return settled

    def _run(self, indices: list[int], grace: bool = True) -> list[Verdict]:
        """Verdicts in the order of `indices`; a process that dies on the way is followed by another one for
        the rest.
        """
        verdicts: list[Verdict] = []
        while len(verdicts) < len(indices):
            rest = indices[len(verdicts) :]
            got = self._some(rest, grace)
            if self._special is not None:
                got = self._special.settled(rest, got)
            verdicts += got
            if got[-1].outcome == "compile_error":
                return [got[-1]] * len(indices)
            if got[-1].error_type == "TimeLimit":
                break
        return verdicts + [NOT_RUN] * (len(indices) - len(verdicts))

    def _some(self, indices: list[int], grace: bool) -> list[Verdict]:
        """What one process comes to: at least one verdict, for the first so many of `indices`."""
        return self._split(indices, grace) if self._ready.mode == "split" else self._batch(indices, grace)

    def _request(self, kind: int, tests: int, grace: bool) -> Request:
        allowed_s = self._time_limit_s + (min(GRACE_SHARE * self._time_limit_s, MAX_GRACE_S) if grace else 0.0)
        return Request(
            kind=kind,
            tests=tests,
            processes=MAX_PROCESSES,
            cpu_total_s=math.ceil(tests * allowed_s) + 2,
            limit_ns=int(allowed_s * 1e9),
            memory_bytes=(self._memory_limit_mb << 20) + (STACK_BYTES if "stack_size" in self._program else 0),
            file_bytes=self._ready.file_bytes,
        )

    def _batch(self, indices: list[int], grace: bool) -> list[Verdict]:
        """At least one verdict, for the first so many of `indices`."""
        body = self._ready.body(self._program, indices)
        (ended,) = self._lane.run(self._request(protocol.RUN, len(indices), grace), body)
        self._usage.add(ended)
        report = Report(ended.report, [self._ready.max_bytes[index] for index in indices])
        verdicts: list[Verdict] = []
        start = 0
        for index, record in zip(indices, report.records, strict=False):
            try:
                verdict, start = read_record(self._ready, index, record, ended.output, start)
            except (ValueError, TypeError):
                return [*verdicts, BROKEN]
            verdicts.append(verdict)
            if verdict.outcome == "compile_error" or verdict.error_type == "OutputLimit":
                return verdicts
        if len(verdicts) < len(indices):
            index = indices[len(verdicts)]
            before = sum(verdict.cpu_s for verdict in verdicts)
            died = verdict_of_death(self._ready, index, ended, report, start, self._time_limit_s, self._lane.contained)
            verdicts.append(replace(died, cpu_s=max(0.0, died.cpu_s - before)))
        self._unaccounted_s = ended.cpu_s - sum(verdict.cpu_s for verdict in verdicts)
        return verdicts

    def _split(self, indices: list[int], grace: bool) -> list[Verdict]:
        body, tester_body = self._ready.body(self._program, []), self._ready.tester_body(indices)
        request = self._request(protocol.SPLIT, len(indices), grace)
        program, tester = self._lane.run(request, body, tester_body)
        self._usage.add(program)
        usual = [MAX_RECORD_BYTES] * len(indices)
        report = Report(program.report, usual)
        if report.records and report.records[-1][0] == 3:
            try:
                return [read_record(self._ready, 0, report.records[-1], b"", 0)[0]]
            except (ValueError, TypeError):
                return [BROKEN] * len(indices)  # of all tests, as the compile error that it claims to be
        told = [verdict_of_tester(record) for record in Report(tester.report, usual).records]
        verdicts = [verdict for verdict in told if verdict is not None]
        if len(verdicts) < len(indices):
            timed = os.WIFEXITED(tester.status) and os.WEXITSTATUS(tester.status) == protocol.TIME_LIMIT_STATUS
            if timed and program.status == 0:  # it was the tests that went on for ever, with what the program gave them
                verdicts.append(
                    runtime_error("TimeLimit", None, f"its tests need more than {self._time_limit_s:g} s of CPU time")
                )
            else:
                verdicts.append(
                    verdict_of_death(self._ready, -1, program, report, 0, self._time_limit_s, self._lane.contained)
                )
        spent = starts_to_spans(report.records, program.cpu_s, len(verdicts))
        return [
            replace(verdict, cpu_s=max(cpu_s, verdict.cpu_s)) for verdict, cpu_s in zip(verdicts, spent, strict=True)
        ]

    def _feedback(self, verdicts: list[Verdict]) -> Feedback:
        self.odd = any(verdict.odd for verdict in verdicts)
        worst = max(verdicts, key=lambda verdict: _RANK[verdict.outcome])
        compiled = worst.outcome != "compile_error"
        return Feedback(
            outcome="pass" if worst.outcome == "not_run" else worst.outcome,
            error_type=worst.error_type,
            line=worst.line,
            message=worst.message,
            tests=[
                TestResult(outcome=verdict.outcome, error_type=verdict.error_type, cpu_s=verdict.cpu_s)
                for verdict in verdicts
            ],
            passed=sum(verdict.outcome == "pass" for verdict in verdicts),
            run=sum(verdict.outcome != "not_run" for verdict in verdicts) if compiled else 0,
            cpu_s=self._usage.cpu_s,
            wall_s=self._usage.wall_s,
            memory_mb=self._usage.memory_mb,
            problem_hash=self._ready.suite_hash,
            time_limit_s=self._time_limit_s,
            memory_limit_mb=self._memory_limit_mb,
            checker=self._ready.suite.rule,
            executor_version=f"{EXECUTOR_VERSION}, Python {self._lane.python_version}",
        )
