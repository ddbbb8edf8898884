"""Stops a run in each of its phases, by each signal, and looks at what is left and what is kept.

    python -m benchmarks.stops [--quick] [--json FILE]

A small model on the built-in tasks. For each signal one run is stopped in the warm start, in training, in the final
evaluation and while it writes its report, and goes on after each stop; others are stopped before they have begun, and
so are `grade` and `check-data`. Besides, parts of Ray, the driver and its guard are killed or paused under a run in
training. Exit code 1 when something is left or lost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.killed_run import Command, Failed, Found, Run, alive, verify
from rltf.driver.stopping import SENTENCE

SETTINGS: dict[str, object] = {
    "policy__d_model": 32,
    "policy__layers": 1,
    "policy__heads": 2,
    "policy__d_ff": 64,
    "policy__max_program_tokens": 24,
    "warm_start__steps": 150,
    "evaluation__tasks": 256,
    "evaluation__final_samples": 8,
    "executor__count": 1,
    "checkpoint__every": 2,
}
PHASES = ("imports", "Ray starting", "warm start", "training", "final evaluation", "report")
COMMANDS = ("grade", "check-data")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
QUICK = dict(zip((*PHASES, *COMMANDS), SIGNALS * 3, strict=False))
"""The short form: each phase once, each signal at least twice."""
ENDS: tuple[tuple[str, str, signal.Signals, tuple[signal.Signals, ...], str], ...] = (
    ("the raylet killed", "raylet", signal.SIGKILL, (), "has died"),
    ("Ray's GCS server killed", "gcs_server", signal.SIGKILL, (), "has died"),
    ("the raylet paused, then Ctrl-C", "raylet", signal.SIGSTOP, (signal.SIGINT,), ""),
    ("the driver killed", "driver", signal.SIGKILL, (), "was killed"),
    ("SIGTERM to every process", "all", signal.SIGTERM, (), ""),
    ("Ctrl-C three times", "guard", signal.SIGINT, (signal.SIGINT, signal.SIGINT), SENTENCE),
)
"""What else may end a run in training: in words, whom a signal goes to, which, what the guard gets afterwards, words of
the last line."""
ENDED_S = 240.0
"""Longest wait for a stopped command."""
PROGRAMS = 400


@dataclass
class Stop:
    """One stop and what came of it."""

    phase: str
    signal: str
    status: int = -1
    """Exit status."""
    last_line: str = ""
    left: list[str] = field(default_factory=list)
    """Processes and folders of sandboxes that are there when the command has ended."""
    kept: list[str] = field(default_factory=list)
    """Of checkpoint, result and report those that this attempt has left, and files of a command."""
    seconds: float = 0.0
    """From the signal to the end."""
    went_on: str = ""
    """What became of the next attempt."""
    failures: list[str] = field(default_factory=list)


def stop_command(command: Command, stop: Stop, seen: Callable[[], object], send: Callable[[], None]) -> float:
    """Waits until `seen`, sends, waits for the end and looks; when it sent."""
    command.until(seen, stop.phase)
    before, begun = command.children(), time.time()
    send()
    command.process.wait(ENDED_S)
    stop.seconds = time.time() - begun
    stop.status = command.process.returncode
    stop.last_line = (command.printed.strip().splitlines() or [""])[-1].replace(str(command.temporary.parent), "runs")
    stop.left = [line[:80] for pid, line in (before | command.processes()).items() if alive(pid)]
    stop.left += [path.name for path in command.temporary.glob("executor-box-*")]
    if stop.left:
        stop.failures.append(f"{stop.phase}, {stop.signal}: left behind: {stop.left}")
    if "Traceback" in command.printed:
        stop.failures.append(f"{stop.phase}, {stop.signal}: a traceback:\n{command.printed[-3000:]}")
    return begun


def stop_run(run: Run, stop: Stop, seen: Callable[[], object], send: Callable[[], None]) -> None:
    """The same of a run, and what is kept of it."""
    begun = stop_command(run, stop, seen, send)
    stop.kept = [
        name
        for name in ("result.json", "report.md")
        if (path := run.folder / name).exists() and path.stat().st_mtime >= begun
    ]
    if steps := sorted(path.parent.name for path in run.folder.glob("checkpoints/step_*/COMPLETE")):
        stop.kept.insert(0, f"checkpoint {int(steps[-1].removeprefix('step_'))}")


def expect(stop: Stop, status: int, words: str) -> None:
    """Adds to the failures what is not as it should be."""
    if stop.status != status or words not in stop.last_line:
        stop.failures.append(f"{stop.phase}, {stop.signal}: ended with {stop.status}, last line {stop.last_line!r}")


def seen_in(run: Run, phase: str, attempt: int) -> bool:
    """Whether this attempt of the run is in a phase."""
    if phase == "imports":
        return len(run.processes()) == 2
    if phase == "Ray starting":
        return any("/gcs_server " in command for command in run.children().values())
    if phase == "training":
        return len([row for row in run.rows() if row["time"] > run.began]) >= 3
    if phase == "report":
        result = run.folder / "result.json"
        return result.exists() and json.loads(result.read_text())["attempts"] == attempt
    return f" {phase}" in "".join(line for line in run.printed.splitlines(keepends=True) if line[2:3] == ":")


def chain(signals: Mapping[str, signal.Signals], parent: Path) -> Iterator[Stop]:
    """One run that is stopped in each phase that `signals` name and goes on after each, but for those before it has a
    folder.
    """
    run: Run | None = None
    attempt = 0
    before: Stop | None = None
    for phase, number in signals.items():
        stop = Stop(phase, number.name)
        early = phase in PHASES[:2]
        if early or run is None:
            run = Run(_new(parent), **SETTINGS)
            attempt = 0
        else:
            ends_at = ("--learner.steps", str(len(run.rows()) + 2)) if PHASES.index(phase) > 3 else ()
            run.resume(*ends_at)
        attempt += 1
        this, number_of = run, attempt
        try:
            stop_run(this, stop, lambda: seen_in(this, phase, number_of), lambda: this.process.send_signal(number))  # noqa: B023
            done = phase == "report"
            expect(stop, 0 if done else 1, "Report and plots" if done else SENTENCE)
            if not early:
                balance(run, stop)
            if before is not None:
                before.went_on = "yes, ledger balances" if not stop.failures else "no"
        except (Failed, subprocess.TimeoutExpired) as failure:
            stop.failures.append(f"{phase}, {number.name}: {failure}")
        finally:
            run.end()
        stop.went_on = "done" if phase == "report" else "-"
        before = None if early else stop
        run = None if early or stop.failures else run
        yield stop


def balance(run: Run, stop: Stop) -> None:
    """Adds to the failures what is wrong with the ledger."""
    found = Found("driver", "everysec")
    verify(run, found)
    if found.imbalances or found.lost or found.twice:
        stop.failures.append(f"{stop.phase}, {stop.signal}: {found}")


def stop_one(name: str, number: signal.Signals, parent: Path) -> Stop:
    """`grade` or `check-data` on programs that run into their time limit, stopped in the middle."""
    stop, folder = Stop(name, number.name), _new(parent)
    problem = {
        "question": "Add.",
        "starter_code": "",
        "fn_name": "f",
        "inputs": [[1]],
        "outputs": [2],
        "solutions": ["while True: pass\n"],
    }
    problems, programs, out = folder / "problems.jsonl", folder / "programs.jsonl", folder / "out.jsonl"
    problems.write_text("".join(json.dumps(problem | {"id": f"p{index}"}) + "\n" for index in range(PROGRAMS)))
    lines = ({"problem_id": f"p{index}", "code": f"while True: pass  # {index}\n"} for index in range(PROGRAMS))
    programs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = f"jsonl:{problems}"
    arguments = ["--problems", spec, "--programs", str(programs)] if name == "grade" else [spec]
    command = Command(folder)
    command.start([name, *arguments, "--out", str(out)])
    try:
        judging = partial(_judges, command)
        stop_command(command, stop, judging, lambda: command.process.send_signal(number))
        stop.kept = [path.name for path in sorted(folder.glob("out*"))]
        expect(stop, 1, SENTENCE)
    except (Failed, subprocess.TimeoutExpired) as failure:
        stop.failures.append(f"{name}, {number.name}: {failure}")
    finally:
        command.end()
    stop.went_on = "-"
    return stop


def _judges(command: Command) -> bool:
    return sum("executor.zygote" in line for line in command.children().values()) > 2


def end_otherwise(parent: Path) -> Iterator[Stop]:
    """Each of ENDS under a run in training, which then goes on."""
    run: Run | None = None
    before: Stop | None = None
    for words, whom, number, afterwards, last in ENDS:
        stop = Stop(f"training: {words}", number.name)
        if run is None:
            run = Run(_new(parent), **SETTINGS)
        else:
            run.resume()
        this = run
        try:
            stop_run(this, stop, lambda: seen_in(this, "training", 0), lambda: _send(this, whom, number, afterwards))  # noqa: B023
            expect(stop, 1, last)
            balance(run, stop)
            if before is not None:
                before.went_on = "yes, ledger balances" if not stop.failures else "no"
        except (Failed, subprocess.TimeoutExpired) as failure:
            stop.failures.append(f"{words}: {failure}")
        finally:
            run.end()
        stop.went_on = "-"
        before, run = (stop, run) if not stop.failures else (None, None)
        yield stop


def _send(run: Run, whom: str, number: signal.Signals, afterwards: tuple[signal.Signals, ...]) -> None:
    victims = {"guard": [run.process.pid], "all": sorted(run.children(), reverse=True)}.get(whom) or run.victims(whom)
    for pid in victims:
        if alive(pid):
            os.kill(pid, number)
    for one in afterwards:
        time.sleep(2.0)
        run.process.send_signal(one)


def _new(parent: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="", dir=parent))


def all_of(quick: bool, parent: Path) -> Iterator[Stop]:
    """Every stop; a later one may still say of the one before it whether it went on."""
    for signals in [QUICK] if quick else [dict.fromkeys((*PHASES, *COMMANDS), number) for number in SIGNALS]:
        yield from chain({phase: number for phase, number in signals.items() if phase in PHASES}, parent)
        yield from (stop_one(name, signals[name], parent) for name in COMMANDS)
    if not quick:
        yield from end_otherwise(parent)


def show(stops: list[Stop], console: Console) -> None:
    """The table."""
    table = Table(box=box.MARKDOWN)
    for name in ("stopped in", "by", "exit status", "last line", "left", "kept", "seconds", "went on"):
        table.add_column(name, justify="right" if name in ("exit status", "seconds") else "left", overflow="fold")
    for stop in stops:
        cells = (
            stop.last_line,
            ", ".join(stop.left) or "nothing",
            ", ".join(stop.kept) or "-",
            f"{stop.seconds:.1f}",
            stop.went_on,
        )
        table.add_row(stop.phase, stop.signal, str(stop.status), *cells)
    console.print(table, markup=False)
    for failure in (failure for stop in stops for failure in stop.failures):
        console.print(failure, style="bold red", markup=False)


def main() -> int:
    """Exit code 0 when every stop is as it should be, 1 when one is not, 2 when the command line is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each phase once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the same as JSON")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 250)
    parent = Path(tempfile.mkdtemp(prefix="stops-"))
    stops: list[Stop] = []
    for stop in all_of(options.quick, parent):
        stops.append(stop)
        console.print(f"{stop.phase}, {stop.signal}: {stop.status}, {stop.last_line}", markup=False)
        if options.json:
            options.json.write_text(json.dumps([asdict(each) for each in stops], indent=1) + "\n")
    show(stops, console)
    failed = any(stop.failures for stop in stops)
    if not failed:
        shutil.rmtree(parent)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
