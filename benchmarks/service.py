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
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.config import ExecutorConfig
from rltf.executor.judge import Judge
from rltf.executor.remote_judge import RemoteJudge
from rltf.problems import TestSuite

ROOT = Path(__file__).resolve().parents[1]
PROBLEM = {
    "inputs": [f"{n}\n{' '.join(str(n * k) for k in range(1, n + 1))}\n" for n in (5, 20, 40, 80, 100)],
    "outputs": [f"{sum(n * k for k in range(1, n + 1))}\n" for n in (5, 20, 40, 80, 100)],
}
SUITE = TestSuite("stdin", None, tuple(PROBLEM["inputs"]), tuple(PROBLEM["outputs"]))
PROGRAM = """
import sys

def main():
    data = sys.stdin.read().split()
    numbers = list(map(int, data[1:]))
    total = 0
    for number in numbers:
        total += number
    print(total)

main()
"""
CLIENTS = (1, 8, 64)
_numbers = count()


def program() -> str:
    """One that nobody has seen."""
    return f"{PROGRAM}# {next(_numbers)} of {os.getpid()}\n"


class Service:
    """`launch.py serve` on a free port."""

    def __init__(self, *options: str, port: int = 0) -> None:
        self.log = tempfile.TemporaryFile("w+")
        command = [sys.executable, str(ROOT / "launch.py"), "serve", "--port", str(port), *options]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 120
        while (found := re.search(r"serving at http://127\.0\.0\.1:(\d+)", self.said())) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: {self.said()}")
            time.sleep(0.05)
        self.port = int(found[1])

    def said(self) -> str:
        """What it printed so far."""
        return os.pread(self.log.fileno(), 1 << 16, 0).decode()

    def connect(self) -> http.client.HTTPConnection:
        """A connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def processes(self) -> list[int]:
        """Its processes that are alive, the programs that run among them; none that it left when it ended."""
        found, parents = {self.process.pid}, _parents()
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return [pid for pid in found if pid in parents]

    def metrics(self) -> dict[str, float]:
        """By name."""
        connection = self.connect()
        connection.request("GET", "/metrics")
        rows = connection.getresponse().read().decode().splitlines()
        connection.close()
        return {row.rpartition(" ")[0]: float(row.rpartition(" ")[2]) for row in rows if not row.startswith("#")}

    def stop(self) -> int:
        """Its exit code."""
        self.process.terminate()
        return self.process.wait(180)


def alive(pids: Sequence[int]) -> list[int]:
    """Those that have not ended."""
    return sorted(set(pids) & set(_parents()))


def _parents() -> dict[int, int]:
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(path.name)] = int(fields[1])
    return found


@contextmanager
def service(*options: str) -> Iterator[Service]:
    """A service, ended afterwards."""
    started = Service(*options)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()


def asked(*programs: str) -> bytes:
    """A request for these programs."""
    lines = [{"problem_id": "sum", "problem": PROBLEM}, *({"problem_id": "sum", "code": one} for one in programs)]
    return "\n".join(map(json.dumps, lines)).encode()


def rows_of(answer: http.client.HTTPResponse) -> list[dict[str, Any]]:
    """Its lines."""
    return [json.loads(line) for line in answer.read().splitlines() if line.strip()]


def by_clients(at: Service, clients: int, requests: int) -> tuple[float, list[float]]:
    """Seconds in all, and seconds of each request."""
    times: list[float] = []
    left = iter(range(requests))
    lock = threading.Lock()

    def work() -> None:
        connection = at.connect()
        while True:
            with lock:
                if next(left, None) is None:
                    break
            body = asked(program())
            begin = time.perf_counter()
            connection.request("POST", "/grade", body)
            answer = connection.getresponse()
            (row,) = rows_of(answer)
            times.append(time.perf_counter() - begin)
            assert row["outcome"] == "pass", row
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin, times


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


def _until(reached: Callable[[], bool], bound_s: float = 60.0) -> bool:
    deadline = time.monotonic() + bound_s
    while time.monotonic() < deadline:
        if reached():
            return True
        time.sleep(0.05)
    return False


ENDLESS = {**PROBLEM, "time_limit_s": 300.0}
LOOP = "while True:\n    pass\n"


def killed_client() -> str:
    """A client dies in the middle of 50 endless programs."""
    with service("--executor.lanes", "1") as at:
        connection = at.connect()
        lines = [json.dumps({"problem_id": "x", "problem": ENDLESS})]
        lines += [json.dumps({"problem_id": "x", "code": f"{LOOP}# {number}"}) for number in range(50)]
        connection.request("POST", "/grade", "\n".join(lines).encode())
        _until(lambda: at.metrics()["rltf_service_open_requests"] == 1)
        connection.close()
        freed = _until(lambda: at.metrics()["rltf_service_open_requests"] == 0)
        cancelled = at.metrics().get('rltf_service_programs_total{outcome="cancelled"}', 0)
        _, times = by_clients(at, 1, 5)
        before = at.processes()
        ended = at.stop()
        left = len(alive(before))
    verdict = "nothing left" if freed and cancelled == 50 and not left and ended == 0 else "LEFT"
    return f"{verdict}: {cancelled:.0f} of 50 programs cancelled, the next request took {times[0]:.2f} s"


def killed_server() -> str:
    """A server dies in the middle of 200 programs; another takes its place at the same port."""
    with service("--executor.lanes", "1") as at:
        judge = RemoteJudge(f"http://127.0.0.1:{at.port}")
        work = [(SUITE, program()) for _ in range(200)]
        verdicts: Counter[str] = Counter()
        again: Service | None = None
        for number, (_, result) in enumerate(judge.grade_each(work)):
            verdicts[getattr(result, "outcome", "no verdict")] += 1
            if number == 20:
                before = at.processes()
                os.kill(at.process.pid, signal.SIGKILL)
                at.process.wait()
                _until(lambda pids=before: not alive(pids), 30)
                left = len(alive(before))
                again = Service("--executor.lanes", "1", port=at.port)
        judge.close()
        if again is not None:
            again.stop()
    lost = 200 - verdicts.total()
    return f"{'nothing lost' if not lost and not left else 'LOST'}: {dict(verdicts)}, {left} processes left"


def full_queue() -> str:
    """64 clients at a service that answers 2 requests and lets 2 wait; each comes back when it is asked to."""
    refused, done = Counter[int](), Counter[str]()
    with service("--executor.lanes", "1", "--concurrency", "2", "--queue", "2") as at:

        def work() -> None:
            for _ in range(5):
                while True:
                    connection = at.connect()
                    connection.request("POST", "/grade", asked(program()))
                    answer = connection.getresponse()
                    if answer.status == 200:
                        done[rows_of(answer)[0]["outcome"]] += 1
                        connection.close()
                        break
                    refused[answer.status] += 1
                    wait_s = float(answer.headers["Retry-After"])
                    connection.close()
                    time.sleep(wait_s)

        threads = [threading.Thread(target=work) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lost = 320 - done["pass"]
    verdict = "nothing lost" if not lost else "LOST"
    return f"{verdict}: {done['pass']} of 320 requests answered, {refused[429]} times asked to come back"


def huge_request() -> str:
    """A request of 100 MB, and one that only says so."""
    with service("--executor.lanes", "1") as at:

        def peak_mb() -> float:
            texts = [Path(f"/proc/{pid}/status").read_text() for pid in at.processes()]
            return max(int(text.partition("VmHWM:")[2].split()[0]) for text in texts) / 1024

        by_clients(at, 1, 5)
        before = peak_mb()
        statuses = []
        for sent in (100 << 20, 0):
            connection = at.connect()
            connection.putrequest("POST", "/grade")
            connection.putheader("Content-Length", str(100 << 20))
            connection.endheaders()
            for _ in range(sent >> 20):
                connection.send(b" " * (1 << 20))
            statuses.append(connection.getresponse().status)
            connection.close()
        grown = peak_mb() - before
        by_clients(at, 1, 1)
    verdict = "refused" if statuses == [413, 413] and grown < 20 else "NOT REFUSED"
    return f"{verdict}: HTTP {statuses}, {grown:.1f} MB more memory"


def many_requests(number: int) -> str:
    """So many requests by 64 clients, one of whose connections in ten is broken off on the way."""
    with service() as at:
        by_clients(at, 8, 100)
        processes, files = len(at.processes()), _descriptors(at)
        begin = time.perf_counter()
        stop = threading.Event()

        def hang_up() -> None:
            while not stop.wait(0.05):
                with socket.create_connection(("127.0.0.1", at.port)) as client:
                    body = asked(program())
                    client.sendall(b"POST /grade HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        nuisance = threading.Thread(target=hang_up)
        nuisance.start()
        _, times = by_clients(at, 64, number)
        stop.set()
        nuisance.join()
        seconds = time.perf_counter() - begin
        _until(lambda: at.metrics()["rltf_service_open_requests"] == 0)
        left = len(at.processes()) - processes, _descriptors(at) - files
        ended = at.stop()
    fine = len(times) == number and left[0] <= 0 and left[1] <= 2 and ended == 0
    told = f"{len(times):,} answers in {seconds:.0f} s, processes {left[0]:+}, descriptors {left[1]:+}"
    return f"{'nothing lost' if fine else 'LOST'}: {told}"


def _descriptors(at: Service) -> int:
    return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in at.processes())


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
