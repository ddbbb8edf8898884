"""Many programs on the judge's lanes, one in twenty hostile: is everything at the end as it was at the start?

    python -m benchmarks.soak [--quick] [--programs N] [--lanes N] [--seed N] [--json FILE]

Every program is another text, so none is answered from memory; CPU limit 0.2 s. The hostile ones are those of the
attack tests. Counted at the start (after a warm-up) and at the end: descriptors and memory of the judge and of its
lanes, processes, temporary files. Runs inside throw-away pid, mount and network namespaces. The exit code is 1 when a
verdict is wrong or anything was left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.buffer.records import Feedback
from rltf.config import UserError
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import TestSuite
from rltf.telemetry.console import print_error

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS, QUICK, WARM_UP = 100_000, 5_000, 400
HOSTILE = 0.05
LIMIT_S = 0.2
MEMORY_LIMIT_MB = 256
BATCH = 200
REST_S = 10.0
"""The longest that a lane may need to tidy up after its last program."""
MAX_GROWTH_MB = 8.0
"""Of a lane: its heap is left with holes of different sizes, but must not follow the number of programs. The judge
remembers up to 20,000 verdicts, and so grows until it has them."""
_HONEST = TestSuite(
    kind="stdin",
    fn_name=None,
    inputs=tuple(f"{number} {number + 1}\n" for number in range(5)),
    outputs=tuple(f"{2 * number + 1}\n" for number in range(5)),
    time_limit_s=LIMIT_S,
    memory_limit_mb=MEMORY_LIMIT_MB,
)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} programs")
    parser.add_argument("--programs", type=int, default=0, help=f"another number than {PROGRAMS:,}")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)), help="default: one per core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    programs = options.programs or (QUICK if options.quick else PROGRAMS)
    if options.inside:
        print(json.dumps(soak(programs, options.lanes, options.seed)))
        return 0
    try:
        figures = in_a_throw_away_namespace(
            ["--inside", "--programs", str(programs), "--lanes", str(options.lanes), "--seed", str(options.seed)]
        )
    except UserError as error:
        print_error(f"error: {error}")
        return 2
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if sound(figures) else 1


def in_a_throw_away_namespace(arguments: list[str]) -> dict[str, Any]:
    """The figures of a run with these arguments. Raises UserError where such namespaces are not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        raise UserError(
            "the soak needs the unshare command (util-linux): hostile programs run inside throw-away namespaces"
        )
    inside = [unshare, *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    inside += ["--pid", "--mount", "--net", "--fork", "--mount-proc", "--kill-child"]
    tried = subprocess.run([*inside, "true"], capture_output=True, text=True)
    if tried.returncode:
        raise UserError(
            f"this machine allows no throw-away namespaces: {tried.stderr.strip()}; `python launch.py doctor` has more"
        )
    command = [*inside, sys.executable, "-m", "benchmarks.soak", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def soak(programs: int, lanes: int, seed: int) -> dict[str, Any]:
    """Grades so many programs; all figures. Inside the namespaces, where every process is this benchmark's."""
    from tests.support.attacks import ATTACKS, program, suite

    folder = tempfile.mkdtemp(prefix="soak-")
    tempfile.tempdir = folder
    places = {"PORT": "9", "CANARY": folder, "MARK": "soak", "PROJECT": str(ROOT), "LENGTH": "20"}
    attacks = [
        (replace(suite("stdin", "no answer"), time_limit_s=LIMIT_S), program(attack, "stdin", places))
        for attack in ATTACKS
    ]
    draw = random.Random(seed)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []

    def batch(first: int, size: int, judge: SandboxJudge) -> None:
        work, honest = [], []
        for number in range(first, first + size):
            honest.append(draw.random() >= HOSTILE)
            if honest[-1]:
                work.append((_HONEST, f"a, b = map(int, input().split())\nprint(a + b)  # {number}\n"))
            else:
                hostile_suite, text = draw.choice(attacks)
                work.append((hostile_suite, f"{text}# {number}\n"))
        for (_, text), is_honest, result in zip(work, honest, judge.grade(work), strict=True):
            outcome = (result.error_type or result.outcome) if isinstance(result, Feedback) else "no verdict"
            outcomes[f"{'honest' if is_honest else 'hostile'}: {outcome}"] += 1
            right = isinstance(result, Feedback) and (result.outcome == "pass") == is_honest
            if not right and len(wrong) < 20:
                wrong.append(f"{outcome}: {text[:200]}")

    try:
        with SandboxJudge(lanes, LIMIT_S, MEMORY_LIMIT_MB) as judge:
            batch(-WARM_UP, WARM_UP, judge)
            outcomes.clear()
            before, start, cpu = _state(judge, folder), time.monotonic(), judge.lanes_cpu_s() + time.process_time()
            for first in range(0, programs, BATCH):
                batch(first, min(BATCH, programs - first), judge)
            wall, used = time.monotonic() - start, judge.lanes_cpu_s() + time.process_time() - cpu
            after = _state(judge, folder)
            tier, restarts, python = judge.tier, judge.restarts, judge.python_version
    finally:
        shutil.rmtree(folder)
    return {
        "machine": {
            "cores": os.cpu_count(),
            "python": python,
            "system": " ".join(os.uname()[::2][:2]),
            "tier": tier,
            "lanes": lanes,
        },
        "programs": programs,
        "wall_s": wall,
        "cpu_ms_per_program": 1000 * used / programs,
        "restarts": restarts,
        "outcomes": dict(outcomes.most_common()),
        "wrong": wrong,
        "before": before,
        "after": after,
    }


def _state(judge: SandboxJudge, folder: str) -> dict[str, float]:
    """What must not grow. A lane's processes: those below this one."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    lanes = [pid for pid in pids if pid != os.getpid()]
    _wait_for_rest(lanes)
    return {
        "processes": len(pids),
        "descriptors of the judge": _descriptors(os.getpid()),
        "descriptors of the lanes": sum(_descriptors(pid) for pid in lanes),
        "temporary files": sum(len(files) + len(folders) for _, folders, files in os.walk(folder)),
        "memory of the judge, MB": _memory_mb(os.getpid()),
        "memory of the lanes, MB": sum(_memory_mb(pid) for pid in lanes),
        "memory files, MB": _shmem_mb(),
    }


def _wait_for_rest(lanes: list[int]) -> None:
    """Until every process waits for a request: a lane tidies up after it has answered, and still has the program's
    files meanwhile.
    """
    end = time.monotonic() + REST_S
    while any(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S" for pid in lanes):
        if time.monotonic() > end:
            raise RuntimeError(f"a lane still works {REST_S:.0f} s after its last answer")
        time.sleep(0.01)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd")) - (pid == os.getpid())


def _memory_mb(pid: int) -> float:
    """Private memory: what is shared with other processes is not counted."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return (
        sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("Private_Clean", "Private_Dirty")))
        / 1024
    )


