"""What the service's benchmarks share: a service of their own, programs for it, and clients."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

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
