"""Kills each part of a run at random moments under load, and checks what came of it.

    python -m benchmarks.kill_matrix [--quick] [--parts actor,executor,..] [--kills N] [--fsync everysec,always] [--seed
                                    N] [--json FILE]

For each setting of redis.fsync three runs of `launch.py` (a small model on the built-in tasks, Ray and Redis of their
own): one for most parts, one with two learner workers (`rank`), one on a cluster of two nodes on this machine (`node`).
In it each part is killed with SIGKILL N times, in a random order, each time some seconds after training went on;
`pause` stops Redis for 20 s instead. After each kill: the seconds until a learner step was taken with everything back,
and whether the ledger balances. After each run, on its Redis and its folder: programs without a place or fate, visits
of problems that were passed over, samples trained on twice. With --json the matrix can be made piece by piece: Ctrl-C
keeps what was measured, and the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.killed_run import PAUSE_S, Failed, Found, Run, kill, verify
from rltf.telemetry.console import print_error

PARTS = ("actor", "executor", "executors", "learner", "rank", "redis", "store", "driver", "node", "pause")
APART = ("rank", "node")
"""Parts that need a run of their own: two learner workers, a cluster of two nodes."""
START_TIMEOUT_S = 240.0
COLUMNS = (
    "killed",
    "fsync",
    "kills",
    "went on",
    "after seconds",
    "ledger",
    "programs",
    "lost",
    "trained twice",
    "rolled back",
)
NAMES = {
    "actor": "the actor",
    "executor": "one of two executors",
    "executors": "both executors",
    "learner": "the learner",
    "rank": "one of two learner workers",
    "redis": "the embedded Redis",
    "store": "the weight store",
    "driver": "the driver",
    "node": "a worker node",
    "pause": f"Redis stopped for {PAUSE_S:g} s",
}


def measure(
    wanted: Mapping[str, int], fsync: str, parent: Path, rng: random.Random, console: Console
) -> tuple[list[Found], bool]:
    """One run in which each part is killed as often as `wanted` says, in rounds of a random order; and whether Ctrl-C
    ended it early.
    """
    results = {part: Found(part, fsync) for part in wanted}
    rounds = [[part for part, kills in wanted.items() if kills > number] for number in range(max(wanted.values()))]
    interrupted = False
    with _cluster(wanted) as (address, node):
        settings: dict[str, object] = {"redis__fsync": fsync, "learner__workers": 2 if "rank" in wanted else 1}
        if address:
            settings["ray__address"] = address
        run = Run(parent, **settings)
        try:
            run.until(lambda: len(run.rows()) >= 3, "first steps", START_TIMEOUT_S)
            for part in (part for parts in rounds for part in rng.sample(parts, len(parts))):
                time.sleep(rng.uniform(1.0, 6.0))
                found = results[part]
                try:
                    found.seconds.append(kill(run, part, node))
                except Failed as failure:
                    found.failures.append(f"{failure}\nThe run's folder: {run.folder}")
                    break
                finally:
                    found.kills = len(found.seconds) + len(found.failures)
                flow = run.flow()
                if sentence := flow.ledger.check():
                    found.imbalances.append(sentence)
                flow.close()
                console.print(f"{part}: back after {found.seconds[-1]:.1f} s")
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # what was measured is still to be looked at and written
            interrupted = True
        finally:
            run.end()
        if run.survivors:
            next(iter(results.values())).failures.append(f"processes outlived the run: {run.survivors}")
        for found in results.values():
            verify(run, found)
    return list(results.values()), interrupted


@contextmanager
def _cluster(parts: Collection[str]) -> Iterator[tuple[str, Callable[[], None] | None]]:
    """For `node` a cluster of two nodes whose second can be killed; a new one takes its place after two seconds.

    Else nothing.
    """
    if "node" not in parts:
        yield "", None
        return
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    # As in cluster.yaml, kinds of workers keep to nodes of their own: the executors' node goes.
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"trainer": 2}, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=1, resources={"executor": 1})]

    def replace() -> None:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        time.sleep(2.0)
        nodes.append(cluster.add_node(num_cpus=1, resources={"executor": 1}))

    try:
        yield cluster.address, replace
    finally:
        cluster.shutdown()


def show(results: Sequence[Found], console: Console) -> None:
    """The table."""
    table = Table(title=f"SIGKILL under load; {os.cpu_count()} cores", box=box.MARKDOWN)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("killed", "ledger") else "right")
    for found in sorted(results, key=lambda found: (PARTS.index(found.part), found.fsync != "everysec")):
        seconds = f"{statistics.median(found.seconds):.1f} (at most {max(found.seconds):.1f})" if found.seconds else "-"
        ledger = "balances" if not found.imbalances else f"{len(found.imbalances)} imbalances"
        counts = (f"{found.programs:,}", found.lost, found.twice, found.rolled_back)
        cells = (found.fsync, found.kills, len(found.seconds), seconds, ledger, *counts)
        table.add_row(NAMES[found.part], *[str(cell) for cell in cells])
    console.print(table)
    for failure in (failure for found in results for failure in found.failures):
        print_error(failure)


def main() -> int:
    """Exit code 0 when every number is what it should be, 1 when one is not, 2 when the command line is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one kill of each part, fsync everysec")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas (default: all)")
    parser.add_argument(
        "--kills", type=int, default=5, metavar="N", help="of each part, those in the JSON file counted (default: 5)"
    )
    parser.add_argument(
        "--fsync", default="everysec,always", help="everysec, always, or both (default: everysec,always)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="figures so far, and those of this call")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part {sorted(unknown)[0]}: {', '.join(PARTS)}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    results = (
        [Found(**row) for row in json.loads(options.json.read_text())] if options.json and options.json.exists() else []
    )
    kills = 1 if options.quick else options.kills
    together = [[part for part in parts if part not in APART], *([part] for part in parts if part in APART)]
    for fsync, group in itertools.product(["everysec"] if options.quick else options.fsync.split(","), together):
        before = {part: Found(part, fsync) for part in group}
        before |= {row.part: row for row in results if row.part in before and row.fsync == fsync}
        wanted = {part: kills - found.kills for part, found in before.items() if found.kills < kills}
        if not wanted:
            continue
        parent = Path(tempfile.mkdtemp(prefix="kill-"))
        measured, interrupted = measure(
            wanted, fsync, parent, random.Random(f"{options.seed} {fsync} {wanted}"), console
        )
        measured = [found for found in measured if found.kills]
        new = {found.part: before[found.part] + found for found in measured}
        results = [row for row in results if row.part not in new or row.fsync != fsync] + list(new.values())
        if options.json:
            options.json.write_text(json.dumps([asdict(row) for row in results], indent=1) + "\n")
        if not any(found.failures for found in measured):
            shutil.rmtree(parent)
        if interrupted:
            break
    show(results, console)
    return (
        1
        if any(found.failures or found.imbalances or found.lost or found.twice or found.slow for found in results)
        else 0
    )


if __name__ == "__main__":
    sys.exit(main())
