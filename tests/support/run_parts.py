"""Runs of the whole system for the tests: `launch.py` as a user starts it, and the processes that it leaves behind or
does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.support.paths import ROOT

TINY: dict[str, object] = {
    "policy.d_model": 32,
    "policy.layers": 1,
    "policy.heads": 2,
    "policy.d_ff": 64,
    "policy.max_program_tokens": 24,
    "warm_start.steps": 4,
    "actors.problems_per_batch": 4,
    "actors.samples_per_problem": 3,
    "actors.greedy": True,
    "learner.objective": "rltf",
    "learner.supervised_ratio": 1,
    "learner.groups_per_step": 4,
    "learner.supervised_batch_size": 4,
    "learner.steps": 8,
    "learner.warm_start_threads": 1,
    "evaluation.every": 4,
    "evaluation.tasks": 16,
    "actors.cpus_per_actor": 0.5,
    "learner.cpus_per_worker": 0.5,
    "ray.address": "local",
    "ray.dashboard": False,
    "run.stall_timeout_s": 120,
}
"""A run of some seconds beyond its start: the paper's objective on the starter problems."""


class Launched:
    """`launch.py` in a process of its own; every process that it starts inherits a mark by which it is found."""

    def __init__(self, folder: Path, *arguments: str, **settings: object) -> None:
        """`settings`: fields of the configuration with `__` for the dot, on top of TINY unless `--resume` or another
        command is among the arguments.
        """
        self.mark = f"rltf-test-{uuid.uuid4().hex}"
        self.folder = folder / "run"
        self.log = folder / "terminal.txt"
        fields = {} if {"--resume", "evaluate"} & set(arguments) else TINY | {"run.folder": folder, "run.name": "run"}
        fields |= {key.replace("__", "."): value for key, value in settings.items()}
        command = [sys.executable, str(ROOT / "launch.py"), *arguments]
        command += [word for key, value in fields.items() for word in (f"--{key}", str(value))]
        environment = {
            key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "PYTEST_CURRENT_TEST")
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment | {"RLTF_TEST": self.mark},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def driver(self) -> int:
        """Process id of the driver; the process that was started is its guard."""
        guard = self.process.pid
        (driver,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()[:1]
        return int(driver)

    def wait(self, timeout_s: float = 540.0) -> int:
        """The exit code."""
        return self.process.wait(timeout_s)

    def until(self, seen: Callable[[], bool], timeout_s: float = 480.0) -> None:
        """Waits until `seen` holds; fails with what the terminal shows when the run ends before, or it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not seen():
            assert self.process.poll() is None, f"the run has ended:\n{self.terminal}"
            assert time.monotonic() < deadline, f"not seen within {timeout_s:g} s:\n{self.terminal}"
            time.sleep(0.2)

    @property
    def terminal(self) -> str:
        """What was printed so far."""
        return self.log.read_text()

    def survivors(self) -> list[str]:
        """Command lines of processes of this run that are alive."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    marked = self.mark.encode() in (path / "environ").read_bytes()
                    command = (path / "cmdline").read_bytes()
                except OSError:  # ended meanwhile, or not ours to look at
                    continue
                if marked and command:
                    found.append(command.replace(b"\0", b" ").decode(errors="replace")[:200])
        return found

    def gone(self, timeout_s: float = 20.0) -> bool:
        """Whether no process of the run is left, after `timeout_s` at most."""
        deadline = time.monotonic() + timeout_s
        while self.survivors() and time.monotonic() < deadline:
            time.sleep(0.2)
        return not self.survivors()