def _shmem_mb() -> float:
    """Of the whole machine: files in memory that nobody has closed or removed would be in it."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["Shmem"].split()[0]) / 1024


def sound(figures: dict[str, Any]) -> bool:
    """Whether all verdicts were right and nothing was left."""
    before, after = figures["before"], figures["after"]
    same = all(after[name] <= before[name] for name in before if "memory" not in name)
    flat = (
        after["memory of the lanes, MB"]
        <= before["memory of the lanes, MB"] + MAX_GROWTH_MB * figures["machine"]["lanes"]
    )
    return same and flat and not figures["wrong"] and not figures["restarts"]


def show(figures: dict[str, Any]) -> None:
    """Prints the tables."""
    console, machine = Console(), figures["machine"]
    hours = f"{figures['wall_s']:.0f} s" if figures["wall_s"] < 3600 else f"{figures['wall_s'] / 3600:.1f} h"
    title = f"{figures['programs']:,} programs in {hours}, {figures['cpu_ms_per_program']:.1f} ms of CPU time each; "
    title += f"{machine['lanes']} lanes, tier {machine['tier']}, {machine['cores']} cores, Python {machine['python']}"
    table = Table("", "at the start", "at the end", title=title)
    for name, value in figures["before"].items():
        table.add_row(name, f"{value:.4g}", f"{figures['after'][name]:.4g}")
    console.print(table)
    console.print("; ".join(f"{name} {count}" for name, count in figures["outcomes"].items()))
    for text in figures["wrong"]:
        console.print(f"WRONG {text!r}", markup=False)
    console.print(f"lanes started anew: {figures['restarts']}; {'sound' if sound(figures) else 'NOT SOUND'}")


if __name__ == "__main__":
    sys.exit(main())
