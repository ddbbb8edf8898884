"""From what a process left behind to labels: outcome, error type, line.

Everything here is a program's word, and is checked.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rltf.buffer.records import Outcome
from rltf.executor.lane import ProcessExit
from rltf.executor.plaindata import NotPlain, decode, holds_opaque
from rltf.executor.protocol import (
    CPU_KILLED,
    DISK_KILLED,
    FILENAME,
    HARNESS_STATUS,
    IDLE_KILLED,
    MEMORY_STATUS,
    OUTPUT_STATUS,
    TIME_LIMIT_STATUS,
    WALL_KILLED,
    LaneFailure,
)
from rltf.executor.suites import ReadySuite

MAX_MESSAGE_CHARS = 300
MAX_VALUE_CHARS = 100
MAX_LINES = 1_000_000
MAX_EXTRA_CHARS, MAX_LENGTH_RATIO = 1 << 20, 20
"""An output longer than the right one by so many characters and so many times as long is wrong, and is not read."""
_CONTROLS = {code: "?" for code in (*range(9), *range(11, 32), *range(127, 160))}
MAX_DIGITS = 4300
_LONG_NUMBER = re.compile(rb"(?<!\d)\d{%d}" % (MAX_DIGITS + 1))
_TIME = re.compile(rb"\[0,(\d{1,15}),")
LIMITS = {"memory": "MemoryLimit", "output": "OutputLimit"}
"""Error types of exceptions that stand for a limit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One test's."""

    outcome: Outcome | Literal["not_run"]
    error_type: str | None = None
    line: int | None = None
    message: str = ""
    cpu_s: float = 0.0
    final: bool = False
    """Of all tests together: the same test alone would say something else."""
    odd: bool = False
    """It is about an object that has no plain form: only in its own process can it be compared."""
    unchecked: bool = False
    """The problem's own checker is still to say; until then it has failed."""
    given: Any = None
    """Of an unchecked one what the program gave."""


NOT_RUN = Verdict("not_run")


def runtime_error(error_type: Any, line: int | None = None, message: Any = "", cpu_s: float = 0.0) -> Verdict:
    """A verdict of that outcome; class and message may be a program's own words."""
    return Verdict("runtime_error", sanitize(error_type, MAX_VALUE_CHARS), line, sanitize(message), cpu_s)


def sanitize(text: Any, max_chars: int = MAX_MESSAGE_CHARS) -> str:
    """Text of a program, shortened, such that it can be written as UTF-8 and tells a terminal nothing; empty for what
    is no text.
    """
    return text[:max_chars].encode("utf-8", "replace").decode().translate(_CONTROLS) if isinstance(text, str) else ""


