"""What the judge costs as a service: requests per second and latency, beside the library called directly; and what
becomes of it when clients and servers die.

    python -m benchmarks.service [--quick] [--json FILE]

The same programs (one stdin problem of 5 tests, each program with a text of its own) are judged by the library, in one
call and one by one, and by clients of a service on this machine: 1, 8 and 64 at a time, each on a connection of its
own, one program per request; and by one client in one request. Conditions take turns, round by round; shown are
medians over the rounds. The list that follows tries what may go wrong; it counts what is lost and what is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.served import SUITE, by_clients, program, service
from benchmarks.service_faults import full_queue, huge_request, killed_client, killed_server, many_requests
from rltf.config import ExecutorConfig
from rltf.executor.judge import Judge
from rltf.executor.remote_judge import RemoteJudge

CLIENTS = (1, 8, 64)


def measure(rounds: int, requests: int, lanes: int, console: Console) -> list[dict[str, Any]]:
    """Rows of the table: condition, programs per second, p50 and p99 in milliseconds."""
    found: dict[str, list[tuple[float, list[float]]]] = {}

    def note(name: str, seconds: float, times: list[float]) -> None:
        found.setdefault(name, []).append((requests / seconds, times))

    with (
        service("--executor.lanes", str(lanes)) as at,
        Judge.from_config(ExecutorConfig(), lanes) as judge,
        Judge.from_config(ExecutorConfig(), 1) as alone,
        RemoteJudge(f"http://127.0.0.1:{at.port}") as remote,
    ):
        for one in (judge, alone, remote):
            one.grade([(SUITE, program())] * 2)
        for number in range(rounds):
            work = [(SUITE, program()) for _ in range(requests)]
            begin = time.perf_counter()
            judge.grade(work)
            note(f"library, one call, {lanes} lanes", time.perf_counter() - begin, [])
            times = []
            for suite, code in [(SUITE, program()) for _ in range(requests)]:
                begin = time.perf_counter()
                alone.grade([(suite, code)])
                times.append(time.perf_counter() - begin)
            note("library, one by one, 1 lane", sum(times), times)
            work = [(SUITE, program()) for _ in range(requests)]
            begin = time.perf_counter()
            remote.grade(work)
            note("service, one request (executor.judge remote)", time.perf_counter() - begin, [])
            for clients in CLIENTS:
                note(f"service, {clients} client{'s' * (clients > 1)}", *by_clients(at, clients, requests))
            console.print(f"round {number + 1} of {rounds}")
    rows = []
    for name, runs in found.items():
        times = [one for _, each in runs for one in each]
        percent = quantiles(times, n=100) if times else None
        row = {"condition": name, "programs_per_second": round(median(rate for rate, _ in runs), 1)}
        row |= {"p50_ms": round(1000 * percent[49], 2), "p99_ms": round(1000 * percent[98], 2)} if percent else {}
        rows.append(row)
    return rows


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 64 programs, 1,000 requests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400, help="programs per round and condition")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    known = parser.parse_args()
    rounds, requests = (2, 64) if known.quick else (known.rounds, known.requests)
    console = Console(soft_wrap=True)
    rows = measure(rounds, requests, known.lanes, console)
    table = Table("condition", "programs/s", "p50 ms", "p99 ms")
    for row in rows:
        table.add_row(
            row["condition"], *(str(row.get(name, "")) for name in ("programs_per_second", "p50_ms", "p99_ms"))
        )
    console.print(table)
    tried: dict[str, str] = {}
    number = 1_000 if known.quick else 10_000
    for name, attempt in (
        ("a killed client", killed_client),
        ("a killed server", killed_server),
        ("a full queue", full_queue),
        ("a request of 100 MB", huge_request),
        (f"{number:,} requests", lambda: many_requests(number)),
    ):
        tried[name] = attempt()
        console.print(f"{name}: {tried[name]}", markup=False)
    if known.json:
        known.json.write_text(json.dumps({"lanes": known.lanes, "speed": rows, "tried": tried}, indent=1) + "\n")
    return int(any(word in told for told in tried.values() for word in ("LOST", "LEFT", "NOT REFUSED")))


if __name__ == "__main__":
    sys.exit(main())
