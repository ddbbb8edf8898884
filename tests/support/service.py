"""A service as a user starts it, and plain requests to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

TOKEN = "the test's own"
ADD = {"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, 7]}
RIGHT, WRONG = "def add(a, b):\n    return a + b\n", "def add(a, b):\n    return 3\n"
LOOP = "def add(a, b):\n    while True: pass\n"


class StartedService:
    """`launch.py serve`, in a session of its own; `stop` ends it."""

    def __init__(self, folder: Path, *options: str, token: str = TOKEN) -> None:
        self.log = folder / f"serve-{uuid.uuid4().hex}.log"
        environment = {**os.environ, "RLTF_SERVE_TOKEN": token}
        command = [sys.executable, str(ROOT / "launch.py"), "serve", "--port", "0", *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.token = token
        self.port = int(self._until(r"serving at http://127\.0\.0\.1:(\d+)"))
        self.url = f"http://127.0.0.1:{self.port}"

    def _until(self, pattern: str, bound_s: float = 120.0) -> str:
        deadline = time.monotonic() + bound_s
        while (found := re.search(pattern, self.said)) is None:
            assert self.process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return found[1]

    @property
    def said(self) -> str:
        return self.log.read_text()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own, and all of its answer."""
        connection = self.connect()
        given = self.token if token is None else token
        named = {"Authorization": f"Bearer {given}"} if given else {}
        connection.request(method, path, body, named | headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer, data

    def grade(self, *lines: Any, **headers: str) -> list[dict[str, Any]]:
        """The answer's lines; each of the request an object, or bytes as they are."""
        answer, data = self.ask("POST", "/grade", as_lines(*lines), **headers)
        assert answer.status == 200, data
        return [json.loads(line) for line in data.splitlines() if line.strip()]

    def metrics(self) -> dict[str, float]:
        """By name, labels included."""
        rows = self.ask("GET", "/metrics")[1].decode().splitlines()
        return {row.rpartition(" ")[0]: float(row.rpartition(" ")[2]) for row in rows if not row.startswith("#")}

    def until(self, reached: Any, bound_s: float = 60.0) -> None:
        deadline = time.monotonic() + bound_s
        while not reached():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def processes(self) -> set[int]:
        """Ids of its processes that are alive, lanes and programs included; none once it has ended."""
        parents = _parents()
        found = {self.process.pid} & set(parents)
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def until_gone(self, processes: set[int]) -> None:
        """Waits until none of them is alive."""
        self.until(lambda: not processes & set(_parents()), 20)

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.terminate()
        return self.process.wait(120)

    def __enter__(self) -> StartedService:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def _parents() -> dict[int, int]:
    """By process that is alive its parent."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # ended meanwhile
                continue
            if state != "Z":
                found[int(path.name)] = int(parent)
    return found


def as_lines(*lines: Any) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
