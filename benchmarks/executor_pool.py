"""Programs per second of 1, 2 and 4 executors on the APPS-layout problems, beside plain `python3` once per test.

    python -m benchmarks.executor_pool [--quick] [--json FILE] [--problems apps:PATH]

The whole path is measured: programs are pushed into the work queue of a real Redis, executors (Ray actors) claim, grade
and hand them over. The peer starts the same interpreter anew for each test, runs one program at a time, isolates
nothing and compares nothing; it runs inside one throw-away namespace, as the data set's programs are not to be trusted.
Conditions take turns within each round, so that load on the machine meets all of them alike. `benchmarks.executor` has
what a short program costs without Ray and Redis.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.records import Program, VersionRun
from rltf.buffer.server import EmbeddedRedis
from rltf.config import BufferConfig, ExecutorConfig, UserError
from rltf.problems import load_problems
from rltf.problems.problem import Problem, TestSuite
from rltf.telemetry.console import print_error

ROOT = Path(__file__).resolve().parent.parent
ARCHIVE = ROOT.parent / "shared" / "data" / "apps_layout" / "dev.tar.gz"
COUNTS = (1, 2, 4)
PEER_PROGRAMS = 40
"""The peer is slow, and its rate needs no more of them."""
LIMIT_S = 600.0
"""Longest wait for one condition."""
Work = list[tuple[Problem, str]]

CALL = """
import json as _json
_arguments = _json.loads({arguments!r})
_function = Solution().{name} if "Solution" in globals() else {name}
print(_function(*_arguments))
"""


def main() -> int:
    """Entry point; the exit code is 2 where the problems are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer programs, one round")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument(
        "--problems", default="", help="SPEC of the problems; default: the APPS-layout archive beside the project"
    )
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        print(json.dumps(_run_peer(json.loads(options.peer.read_text()))))
        return 0
    with tempfile.TemporaryDirectory(prefix="executor-benchmark-") as folder:
        try:
            problems = problems_of(options.problems, Path(folder))
        except UserError as error:
            print_error(f"error: {error}")
            return 2
        figures = measure(
            problems, Path(folder), programs=60 if options.quick else 200, rounds=1 if options.quick else 2
        )
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def problems_of(spec: str, folder: Path) -> Sequence[Problem]:
    """Those of a SPEC; without one, of the archive beside the project. Raises UserError where it is missing."""
    if not spec:
        if not ARCHIVE.is_file():
            raise UserError(f"{ARCHIVE} is missing: name problems with --problems apps:PATH")
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
        spec = f"apps:{folder / 'APPS_like'}"
    return load_problems(spec).problems


