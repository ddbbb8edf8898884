"""The whole data flow at full speed for minutes: do Redis's memory, its file and the run folder stay within their
bounds?

    python -m benchmarks.buffer_soak [--minutes 15] [--samples-gb 1] [--json FILE] [--folder PATH]

A real server, and the run's own client code in processes of their own: one pushes groups of eight programs of 16 KiB as
fast as the queue takes them, one claims and grades them (a verdict at once; some are given back, some verdicts come
late), one draws steps of 24 groups, a new policy version each, and takes a checkpoint every 50. This process does what
a driver does: it reads telemetry, steps and samples, writes the run folder, and checks the ledger. Nobody paces anybody
but the work queue: the buffer evicts, samples become stale, and where the driver is slower than the flow the archive
drops its oldest. Every 5 s sizes are taken; at the end each greatest one is compared with its bound, and every sample
is accounted for: in samples/, deleted there by its bound, or lost by the archive.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from benchmarks.buffer import CLAIM, GROUP, PAUSE_S, STEP_GROUPS, VERDICT, program
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config
from rltf.monitor.memory import aof_bytes, redis_bytes, step_bytes
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.monitor.watcher import Watcher
from rltf.telemetry.recorder import Recorder

LOOK_S = 5.0
STOPPED_S = 20.0
"""A gap between two turns of the driver that is longer than this is no work of its own."""
CHECKPOINT_EVERY = 50
DAY_S = 86_400.0


def push(address: FlowAddress, stop: Any) -> None:
    """The actor."""
    flow, rng = Flow(address), random.Random(0)
    recorder = Recorder("actor-0", flow.telemetry.append)
    templates = [[program(f"{kind:08d}", number, rng) for number in range(GROUP)] for kind in range(8)]
    while not stop.is_set():
        visits, version = flow.control.next_visits(len(templates), "actor-0"), max(0, flow.control.version())
        names = [flow.control.visit_id(visit) for visit in visits]
        batch = [
            [
                replace(
                    one,
                    id=f"{name}/{n}",
                    group_id=name,
                    problem_id=name,
                    versions=[replace(one.versions[0], version=version)],
                )
                for n, one in enumerate(template)
            ]
            for name, template in zip(names, templates, strict=True)
        ]
        while batch and not stop.is_set():
            with recorder.phase("push"):
                answers = flow.work.push_many(batch, "actor-0")
            recorder.count("programs", GROUP * sum(answers))
            batch = [group for group, answer in zip(batch, answers, strict=True) if not answer]
            if batch:
                with recorder.phase("wait", waits_for="executor"):
                    time.sleep(PAUSE_S)
    flow.online.release("actor-0")
    recorder.close()
    flow.close()


def label(address: FlowAddress, stop: Any) -> None:
    """The executor."""
    flow, rng = Flow(address), random.Random(1)
    recorder = Recorder("executor-0", flow.telemetry.append)
    while not stop.is_set():
        claims = flow.work.claim("executor-0", CLAIM, block_s=0.5)
        ready = []
        for claim in claims:
            if rng.random() < 0.01:
                flow.work.nack("executor-0", claim, "a sandbox that does not start")
            else:
                ready.append((claim, VERDICT))
        with recorder.phase("grade"):
            recorder.count("programs", sum(flow.work.ack_many("executor-0", ready)))
    recorder.close()
    flow.close()


def draw(address: FlowAddress, stop: Any) -> None:
    """The learner."""
    flow = Flow(address)
    recorder = Recorder("learner-0", flow.telemetry.append)
    step = 0
    while not stop.is_set():
        with recorder.phase("draw", waits_for="executor"):
            groups = flow.online.draw(step + 1, STEP_GROUPS, step, block_s=0.5)
        if groups is None:
            continue
        step += 1
        ids = [sample.program.id for group in groups for sample in group.samples]
        flow.online.finish(step, dict.fromkeys(ids, "trained"))
        flow.control.set_version(step)
        recorder.count("samples", len(ids))
        recorder.gauge("version", step)
        flow.telemetry.append_step(
            {"step": step, "time": time.time(), "loss": 0.0, "samples": len(ids), "sample_ids": ids}
        )
        if step % CHECKPOINT_EVERY == 0:
            flow.online.confirm_checkpoint(flow.online.position())
    recorder.close()
    flow.close()


@dataclass
class Sizes:
    """Bytes by what holds them, as they were at each look."""

    seconds: list[float] = field(default_factory=list)
    looks: dict[str, list[float]] = field(default_factory=dict)

    def take(self, seconds: float, flow: Flow, server: EmbeddedRedis, folder: RunFolder) -> None:
        """One look."""
        client: Any = flow.client
        memory = client.info("memory")
        found: dict[str, float] = {
            "Redis, used_memory": memory["used_memory"],
            "Redis, resident": memory["used_memory_rss"],
        }
        found["Redis's file"] = _size(server.folder)
        for name in ("samples", "telemetry"):
            found[name] = _size(folder.path / name)
        found["rows of steps"] = _size(folder.path / "metrics.jsonl") + _size(folder.path / "tensorboard")
        self.seconds.append(seconds)
        for name, value in found.items():
            self.looks.setdefault(name, []).append(float(value))


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # merged or rewritten meanwhile
            continue
    return total


def soak(minutes: float, samples_gb: float, place: Path, console: Console) -> dict[str, Any]:
    """Runs it; the figures."""
    config = Config(
        run={"folder": str(place), "name": "soak", "samples_gb": samples_gb},
        policy={"max_prompt_tokens": 800, "max_program_tokens": 700},
        actors={"samples_per_problem": GROUP},
        learner={"groups_per_step": STEP_GROUPS},
        redis={"outage_s": 900.0},
        buffer={"when_full": "evict", "when_stale": "drop", "max_staleness": 8},
    )
    folder = RunFolder.create(config)
    server = EmbeddedRedis.start(folder.path / "redis")
    flow = Flow(FlowAddress.from_config(config, server.url, folder.key, server.socket))
    watcher = Watcher(flow, folder, RunState())
    spawn = multiprocessing.get_context("spawn")
    stop, sizes = spawn.Event(), Sizes()
    processes = [spawn.Process(target=part, args=(flow.address, stop), daemon=True) for part in (push, label, draw)]
    began = polled = time.monotonic()
    try:
        for process in processes:
            process.start()
        due = 0.0
        while (now := time.monotonic() - began) < 60 * minutes:
            if (
                time.monotonic() - polled > STOPPED_S
            ):  # stopped from outside, or asleep with the machine: this time does not count
                began += time.monotonic() - polled
            polled = time.monotonic()
            watcher.poll()
            if now >= due:
                sizes.take(now, flow, server, folder)
                due = now + LOOK_S
                counts = flow.ledger.counts()
                console.print(
                    f"{now:6.0f} s: {counts['generated']:,} programs, buffered {counts['buffered']:,}, lost "
                    f"{watcher.lost}"
                )
            if dead := [process for process in processes if not process.is_alive()]:
                raise RuntimeError(f"{len(dead)} of the processes died, the first with {dead[0].exitcode}")
            time.sleep(0.25)
        stop.set()
        for process in processes:
            process.join(60.0)
        seconds = time.monotonic() - began
        watcher.finish()
        sizes.take(seconds, flow, server, folder)
        imbalance, counts = watcher.check_ledger(), flow.ledger.counts()
        client: Any = flow.client
        totals = {name.decode(): int(value) for name, value in client.hgetall(flow.telemetry._keys.totals).items()}
        folder.close()
        kept = sum(kept.fate != "under_way" for kept in folder.samples())
        flow.close()
    finally:
        stop.set()
        server.stop()
    accounted = kept + folder.dropped_samples + watcher.lost["samples"]
    bounds = {
        "Redis, used_memory": redis_bytes(config),
        "Redis's file": aof_bytes(config),
        "samples": samples_gb * 1e9,
        "telemetry": config.run.telemetry_gb * 1e9,
        "rows of steps": len(folder.steps()) * step_bytes(config),
    }
    rows = [
        {
            "what": name,
            "median": sorted(looks)[len(looks) // 2],
            "greatest": max(looks),
            "end": looks[-1],
            "bound": bounds.get(name),
        }
        for name, looks in sizes.looks.items()
    ]
    faults = [
        f"{row['what']} reached {row['greatest']:,.0f} bytes"
        for row in rows
        if row["bound"] and row["greatest"] > row["bound"]
    ]
    if imbalance:
        faults.append(imbalance)
    if accounted != totals["archived"]:
        faults.append(f"{totals['archived']} samples have a fate, {accounted} are accounted for")
    return {
        "seconds": seconds,
        "programs": counts["generated"],
        "per_day": counts["generated"] / seconds * DAY_S,
        "per_s_of_a_day": counts["generated"] / DAY_S,
        "ledger": counts,
        "ledger_checks": watcher.ledger_checks,
        "samples_kept": kept,
        "samples_dropped_by_bound": folder.dropped_samples,
        "samples_lost_by_archive": watcher.lost["samples"],
        "rows_lost": watcher.lost["rows"] + watcher.lost["steps"],
        "telemetry_rows": totals.get("rows", 0),
        "sizes": rows,
        "looks": {"seconds": sizes.seconds, **sizes.looks},
        "faults": faults,
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """The table and the sentences under it."""
    table = Table(title=f"{figures['programs']:,} programs of 16 KiB in {figures['seconds']:.0f} s")
    for heading in ("MB", "median", "greatest", "at the end", "bound"):
        table.add_column(heading, justify="left" if heading == "MB" else "right")
    for row in figures["sizes"]:
        values = [f"{row[name] / 1e6:,.0f}" for name in ("median", "greatest", "end")]
        table.add_row(row["what"], *values, f"{row['bound'] / 1e6:,.0f}" if row["bound"] else "")
    console.print(table)
    console.print(f"As many as a run of {figures['per_s_of_a_day']:.1f} programs/s makes in a day.")
    fates = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in figures["ledger"].items() if number)
    console.print(f"Ledger: {fates}; it balanced in {figures['ledger_checks']} checks.")
    console.print(
        f"Samples with a fate: {figures['samples_kept']:,} in samples/, {figures['samples_dropped_by_bound']:,} "
        "deleted there by the "
        f"bound, {figures['samples_lost_by_archive']:,} lost because the driver was slower than the flow."
    )
    for fault in figures["faults"]:
        console.print(f"FAULT: {fault}")


def main() -> int:
    """Entry point; 1 when a bound was exceeded or something is not accounted for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="how long")
    parser.add_argument("--samples-gb", type=float, default=1.0, help="run.samples_gb: bound of samples/")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument(
        "--folder", type=Path, help="where the run folder is made; default: the system's folder for temporary files"
    )
    options = parser.parse_args()
    console = Console(width=140, highlight=False)
    with tempfile.TemporaryDirectory(prefix="buffer-soak-", dir=options.folder) as place:
        figures = soak(options.minutes, options.samples_gb, Path(place), console)
    show(figures, console)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if figures["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
