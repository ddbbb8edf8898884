"""The same programs while the machine is idle and while other processes want its cores: do the verdicts stay the same?

    python -m benchmarks.load [--programs N] [--limit SECONDS] [--json FILE]

500 programs by default. Of each 25, six use half of their CPU limit (two of these in a thread, two in three threads at
once), one loops for ever, and of every 100 one sleeps; the rest is short. They are judged with nothing else running,
then beside as many busy processes as the machine has cores, four times and sixteen times as many. Compared are outcome,
error type, line and the outcome of every test. Exit code 1 when one verdict differs, or is not what the program
deserves.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.short_programs import reading_programs
from rltf.buffer.records import Feedback
from rltf.executor.judge import InfrastructureFailure
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import TestSuite

PROGRAMS, LIMIT_S = 500, 0.1
BUSY = (0, 1, 4, 16)
"""Busy processes per core."""
EVERY, SLEEPER_EVERY = 25, 100
_WORK = "import time\n\n\ndef work(seconds):\n    while time.{clock}() < seconds:\n        pass\n    return 1\n\n\n"
HALF = (
    _WORK + "work({half})\nprint('ok')\n",
    _WORK
    + "import threading\n\nthread = threading.Thread(target=work, args=({half},))\nthread.start()\nthread.join()\n"
    "print('ok')\n",
    _WORK + "from concurrent.futures import ThreadPoolExecutor\n\nwith ThreadPoolExecutor(3) as pool:\n"
    "    list(pool.map(work, [{half} / 3] * 3))\nprint('ok')\n",
)
CLOCKS = ("process_time", "process_time", "thread_time")
LOOP, SLEEPER = "while True: pass\n", "import time\ntime.sleep(1000)\n"
Work = list[tuple[TestSuite, str, str]]


def programs(count: int, limit_s: float) -> Work:
    """Suite, program, and the outcome or error type that it deserves."""
    suite = TestSuite("stdin", None, ("",), ("ok\n",), time_limit_s=limit_s, memory_limit_mb=512)
    short = reading_programs(count, 5, mark="load")
    work: Work = []
    for number in range(count):
        place = number % EVERY
        mark = f"# {number}\n"
        if place < 6:
            kind = place // 2
            work.append((suite, HALF[kind].format(clock=CLOCKS[kind], half=limit_s / 2) + mark, "pass"))
        elif place == 6:
            work.append((suite, LOOP + mark, "TimeLimit"))
        elif number % SLEEPER_EVERY == 7:
            work.append((suite, SLEEPER + mark, "TimeLimit"))
        else:
            one = short[number]
            work.append((one.suite, one.text, "pass" if one.passes else "not pass"))
    return work


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but use the cores."""
    # Each in a session of its own, as lanes and programs are: Linux shares the cores among sessions first.
    command = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    running = [subprocess.Popen(command, start_new_session=True) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def told(result: Feedback | InfrastructureFailure) -> tuple[Any, ...]:
    """What must not depend on the load."""
    if isinstance(result, InfrastructureFailure):
        return ("no verdict", result.reason)
    return (result.outcome, result.error_type, result.line, tuple(test.outcome for test in result.tests))


def deserved(result: Feedback | InfrastructureFailure, wanted: str) -> bool:
    """Whether a verdict is what the program deserves."""
    if isinstance(result, InfrastructureFailure):
        return False
    return (result.outcome != "pass") if wanted == "not pass" else wanted in (result.outcome, result.error_type)


def compare(work: Work, factors: Sequence[int], lanes: int) -> list[dict[str, Any]]:
    """Per number of busy processes per core: seconds, verdicts that agree with the first row's, and those that are
    deserved.
    """
    rows: list[dict[str, Any]] = []
    first: list[tuple[Any, ...]] = []
    for factor in factors:
        with SandboxJudge(lanes, 4.0, 512) as judge, busy(factor * (os.cpu_count() or 1)):
            start = time.monotonic()
            results = judge.grade([(suite, text) for suite, text, _ in work])
            seconds = time.monotonic() - start
        verdicts = [told(result) for result in results]
        first = first or verdicts
        pairs = zip(first, verdicts, work, strict=True)
        differ = [f"{before} then {now}: {text!r}" for before, now, (_, text, _) in pairs if before != now]
        right = sum(deserved(result, wanted) for result, (_, _, wanted) in zip(results, work, strict=True))
        rows.append(
            {
                "busy": factor,
                "seconds": seconds,
                "agree": len(work) - len(differ),
                "right": right,
                "differ": differ[:20],
            }
        )
    return rows


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=PROGRAMS)
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="CPU seconds per test")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    work = programs(options.programs, options.limit)
    rows = compare(work, BUSY, cores)
    console = Console()
    title = f"{len(work)} programs, {cores} lanes on {cores} cores"
    table = Table("busy processes", "seconds", "same verdict", "right verdict", title=title)
    for row in rows:
        table.add_row(f"{row['busy'] * cores}", f"{row['seconds']:.1f}", f"{row['agree']}", f"{row['right']}")
    console.print(table)
    for row in rows:
        for sentence in row["differ"]:
            console.print(sentence, markup=False)
    if options.json:
        machine = {"cores": cores, "python": sys.version.split()[0], "system": " ".join(os.uname()[::2][:2])}
        figures = {"machine": machine, "programs": len(work), "limit_s": options.limit, "rows": rows}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(row["agree"] == row["right"] == len(work) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