def measure(problems: Sequence[Problem], folder: Path, programs: int, rounds: int) -> dict[str, Any]:
    """All figures. `programs`: how many of the data set's own solutions, drawn with a fixed seed."""
    import ray

    pairs = [(problem, solution) for problem in problems for solution in problem.solutions]
    work = random.Random(0).sample(pairs, min(programs, len(pairs)))
    rates: dict[str, list[float]] = {}
    os.environ["RAY_AUTH_MODE"] = "disabled"
    server = EmbeddedRedis.start(folder / "redis")
    path = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    ray.init(
        address="local",
        num_cpus=max(2, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        runtime_env=path,
    )
    try:
        for number in range(rounds):
            for count in COUNTS:
                rate = _pool_rate(server.url, work, count, f"benchmark-{number}-{count}", folder)
                rates.setdefault(f"executor.count {count}", []).append(rate)
            rates.setdefault("python3 per test", []).append(_peer_rate(work[:PEER_PROGRAMS], folder))
    finally:
        ray.shutdown()
        server.stop()
    return {
        "machine": {"cores": os.cpu_count(), "python": sys.version.split()[0], "system": " ".join(os.uname()[::2][:2])},
        "programs": len(work),
        "tests_per_program": statistics.mean(problem.suite.count for problem, _ in work),
        "programs_per_s": {
            name: {"median": statistics.median(values), "rounds": values} for name, values in rates.items()
        },
    }


def _pool_rate(url: str, work: Work, count: int, run: str, folder: Path) -> float:
    """Programs per second of `count` executors, from the first push to the last verdict."""
    import ray

    from rltf.executor.ray_executor import executor_actor

    size = BufferConfig(capacity=len(work) + 1, work_capacity=len(work) + 1, max_staleness=None)
    flow = Flow(FlowAddress(url=url, run=run, buffer=size, groups_per_step=1, groups_per_version=1, group_size=1))
    suites = {problem.id: problem.suite for problem, _ in work}
    flow.problems.put_many((name, suite.to_json(), suite.content_hash) for name, suite in suites.items())
    config = ExecutorConfig(count=count, cpus_per_executor=0.25, time_limit_s=30.0)
    names = [f"executor-{index}" for index in range(count)]
    actors = [executor_actor(config, name, {}).remote(name, flow.address, config, folder) for name in names]
    try:
        ray.get([actor.start.remote() for actor in actors], timeout=LIMIT_S)
        while not all(ray.get([actor.layers.remote() for actor in actors], timeout=LIMIT_S)):
            time.sleep(0.1)
        start = time.monotonic()
        flow.work.push_many([[_program(index, problem, text)] for index, (problem, text) in enumerate(work)])
        while (counts := flow.ledger.counts())["buffered"] < len(work):
            if counts["dead_letter"] or time.monotonic() - start > LIMIT_S:
                raise RuntimeError(f"not every program was graded: {counts}")
            time.sleep(0.01)
        return len(work) / (time.monotonic() - start)
    finally:
        ray.get([actor.stop.remote() for actor in actors], timeout=LIMIT_S)
        for actor in actors:
            ray.kill(actor)
        flow.close()


def _program(index: int, problem: Problem, text: str) -> Program:
    return Program(
        id=f"p{index}",
        problem_id=problem.id,
        group_id=f"g{index}",
        prompt_ids=[],
        token_ids=[],
        log_probs=[],
        versions=[VersionRun(0, 0)],
        finish_reason="stop",
        temperature=1.0,
        top_p=1.0,
        text=text,
        offsets=[],
    )


def _peer_rate(work: Work, folder: Path) -> float:
    """Programs per second of one interpreter start per test."""
    jobs = [[_script(problem.suite, text, index) for index in range(problem.suite.count)] for problem, text in work]
    return len(work) / float(_peer(jobs, folder)["wall_s"])


def _script(suite: TestSuite, text: str, index: int) -> tuple[str, str]:
    """Program and standard input of one test."""
    if suite.kind == "stdin":
        return text, suite.inputs[index]
    return text + CALL.format(arguments=json.dumps(suite.inputs[index]), name=suite.fn_name), ""


def _peer(jobs: list[list[tuple[str, str]]], folder: Path) -> dict[str, float]:
    """Wall and CPU seconds of all jobs, run in one throw-away namespace."""
    file = folder / "peer.json"
    file.write_text(json.dumps(jobs))
    unshare = shutil.which("unshare")
    if unshare is None:
        raise RuntimeError(
            "the peer needs the unshare command: it runs the data set's programs in a throw-away namespace"
        )
    inside = [unshare, *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    inside += ["--pid", "--fork", "--mount-proc", "--net", "--kill-child"]
    command = [*inside, sys.executable, "-m", "benchmarks.executor_pool", "--peer", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT_S, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _run_peer(jobs: list[list[list[str]]]) -> dict[str, float]:
    """Inside the namespace: each test in a new interpreter, the one that the executor's lanes use, as a shell would
    start it.
    """
    python = getattr(sys, "_base_executable", None) or sys.executable
    environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.py"
        start, before = time.monotonic(), os.times()
        for tests in jobs:
            for script, given in tests:
                file.write_text(script)
                command = [python, str(file)]
                # A program that fails or takes too long here costs what it costs: only time is measured.
                try:
                    subprocess.run(
                        command, input=given.encode(), capture_output=True, timeout=60, cwd=folder, env=environment
                    )
                except subprocess.TimeoutExpired:
                    continue
        after = os.times()
    cpu_s = sum(after[:4]) - sum(before[:4])
    return {"wall_s": time.monotonic() - start, "cpu_s": cpu_s}


def show(figures: dict[str, Any]) -> None:
    """Prints the tables."""
    console = Console()
    machine = figures["machine"]
    title = f"{figures['programs']} programs, {figures['tests_per_program']:.1f} tests each; "
    title += f"{machine['cores']} cores, Python {machine['python']}"
    table = Table("", "programs/s", "times python3 per test", title=title)
    peer = figures["programs_per_s"]["python3 per test"]["median"]
    for name, rate in figures["programs_per_s"].items():
        table.add_row(name, f"{rate['median']:.1f}", f"{rate['median'] / peer:.1f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
