"""One program against one suite, on one lane: runs, confirms, labels.

All tests of a program share one process. That is safe because of the confirm rule: when the first test that fails is not the very
first, it is run again alone; if the verdict changes, state leaked from one test to the next, and each test gets a process of its own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from buffer.records import Feedback, TestResult
from executor import protocol
from executor.labels import NOT_RUN, Report, Verdict, of_death, read_record, runtime_error
from executor.lane import Ended, Lane
from executor.protocol import Request
from executor.suites import ReadySuite

EXECUTOR_VERSION = "1"
MOST_PROCESSES = 64
_RANK = {"not_run": 0, "pass": 0, "failure": 1, "runtime_error": 2, "compile_error": 3}
_CAN_LEAK = re.compile(r"import|__|open")
"""Tests have fresh namespaces, so only modules, builtins reached by dunder names and files carry anything from one to the next."""


@dataclass(slots=True)
class _Usage:
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0

    def add(self, ended: Ended) -> None:
        self.cpu_s += ended.cpu_s
        self.wall_s += ended.wall_s
        self.memory_mb = max(self.memory_mb, ended.memory_mb)


class Grader:
    """Grades one program; one use each."""

    def __init__(self, lane: Lane, ready: ReadySuite, program: str, time_limit_s: float, memory_limit_mb: int) -> None:
        """Limits are those in force: the suite's own, or the executor's where it names none."""
        self._lane, self._ready, self._program = lane, ready, program
        self._time_limit_s, self._memory_limit_mb = time_limit_s, memory_limit_mb
        self._usage = _Usage()

    def grade(self) -> Feedback:
        """Raises LaneFailure when the lane broke: that says nothing about the program."""
        everything = list(range(self._ready.count))
        verdicts = self._run(everything)
        first = next((index for index, verdict in enumerate(verdicts) if verdict.outcome != "pass"), 0)
        if first > 0 and self._ready.mode != "split" and _CAN_LEAK.search(self._program):
            (alone,) = self._run([first])
            if alone.outcome != verdicts[first].outcome:
                verdicts = [self._run([index])[0] for index in everything]
        return self._feedback(verdicts)

    def _run(self, indices: list[int]) -> list[Verdict]:
        """Verdicts in the order of `indices`; a process that dies on the way is followed by another one for the rest."""
        verdicts: list[Verdict] = []
        while len(verdicts) < len(indices):
            rest = indices[len(verdicts) :]
            got = self._split(rest) if self._ready.mode == "split" else self._batch(rest)
            verdicts += got
            if got[-1].outcome == "compile_error":
                return [got[-1]] * len(indices)
            if got[-1].error_type == "TimeLimit":
                break
        return verdicts + [NOT_RUN] * (len(indices) - len(verdicts))

    def _request(self, kind: int, body: bytes, tests: int) -> Request:
        return Request(
            kind=kind,
            body_bytes=len(body),
            tests=tests,
            processes=MOST_PROCESSES,
            cpu_total_s=math.ceil(tests * self._time_limit_s) + 2,
            limit_ns=int(self._time_limit_s * 1e9),
            memory_bytes=self._memory_limit_mb << 20,
            file_bytes=self._ready.file_bytes,
        )

    def _batch(self, indices: list[int]) -> list[Verdict]:
        """At least one verdict, for the first so many of `indices`."""
        body = self._ready.body(self._program, indices)
        (ended,) = self._lane.run(self._request(protocol.RUN, body, len(indices)), body)
        self._usage.add(ended)
        report = Report(ended.report)
        verdicts: list[Verdict] = []
        start = 0
        for index, record in zip(indices, report.records, strict=False):
            try:
                verdict, start = read_record(self._ready, index, record, ended.output, start)
            except (ValueError, TypeError):
                return [*verdicts, runtime_error("Crash", None, "the program broke what reports its results")]
            verdicts.append(verdict)
            if verdict.outcome == "compile_error" or verdict.error_type == "OutputLimit":
                return verdicts
        if len(verdicts) < len(indices):
            index = indices[len(verdicts)]
            verdicts.append(of_death(self._ready, index, ended, report, start, self._time_limit_s, self._lane.contained))
        return verdicts

    def _split(self, indices: list[int]) -> list[Verdict]:
        body, tester_body = self._ready.body(self._program, []), self._ready.tester_body(indices)
        program, tester = self._lane.run(self._request(protocol.SPLIT, body, len(indices)), body, tester_body)
        self._usage.add(program)
        report = Report(program.report)
        told = [_of_tester(record) for record in Report(tester.report).records[: len(indices)]]
        verdicts = [verdict for verdict in told if verdict is not None]
        if report.records and report.records[-1][0] == 3:
            return [read_record(self._ready, 0, report.records[-1], b"", 0)[0]]
        if len(verdicts) < len(indices):
            verdicts.append(of_death(self._ready, -1, program, report, 0, self._time_limit_s, self._lane.contained))
        share = program.cpu_s / len(verdicts)
        return [Verdict(verdict.outcome, verdict.error_type, verdict.line, verdict.message, share) for verdict in verdicts]

    def _feedback(self, verdicts: list[Verdict]) -> Feedback:
        worst = max(verdicts, key=lambda verdict: _RANK[verdict.outcome])
        compiled = worst.outcome != "compile_error"
        return Feedback(
            outcome="pass" if worst.outcome == "not_run" else worst.outcome,
            error_type=worst.error_type,
            line=worst.line,
            message=worst.message,
            tests=[TestResult(outcome=verdict.outcome, error_type=verdict.error_type, cpu_s=verdict.cpu_s) for verdict in verdicts],
            passed=sum(verdict.outcome == "pass" for verdict in verdicts),
            run=sum(verdict.outcome != "not_run" for verdict in verdicts) if compiled else 0,
            cpu_s=self._usage.cpu_s,
            wall_s=self._usage.wall_s,
            memory_mb=self._usage.memory_mb,
            problem_hash=self._ready.suite_hash,
            time_limit_s=self._time_limit_s,
            memory_limit_mb=self._memory_limit_mb,
            checker=self._ready.suite.checker,
            executor_version=EXECUTOR_VERSION,
        )


def _of_tester(record: list[object]) -> Verdict | None:
    """Verdict that the tests' process gave; None where the program's own end has to tell."""
    kind, *rest = record
    if kind == "pass":
        return Verdict("pass")
    if kind == "failed":
        return Verdict("failure", None, None, str(rest[0]))
    if kind == "raised":
        name, line, message, limit = rest
        error_type = {"memory": "MemoryLimit", "output": "OutputLimit"}.get(str(limit), str(name))
        return runtime_error(error_type, line if isinstance(line, int) else None, str(message))
    if kind == "error":
        # The test's own code stumbled over what the program gave it (or did not define): Python's word for it, no line of the program.
        return runtime_error(str(rest[0]), None, str(rest[1]))
    return None
