"""One program run on one input, without tests: what it printed, and how it ended."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from rltf.executor import protocol
from rltf.executor.grading import MAX_PROCESSES
from rltf.executor.labels import MAX_MESSAGE_CHARS, Report, line_number, sanitize, verdict_of_death
from rltf.executor.lane import Lane
from rltf.executor.protocol import Request
from rltf.executor.suites import MAX_RECORD_BYTES, make_ready
from rltf.problems.problem import TestSuite

FILE = "main.py"
"""What tracebacks call the program."""
_STATUS = re.compile(r"exit status (-?\d{1,10})")


@dataclass(frozen=True, slots=True)
class Script:
    """What a program did; nothing in it is to be trusted."""

    stdout: str
    stderr: str
    """Its own, and the end of a traceback where it raised something."""
    return_code: int | None
    """None where a limit of time ended it; negative: the signal that did."""
    timed_out: bool
    wall_s: float


def run_script(lane: Lane, program: str, stdin: str, time_limit_s: float, memory_limit_mb: int) -> Script:
    """Runs a program. Raises LaneFailure when the lane broke."""
    ready = make_ready(TestSuite("stdin", None, (stdin,), ("",)))
    request = Request(
        kind=protocol.SCRIPT,
        tests=1,
        processes=MAX_PROCESSES,
        cpu_total_s=math.ceil(time_limit_s) + 2,
        limit_ns=int(time_limit_s * 1e9),
        memory_bytes=memory_limit_mb << 20,
        file_bytes=ready.file_bytes,
    )
    (ended,) = lane.run(request, ready.body(program, [0]))
    report = Report(ended.report, [MAX_RECORD_BYTES])
    stdout, stderr = (data.decode("utf-8", "replace") for data in (ended.output, ended.errors))
    try:
        return_code, told = _end(report.records[0])
    except (IndexError, ValueError, TypeError):
        died = verdict_of_death(ready, 0, ended, report, 0, time_limit_s, lane.contained)
        if died.error_type == "TimeLimit":
            return Script(stdout, f"{stderr}{died.message}\n", None, True, ended.wall_s)
        status = os.waitstatus_to_exitcode(ended.status)
        told = "" if died.error_type is None else f"{died.error_type}: {died.message}\n"
        return_code = status or (0 if died.error_type is None else 1)
    return Script(stdout, stderr + told, return_code, False, ended.wall_s)


def _end(record: list[object]) -> tuple[int, str]:
    """Status of a program that came to its end, and what an interpreter would have said. Raises ValueError."""
    code, _, _, *rest = record
    if code == 0:
        return 0, ""
    name, line, message, _ = rest
    name, message, line = sanitize(name, 100), sanitize(message, MAX_MESSAGE_CHARS), line_number(line)
    if code == 2:
        found = _STATUS.fullmatch(message)
        return (int(found[1]) & 0xFF, "") if found else (1, message.removeprefix("exit: ") + "\n")
    if code not in (1, 3):
        raise ValueError("not a record")
    place = f'  File "{FILE}", line {line}{", in <module>" if code == 1 else ""}\n' if line else ""
    head = "Traceback (most recent call last):\n" if code == 1 else ""
    return 1, f"{head}{place}{name}: {message}\n"
