"""Whole problems in the APPS layout, graded here and by scorers of others: tasks per second and core.

    python -m benchmarks.scorers [--quick] [--json FILE] [--problems apps:PATH] [--verl PYTHON]
        [--sandboxfusion FOLDER PYTHON]

A task is one solution of the data set against all tests of its problem; half of the tasks have the expected output of
their last test, at most the tenth, altered, so that they fail there. `--verl` names an interpreter that has verl
installed: measured is its `prime_code` scorer, imported alone, in a process that holds nothing else. `--sandboxfusion`
names a clone of that server and an interpreter that has what it requires; it is asked by verl's own client (so it needs
`--verl`), all tests of a problem at once, as verl does it. Each peer runs inside throw-away pid, mount and network
namespaces, as it does not hold what it runs. Conditions take turns within each round. A rate is tasks per second of CPU
time, children, server and client included, without their start; so it says the same on a machine that has other work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.executor_pool import problems_of
from rltf.buffer.records import Feedback
from rltf.config import UserError
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import Problem, TestSuite
from rltf.telemetry.console import print_error

PEERS = Path(__file__).resolve().with_name("scorers_peers.py")
NAMESPACES = ("unshare", "--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc")
TASKS, QUICK_TASKS = 8, 4
"""Per kind and round."""
COUNTED = 10
"""verl's scorers look at no more tests than these once one has failed."""
ROUNDS, LIMIT_S, PEER_LIMIT_S = 2, 4.0, 600.0
KINDS = {"stdin": "standard input", "call": "function calls"}
Task = tuple[TestSuite, str]


def main() -> int:
    """Entry point; the exit code is 2 where the problems are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tasks, one round")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--problems", default="", help="SPEC; default: the APPS-layout archive beside the project")
    parser.add_argument("--verl", default="", metavar="PYTHON", help="an interpreter with verl")
    parser.add_argument("--sandboxfusion", nargs=2, metavar=("FOLDER", "PYTHON"), help="a clone, and its interpreter")
    options = parser.parse_args()
    if options.sandboxfusion and not options.verl:
        parser.error("--sandboxfusion needs --verl, whose client asks it")
    ways = ["prime_code"] * bool(options.verl) + ["sandboxfusion"] * bool(options.sandboxfusion)
    with tempfile.TemporaryDirectory(prefix="scorers-") as folder:
        try:
            problems = problems_of(options.problems, Path(folder))
        except UserError as error:
            print_error(f"error: {error}")
            return 2
        count, rounds = (QUICK_TASKS, 1) if options.quick else (TASKS, ROUNDS)
        figures = measure(problems, ways, options.verl, options.sandboxfusion or [], count, rounds)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def measure(
    problems: Sequence[Problem], ways: list[str], verl: str, server: list[str], count: int, rounds: int
) -> dict[str, Any]:
    """All figures."""
    rows: dict[str, dict[str, list[dict[str, float]]]] = {kind: {} for kind in KINDS}
    tests = {}
    for kind, taken in rows.items():
        tasks = _tasks(problems, kind)
        tests[kind] = statistics.mean(len(suite.inputs) for suite, _ in tasks)
        for number in range(rounds):
            part = tasks[number * count :][:count]  # another one in each round
            for way in ["executor", *ways]:
                figures = _judged(part) if way == "executor" else _peer(way, part, verl, server)
                taken.setdefault(way, []).append(figures)
                print(kind, number, way, figures, file=sys.stderr, flush=True)
    machine = {"cores": os.cpu_count(), "python": sys.version.split()[0], "load": os.getloadavg()[1]}
    machine["system"] = " ".join(os.uname()[::2][:2])
    return {"machine": machine, "rounds": rounds, "tests": tests, "kinds": rows}


def _tasks(problems: Sequence[Problem], kind: str) -> list[Task]:
    """Solutions in an order that is always the same; every second has to fail its last test."""
    pairs = [
        (problem.suite, problem.solutions[0])
        for problem in problems
        if problem.solutions and problem.suite.kind == kind and len(problem.suite.inputs) > 1
    ]
    random.Random(0).shuffle(pairs)
    return [(_failing(suite) if number % 2 else suite, text) for number, (suite, text) in enumerate(pairs)]


def _failing(suite: TestSuite) -> TestSuite:
    outputs = list(suite.outputs)
    place = min(len(outputs), COUNTED) - 1
    outputs[place] = f"{outputs[place]} and more\n"
    return replace(suite, outputs=tuple(outputs))


def _judged(tasks: list[Task]) -> dict[str, float]:
    with SandboxJudge(1, LIMIT_S, 1024) as judge:
        warm = [(tasks[0][0], f"{text}\n# warm") for _, text in tasks[:2]]
        judge.grade(warm)
        before = _cpu_s(judge), os.times().elapsed
        results = judge.grade(tasks)
        used, wall = _cpu_s(judge) - before[0], os.times().elapsed - before[1]
    passed = sum(isinstance(result, Feedback) and result.outcome == "pass" for result in results)
    return {"tasks": len(tasks), "cpu_s": used, "wall_s": wall, "passed": passed}


def _cpu_s(judge: SandboxJudge) -> float:
    own = os.times()
    return own.user + own.system + judge.lanes_cpu_s()


def _peer(way: str, tasks: list[Task], verl: str, server: list[str]) -> dict[str, float]:
    job = {"way": way, "server": server, "tasks": [[text, _in_outs(suite)] for suite, text in tasks]}
    inside = f"ip link set lo up && exec {verl} -I {PEERS}"
    done = subprocess.run(
        [*NAMESPACES, "bash", "-c", inside],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        timeout=PEER_LIMIT_S,
        check=True,
        cwd="/",
    )
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _in_outs(suite: TestSuite) -> dict[str, Any]:
    if suite.kind == "stdin":
        return {"inputs": suite.inputs, "outputs": suite.outputs}
    inputs = ["\n".join(map(json.dumps, arguments)) for arguments in suite.inputs]
    return {"inputs": inputs, "outputs": [json.dumps(value) for value in suite.outputs], "fn_name": suite.fn_name}


def show(figures: dict[str, Any]) -> None:
    """Prints the table."""
    machine = figures["machine"]
    title = f"tasks per second and core, {machine['cores']} cores, load {machine['load']:.1f}, "
    table = Table("problems", "tests", "scorer", "per core", "times", "passed", title=title + machine["system"])
    for kind, taken in figures["kinds"].items():
        rates = {way: sum(t["tasks"] for t in row) / sum(t["cpu_s"] for t in row) for way, row in taken.items()}
        for way, row in taken.items():
            passed = f"{sum(t['passed'] for t in row)} of {sum(t['tasks'] for t in row)}"
            times = f"{rates['executor'] / rates[way]:.1f}"
            table.add_row(KINDS[kind], f"{figures['tests'][kind]:.1f}", way, f"{rates[way]:.1f}", times, passed)
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