def line_number(value: Any) -> int | None:
    """A line, if it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_LINES else None


def seconds(microseconds: Any) -> float:
    """Of a time that a process reports.

    Raises ValueError for what is no time."""
    if not isinstance(microseconds, int) or not 0 <= microseconds < 1 << 50:
        raise ValueError("not a time")
    return microseconds / 1e6


class Report:
    """The lines of a report, as far as they are what they should be."""

    def __init__(self, data: bytes, max_bytes: Sequence[int]) -> None:
        """What a process wrote, and faulthandler after it.

        Args:
            data: the file's content.
            max_bytes: for each line that there may be, how long it may be: reading takes far more time and memory than
                writing did.

        """
        self.records: list[list[Any]] = []
        self.last_words = ""
        """What faulthandler added."""
        start = 0
        for most in max_bytes:
            end = data.find(b"\n", start)
            line = data[start : end if end >= 0 else len(data)]
            if not line or line == b'"end"':
                return
            record = _parsed(line) if len(line) <= most else _cut(line)
            if record is None:
                break
            self.records.append(record)
            start += len(line) + 1
        self.last_words = data[start : start + 100_000].decode("utf-8", "replace")

    def line(self) -> int | None:
        """Line of the program that faulthandler names: of the thread that was hit, or of another if that one only
        waited.
        """
        blocks = re.split(r"\n\s*\n", self.last_words)
        blocks.sort(key=lambda block: "Current thread" not in block)
        found = [_deepest(block) for block in blocks]
        waiting = found[:1] and 'threading.py"' in blocks[0]
        numbers = [number for number in (reversed(found) if waiting else found) if number is not None]
        return numbers[0] if numbers else None


def _parsed(line: bytes) -> list[Any] | None:
    # Long integers come as hexadecimal text. What loads data may at this moment allow longer decimal ones, whose
    # reading takes time that grows with the square of their length.
    read_integer = _short_integer if _LONG_NUMBER.search(line) else None
    try:
        record = json.loads(line, parse_int=read_integer)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, list) and record else None


def _short_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a long integer")
    return int(digits)


def _cut(line: bytes) -> list[Any] | None:
    """A record with a value far larger than the right one, which is not read."""
    found = _TIME.match(line)
    return [0, int(found[1]), {"o": "far larger"}] if found else None


def _deepest(block: str) -> int | None:
    match = re.search(rf'File "{re.escape(FILENAME)}", line (\d{{1,9}})', block)
    return int(match.group(1)) if match else None


def read_record(ready: ReadySuite, index: int, record: list[Any], output: bytes, start: int) -> tuple[Verdict, int]:
    """Verdict of a test that came to an end, and where its output ended.

    Raises ValueError for a record that is none.
    """
    code, cpu_us, third, *rest = record
    cpu_s = seconds(cpu_us)
    if code == 0:
        if ready.mode == "stdin":
            end = _offset(third, start, len(output))
            return _compared(ready, index, output[start:end].decode("utf-8", "replace"), cpu_s), end
        return _returned(ready, index, third, cpu_s), start
    name, line, message, kind = rest
    line = line_number(line)
    name, message = sanitize(name, MAX_VALUE_CHARS), sanitize(message)
    end = _offset(third, start, len(output)) if ready.mode == "stdin" else start
    if code == 1:
        error_type = LIMITS.get(kind, name) if isinstance(kind, str) else name
        return runtime_error(error_type, line, message or {"memory": "out of memory"}.get(kind, ""), cpu_s), end
    if code == 2:
        return runtime_error("NonZeroExit" if ready.mode == "stdin" else "SystemExit", line, message, cpu_s), end
    if code == 3:
        return Verdict("compile_error", name, line, message, cpu_s), end
    raise ValueError("not a record")


def _offset(value: Any, start: int, size: int) -> int:
    if not isinstance(value, int) or not start <= value <= size:
        raise ValueError("not an offset")
    return value


def _compared(ready: ReadySuite, index: int, given: Any, cpu_s: float) -> Verdict:
    expected = ready.expected[index]
    if isinstance(given, str) and len(given) > MAX_EXTRA_CHARS + MAX_LENGTH_RATIO * _usual_length(ready, index):
        return wrong_answer(ready, index, given, cpu_s)
    if ready.suite.checker_code:
        return Verdict("failure", cpu_s=cpu_s, unchecked=True, given=given)
    if ready.match(expected, given):
        return Verdict("pass", cpu_s=cpu_s)
    return wrong_answer(ready, index, given, cpu_s)


def _usual_length(ready: ReadySuite, index: int) -> int:
    """Characters of a test's expected output, or of its input where another answer may have as many."""
    length = len(str(ready.expected[index]))
    return max(length, len(str(ready.suite.inputs[index]))) if ready.suite.checker_code else length


def wrong_answer(ready: ReadySuite, index: int, given: Any, cpu_s: float) -> Verdict:
    """The verdict of a test whose answer is not accepted."""
    message = f"expected {shortened(ready.expected[index])}, got {shortened(given)}"
    return Verdict("failure", None, None, sanitize(message), cpu_s)


def _returned(ready: ReadySuite, index: int, data: Any, cpu_s: float) -> Verdict:
    try:
        value = decode(data, ready.max_nodes[index])
    except NotPlain as error:
        message = sanitize(f"expected {shortened(ready.expected[index])}, got {error}")
        return Verdict("failure", None, None, message, cpu_s, odd=ready.suite.kind == "assert")
    verdict = _compared(ready, index, value, cpu_s)
    odd = verdict.outcome == "failure" and ready.suite.kind == "assert" and holds_opaque(value)
    return replace(verdict, odd=odd) if odd else verdict


def shortened(value: Any) -> str:
    """A value as a message shows it."""
    try:
        text = value if isinstance(value, str) and len(value) > MAX_VALUE_CHARS else repr(value)
    except ValueError:
        return "a long integer"  # beyond the digits that Python writes
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + ".."


