"""Two processes that are the ranks of one group and call one function after the other.

Torch and DeepSpeed are imported once for all that a file tests with two workers.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rltf.learner.world import World, free_address
from tests.support.paths import ROOT

BOUND_S = 280.0
"""Longest wait for what a call gives."""


class Ranks:
    """The two of them, started at once."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes what they print."""
        address, port = free_address()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            environment.pop(name, None)
        self._logs = [folder / f"rank-{rank}.txt" for rank in range(2)]
        self._processes = []
        for rank, log in enumerate(self._logs):
            command = [sys.executable, "-m", "tests.support.ranks", str(rank), address, str(port)]
            with log.open("w") as printed:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=printed, env=environment, cwd=ROOT
                )
            self._processes.append(process)

    def call(self, function: str, *arguments: str) -> list[Any]:
        """What `tests.support.learner_ranks.function(world, *arguments)` returns on each rank, through JSON."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps([function, *arguments]).encode() + b"\n")
            process.stdin.flush()
        return [self._answer(rank) for rank in range(2)]

    def _answer(self, rank: int) -> Any:
        stdout, deadline = self._processes[rank].stdout, time.monotonic() + BOUND_S
        assert stdout is not None
        while not select.select([stdout], [], [], 0.2)[0]:  # no line waits in the buffer: there is one per call
            assert all(process.poll() is None for process in self._processes), self._printed()
            assert time.monotonic() < deadline, f"rank {rank} has not answered within {BOUND_S:g} s"
        line = stdout.readline()
        assert line, self._printed()
        return json.loads(line)

    def _printed(self) -> str:
        return "a rank has ended:\n" + "\n".join(log.read_text()[-5000:] for log in self._logs)

    def end(self) -> None:
        """Ends both."""
        for process in self._processes:
            process.kill()
            process.communicate()


def main() -> None:
    """One rank: answers each line of standard input with one line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what DeepSpeed prints is no answer
    functions = importlib.import_module("tests.support.learner_ranks")
    world = World(int(sys.argv[1]), 2, sys.argv[2], int(sys.argv[3]), timeout_s=BOUND_S)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(getattr(functions, name)(world, *arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
