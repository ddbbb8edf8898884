"""Samples per second through the whole data flow, beside raw pipelined XADD/XREADGROUP of the same bytes on the same
server.

    python -m benchmarks.buffer [--quick] [--json FILE] [--rounds N] [--samples N] [--bytes N] [--fsync everysec|always]
                                [--tcp] [--folder PATH]

The flow: one process pushes groups of eight programs of 16 KiB (encoding them), one claims them and hands over a
verdict each, one draws steps of 24 groups (decoding every sample) and finishes them. The peer: one process sends XADDs
of as many bytes, 64 in a pipeline; one reads 64 at a time with XREADGROUP, acknowledges and deletes them. Nothing of
the peer's is encoded, decoded, labelled, grouped, bounded or counted. Both go through the embedded server's Unix socket
(with --tcp through TCP), its append-only file on. The two take turns within each round, so that load on the machine
meets both alike. CPU time is that of all processes, the server's included: beside the rates it tells how much of a
difference is the machine's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import string
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from rltf.buffer.columns import Floats, Ints
from rltf.buffer.connection import connect
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.records import Feedback, Program, TestResult, VersionRun, encode
from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.work_queue import Claim
from rltf.config import BufferConfig

BYTES = 16 * 1024
GROUP = 8
PAUSE_S = 0.002
"""Pause of a producer that finds the queue full, and of a consumer that found less than it asked for."""
STEP_GROUPS = 24
CLAIM = 64
PIPELINE = 64
WAIT_S = 120.0
"""Longest wait for anything to move."""

Run = Callable[[], None]
Part = Callable[[Flow, int, int], Run]
"""What one process does: prepares, given the flow, the number of samples and the bytes of each, and returns what is
timed."""


def program(group: str, number: int, rng: random.Random, size: int = BYTES) -> Program:
    """A program of `size` bytes as msgpack; of 16 KiB: an APPS-like prompt, 700 tokens, and text that fills
    the rest.
    """
    tokens, prompt = 700 * size // BYTES, 800 * size // BYTES
    fields: dict[str, Any] = {
        "id": f"{group}/{number}",
        "problem_id": f"train/{group}",
        "group_id": group,
        "prompt_ids": Ints(rng.randrange(300, 32000) for _ in range(prompt)),
        "token_ids": Ints(rng.randrange(300, 32000) for _ in range(tokens)),
        "log_probs": Floats(-rng.random() for _ in range(tokens)),
        "versions": [VersionRun(0, 0)],
        "finish_reason": "stop",
        "temperature": 1.0,
        "top_p": 1.0,
        "offsets": Ints(4 * index for index in range(tokens)),
    }
    bare = len(encode(Program(text="", **fields)))
    return Program(text="".join(rng.choices(string.printable, k=size - bare)), **fields)


VERDICT = Feedback(
    outcome="runtime_error", error_type="IndexError", line=7, message="list index out of range", passed=3, run=4,
    tests=[TestResult(outcome="pass", cpu_s=0.01)] * 3 + [TestResult(outcome="runtime_error", error_type="IndexError",
    cpu_s=0.01)],
)  # fmt: skip


def push(flow: Flow, samples: int, size: int) -> Run:
    """The actor: groups under ever new ids, the same few programs inside."""
    rng = random.Random(0)
    templates = [[program(f"{kind:08d}", number, rng, size) for number in range(GROUP)] for kind in range(8)]

    def run() -> None:
        for first in range(0, samples // GROUP, len(templates)):
            names = [f"{number:08d}" for number in range(first, min(samples // GROUP, first + len(templates)))]
            batch = [
                [
                    replace(member, id=f"{name}/{number}", group_id=name, problem_id=name)
                    for number, member in enumerate(template)
                ]
                for name, template in zip(names, templates, strict=False)
            ]
            while batch:
                answers = flow.work.push_many(batch, "actor-0")
                batch = [group for group, answer in zip(batch, answers, strict=True) if not answer]
                if batch:
                    time.sleep(PAUSE_S)

    return run


def label(flow: Flow, samples: int, size: int) -> Run:
    """The executor: the same verdict for everything, sent as the executors do: several together."""

    def run() -> None:
        done = 0
        ready: list[tuple[Claim, Feedback]] = []
        while done < samples:
            claims = flow.work.claim("executor-0", CLAIM, block_s=0.0 if ready else WAIT_S)
            if not claims and not ready:
                raise RuntimeError(f"no program to claim for {WAIT_S:g} s, after {done}")
            ready += [(claim, VERDICT) for claim in claims]
            if not claims or len(ready) >= CLAIM:
                done += sum(flow.work.ack_many("executor-0", ready))
                ready.clear()
            if len(claims) < CLAIM:
                time.sleep(PAUSE_S)

    return run


def draw(flow: Flow, samples: int, size: int) -> Run:
    """The learner: trains in no time."""

    def run() -> None:
        for step in range(1, samples // (GROUP * STEP_GROUPS) + 1):
            groups = flow.online.draw(step, STEP_GROUPS, 0, block_s=WAIT_S)
            if groups is None:
                raise RuntimeError(f"no groups to draw for {WAIT_S:g} s, at step {step}")
            flow.online.finish(step, {sample.program.id: "trained" for group in groups for sample in group.samples})

    return run


def raw_write(flow: Flow, samples: int, size: int) -> Run:
    """The peer's producer."""
    rng = random.Random(0)
    blobs = [rng.randbytes(size) for _ in range(PIPELINE)]

    def run() -> None:
        for _ in range(samples // PIPELINE):
            pipe = flow.client.pipeline(transaction=False)
            for blob in blobs:
                pipe.xadd("raw", {"data": blob})
            pipe.execute()

    return run


def raw_read(flow: Flow, samples: int, size: int) -> Run:
    """The peer's consumer."""

    def run() -> None:
        done = 0
        while done < samples:
            answer = flow.client.xreadgroup("readers", "one", {"raw": ">"}, count=PIPELINE, block=1000)
            if not answer:
                continue
            ids = [entry for entry, _ in answer[0][1]]
            pipe = flow.client.pipeline(transaction=False)
            pipe.xack("raw", "readers", *ids)
            pipe.xdel("raw", *ids)
            pipe.execute()
            done += len(ids)
            if len(ids) < PIPELINE:
                time.sleep(PAUSE_S)

    return run


@dataclass(frozen=True)
class Condition:
    """One way to move samples, as a process per part."""

    name: str
    parts: tuple[Part, ...]


CONDITIONS = (Condition("raw", (raw_write, raw_read)), Condition("flow", (push, label, draw)))


def measure(server: EmbeddedRedis, samples: int, size: int, rounds: int, tcp: bool) -> dict[str, Any]:
    """Rates (samples/s) and CPU time (microseconds per sample, by process) of each condition, round by round."""
    runs: dict[str, list[dict[str, float]]] = {condition.name: [] for condition in CONDITIONS}
    for number in range(rounds):
        for condition in CONDITIONS:
            address = FlowAddress(
                url=server.url,
                run=f"{condition.name}-{number}",
                buffer=BufferConfig(when_full="evict", max_staleness=None, archive_capacity=2048),
                groups_per_step=STEP_GROUPS,
                groups_per_version=STEP_GROUPS,
                group_size=GROUP,
                timeout_s=30.0,
                socket="" if tcp else server.socket,
            )
            runs[condition.name].append(_once(condition, address, samples, size))
    rates = {name: [run["samples_per_s"] for run in found] for name, found in runs.items()}
    return {
        "samples": samples,
        "bytes": size,
        "rounds": rounds,
        "way": "TCP" if tcp else "Unix socket",
        "runs": runs,
        "median": {name: statistics.median(found) for name, found in rates.items()},
        "share_of_raw": statistics.median(flow / raw for flow, raw in zip(rates["flow"], rates["raw"], strict=True)),
    }


def _once(condition: Condition, address: FlowAddress, samples: int, size: int) -> dict[str, float]:
    """One run on the emptied server."""
    flow = Flow(address)
    client: Any = flow.client
    client.flushall()
    if condition.name == "raw":
        client.xgroup_create("raw", "readers", "0", mkstream=True)
    spawn = multiprocessing.get_context("spawn")
    barrier, spent = spawn.Barrier(len(condition.parts) + 1), spawn.Queue()
    processes = [
        spawn.Process(target=_process, args=(part, address, samples, size, barrier, spent)) for part in condition.parts
    ]
    for process in processes:
        process.start()
    before = _server_cpu_s(client)
    barrier.wait(WAIT_S)
    began = time.perf_counter()
    for process in processes:
        process.join(4 * WAIT_S)
        if process.exitcode != 0:
            raise RuntimeError(f"a process of {condition.name} ended with {process.exitcode}")
    seconds = time.perf_counter() - began
    cpu = {"server": _server_cpu_s(client) - before} | dict(spent.get() for _ in processes)
    if condition.name == "flow":
        counts = flow.ledger.counts()
        imbalance = flow.ledger.check()
        if imbalance or counts["trained"] != samples:
            raise RuntimeError(f"not every sample arrived: {imbalance or counts}")
    flow.close()
    return {
        "samples_per_s": samples / seconds,
        **{f"cpu_us_{name}": 1e6 * value / samples for name, value in cpu.items()},
    }


def _process(part: Part, address: FlowAddress, samples: int, size: int, barrier: Any, spent: Any) -> None:
    flow = Flow(address)
    run = part(flow, samples, size)
    barrier.wait(WAIT_S)
    before = time.process_time()
    run()
    spent.put((part.__name__, time.process_time() - before))
    flow.close()


def _server_cpu_s(client: Any) -> float:
    facts = client.info("cpu")
    return float(facts["used_cpu_sys"]) + float(facts["used_cpu_user"])


def show(figures: dict[str, Any], fsync: str) -> None:
    """The table."""
    title = f"{figures['samples']} samples of {figures['bytes'] / 1024:g} KiB, {figures['way']}, appendfsync {fsync}"
    table = Table(title=title)
    for heading in ("round", "raw/s", "flow/s", "share", "raw: CPU us per sample", "flow: CPU us per sample"):
        table.add_column(heading, justify="right")
    for number, (raw, flow) in enumerate(zip(figures["runs"]["raw"], figures["runs"]["flow"], strict=True), start=1):
        rates = raw["samples_per_s"], flow["samples_per_s"]
        table.add_row(
            str(number), f"{rates[0]:.0f}", f"{rates[1]:.0f}", f"{rates[1] / rates[0]:.0%}", _cpu(raw), _cpu(flow)
        )
    median = figures["median"]
    table.add_row("median", f"{median['raw']:.0f}", f"{median['flow']:.0f}", f"{figures['share_of_raw']:.0%}", "", "")
    Console(width=140).print(table)


def _cpu(run: dict[str, float]) -> str:
    spent = {name.removeprefix("cpu_us_"): value for name, value in run.items() if name.startswith("cpu_us_")}
    return f"{sum(spent.values()):.0f} = " + " + ".join(f"{value:.0f} {name}" for name, value in spent.items())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples, two rounds")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--rounds", type=int, default=5, help="how often the two take turns")
    parser.add_argument(
        "--samples", type=int, default=38400, help="samples of one run; rounded down to whole steps and pipelines"
    )
    parser.add_argument("--bytes", type=int, default=BYTES, help="size of a program, 512 or more")
    parser.add_argument(
        "--fsync", choices=("everysec", "always"), default="everysec", help="when the server's file is synchronised"
    )
    parser.add_argument("--tcp", action="store_true", help="through TCP, as from another machine")
    parser.add_argument(
        "--folder", type=Path, help="where the server keeps its file; default: the system's folder for temporary files"
    )
    options = parser.parse_args()
    unit = GROUP * STEP_GROUPS  # a multiple of the peer's pipeline
    samples = max(1, (9600 if options.quick else options.samples) // unit) * unit
    with tempfile.TemporaryDirectory(prefix="buffer-benchmark-", dir=options.folder) as folder:
        server = EmbeddedRedis.start(Path(folder))
        try:
            connect(server.url, timeout_s=10.0).config_set("appendfsync", options.fsync)
            figures = measure(
                server, samples, max(512, options.bytes), 2 if options.quick else options.rounds, options.tcp
            )
        finally:
            server.stop()
    show(figures, options.fsync)
    if options.json:
        options.json.write_text(json.dumps(figures | {"fsync": options.fsync}, indent=1) + "\n")


if __name__ == "__main__":
    main()