def verdict_of_death(
    ready: ReadySuite, index: int, ended: ProcessExit, report: Report, start: int, limit_s: float, contained: bool
) -> Verdict:
    """Verdict of the test in which a process ended without saying so. `contained`: nobody inside can have killed it.

    Raises LaneFailure when that was neither the program's doing nor a limit.
    """
    line, exited = line_number(report.line()), os.WIFEXITED(ended.status)
    status = os.WEXITSTATUS(ended.status) if exited else -os.WTERMSIG(ended.status)
    if ended.cause == DISK_KILLED:
        return runtime_error("OutputLimit", line, "the working folder is full", ended.cpu_s)
    timed = status == TIME_LIMIT_STATUS and "most recent call first" in report.last_words
    if ended.cause == IDLE_KILLED:
        reason = "all tests together were asleep or waiting for too long"
        return replace(
            runtime_error("TimeLimit", line, f"stuck at line {line}: {reason}" if line else reason, ended.cpu_s),
            final=True,
        )
    if timed or ended.cause in (CPU_KILLED, WALL_KILLED) or status in (-signal.SIGXCPU, -signal.SIGPROF):
        reason = "asleep or waiting" if ended.cause == WALL_KILLED else f"more than {limit_s:g} s of CPU time"
        return runtime_error("TimeLimit", line, f"stuck at line {line}: {reason}" if line else reason, ended.cpu_s)
    if status == -signal.SIGKILL and ended.cpu_s >= limit_s:
        return runtime_error("TimeLimit", line, f"more than {limit_s:g} s of CPU time", ended.cpu_s)
    if status == -signal.SIGKILL and contained:
        raise LaneFailure("a program's process was killed from outside")
    if status < 0:
        return runtime_error("Crash", line, _signal_name(-status), ended.cpu_s)
    if status == MEMORY_STATUS or "MemoryError" in report.last_words[:200]:
        return runtime_error("MemoryLimit", line, "out of memory", ended.cpu_s)
    if status == OUTPUT_STATUS:
        return runtime_error("OutputLimit", line, "the result is too large", ended.cpu_s)
    if status == HARNESS_STATUS:
        return runtime_error("Crash", line, "the program broke what reports its results", ended.cpu_s)
    if status:
        return runtime_error("NonZeroExit", line, f"exit status {status}", ended.cpu_s)
    if ready.mode == "stdin":
        return _compared(ready, index, ended.output[start:].decode("utf-8", "replace"), ended.cpu_s)
    return runtime_error("SystemExit", line, "the process ended before the function returned", ended.cpu_s)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one, of which Python names the first and the last


def verdict_of_tester(record: list[Any]) -> Verdict | None:
    """Verdict that the tests' process gave; None where the program's own end has to tell."""
    cpu_us, odd, kind, *rest = record
    if kind == "pass":
        verdict = Verdict("pass")
    elif kind == "failed":
        verdict = Verdict("failure", None, None, sanitize(rest[0]))
    elif kind == "raised":
        name, line, message, limit = rest
        error_type = LIMITS.get(limit, name) if isinstance(limit, str) else name
        verdict = runtime_error(error_type, line_number(line), message)
    elif kind == "error":
        # The test's own code stumbled over what the program gave it (or did not define): Python's word for it, no line
        # of the program.
        verdict = runtime_error(rest[0], None, rest[1])
    else:
        return None
    return replace(verdict, cpu_s=seconds(cpu_us), odd=odd)


def starts_to_spans(records: list[list[Any]], total_s: float, count: int) -> list[float]:
    """CPU seconds of each of the first `count` tests of a split run, from the program's own record of when
    each began.
    """
    try:
        starts = [seconds(record[1]) for record in records[:count]]
    except (ValueError, IndexError):
        starts = []
    if len(starts) < count:
        return [total_s / count] * count
    return [max(0.0, end - start) for start, end in zip(starts, [*starts[1:], total_s], strict=True)]


def too_slow(verdict: Verdict, limit_s: float) -> Verdict:
    """The verdict of a test that ended by itself, twice, with more CPU time than it may have."""
    return runtime_error(
        "TimeLimit", None, f"more than {limit_s:g} s of CPU time: {verdict.cpu_s:.3g} s", verdict.cpu_s
    )
