"""The command doctor: does this machine have what a run needs? Tries each part for real and says what to change."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rltf.buffer.connection import connect, redacted
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, UserError
from rltf.driver.extras import advice
from rltf.driver.host_limits import memory_bytes
from rltf.driver.ray_address import check_reachable, find_cluster_address
from rltf.driver.ray_start import prepare
from rltf.executor.doctor import Finding, findings
from rltf.problems.files import atomic_output
from rltf.telemetry.console import print_error

MIN_DISK_GB, GOOD_DISK_GB = 1.0, 10.0
MIN_MEMORY_GB, GOOD_MEMORY_GB = 1.0, 4.0
_GB = 1e9
_PACKAGES = ("torch", "transformers", "deepspeed", "ray", "redis", "numpy")
_PROBE_TIMEOUT_S = 120.0
_NO_TORCH = 3
_ASK_TORCH = f"""
import json, sys
try:
    import torch
except ImportError:
    sys.exit({_NO_TORCH})
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
devices = [torch.cuda.get_device_properties(index) for index in range(count)]
print(json.dumps([torch.__version__, [[device.name, device.total_memory] for device in devices]]))
"""
_STYLES = {"on": "green", "off": "yellow", "bad": "bold red"}


def doctor(config: Config, out: Path | None, console: Console, read: Path | None = None) -> bool:
    """Prints the report; whether a run can start here.

    Args:
        config: what a run would use; parts that it does not use are not asked for.
        out: where to write the same as JSON, a list of objects with part, name, state, text and advice.
        console: where to print.
        read: the file that the configuration is from.

    Raises:
        UserError: `out` cannot be written.
    """
    with atomic_output(out, read) if out is not None else nullcontext() as file:
        found = _examined(config, console)
        if file is not None:
            file.write(json.dumps([asdict(finding) for finding in found], indent=1) + "\n")
    bad = [finding for finding in found if finding.state == "bad"]
    if bad:
        reasons = "; ".join(f"{finding.part}, {finding.name}: {finding.text}" for finding in bad)
        print_error(f"a run cannot start here: {reasons}")
    else:
        console.print("a run can start here")
    return not bad


def _examined(config: Config, console: Console) -> list[Finding]:
    """What was found, which is also printed as a table."""
    found: list[Finding] = []
    table = Table("", "", "", "what was found, or why not", title=None, box=None, pad_edge=False)
    parts = (_system(), findings(config.executor), _redis(config), _ray(config), _gpu(config), _room(config))
    for part in parts:
        for finding in part:
            shown = finding.part if not found or finding.part != found[-1].part else ""
            found.append(finding)
            text = Text(finding.text)
            if finding.advice:
                text.append(f"{'; ' if finding.text else ''}{finding.advice}", style="cyan")
            table.add_row(shown, finding.name, Text(finding.state, style=_STYLES[finding.state]), text)
    console.print(table)
    return found


def _system() -> Iterator[Finding]:
    uname = platform.uname()
    yield Finding("system", "kernel", "on", f"{uname.system} {uname.release}, {uname.machine}")
    if "gVisor" in Path("/proc/version").read_text():
        yield Finding(
            "system", "gVisor", "on", "the kernel is gVisor's: it isolates as well, and answers system calls slowly"
        )
    yield Finding("system", "Python", "on", platform.python_version())
    for name in _PACKAGES:
        try:
            yield Finding("system", name, "on", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding("system", name, "off", "not installed: this machine can only run executors")


def _redis(config: Config) -> Iterator[Finding]:
    url, timeout_s = config.redis.url, config.redis.timeout_s
    name = "redis.url" if url else "embedded server"
    try:
        with ExitStack() as stack:
            if not url:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="doctor-redis-"))
                server = EmbeddedRedis.start(Path(folder))
                stack.callback(server.stop)
            client = stack.enter_context(connect(url or server.url, timeout_s))
            version = client.info("server")["redis_version"]
    except (UserError, RuntimeError) as error:
        yield Finding("Redis", name, "bad", str(error))
        return
    found = f"version {version} at {redacted(url)}" if url else f"starts and answers, version {version}"
    yield Finding("Redis", name, "on", found)


def _ray(config: Config) -> Iterator[Finding]:
    try:
        import ray
    except ImportError as error:
        yield Finding("Ray", "package", "bad", str(error), advice("executor"))
        return
    wanted = find_cluster_address(config)
    try:
        if wanted.starts_here:
            sessions = prepare(config.workers)
            yield Finding(
                "Ray", "address", "on", f"none: a run starts Ray {ray.__version__} here, its sessions are in {sessions}"
            )
            return
        check_reachable(wanted)
    except UserError as error:
        yield Finding("Ray", "address", "bad", str(error))
        return
    found = (
        "auto: a run joins what `ray start` left running here, and needs it"
        if wanted.address == "auto"
        else f"{wanted.address} answers"
    )
    yield Finding("Ray", "address", "on", found)


def _gpu(config: Config) -> Iterator[Finding]:
    wanted = max(config.actors.gpus_per_actor, config.learner.gpus_per_worker)
    # In a process of its own: what a broken driver does to it stays there.
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        yield Finding(
            "GPU",
            "torch",
            "bad",
            f"it does not say within {_PROBE_TIMEOUT_S:g} s which GPUs there are",
            "see the kernel's log",
        )
        return
    if asked.returncode == _NO_TORCH:
        yield Finding("GPU", "torch", "off", "torch is not installed: this machine can only run executors")
        return
    if asked.returncode:
        yield Finding(
            "GPU",
            "torch",
            "bad",
            asked.stderr.strip().splitlines()[-1] if asked.stderr.strip() else "it cannot be imported",
        )
        return
    version, devices = json.loads(asked.stdout.splitlines()[-1])
    for index, (name, size) in enumerate(devices):
        yield Finding("GPU", f"device {index}", "on", f"{name}, {size / _GB:.0f} GB")
    if devices:
        return
    blind = shutil.which("nvidia-smi") is not None
    text = "there is one, but torch cannot use it" if blind else "none: models run on the CPU"
    advice = f"install a CUDA build of torch for the driver (this is {version})" if blind else ""
    yield Finding("GPU", "device", "bad" if wanted and not config.ray.address else "off", text, advice)


def _room(config: Config) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding("room", "cores", "on", f"{cores}, load {os.getloadavg()[0]:.1f}")
    total, free = memory_bytes()
    yield _enough("memory", free / _GB, MIN_MEMORY_GB, GOOD_MEMORY_GB, f"of {total / _GB:.1f} GB available")
    folder = Path(config.run.folder).absolute()
    while not folder.exists():
        folder = folder.parent
    temporary = Path(tempfile.gettempdir())
    for name, path in (
        ("disk of runs", folder),
        ("disk of temporary files", temporary),
        ("shared memory", Path("/dev/shm")),
    ):
        if path.exists():
            free = shutil.disk_usage(path).free / _GB
            least = 0.1 if path == Path("/dev/shm") else MIN_DISK_GB
            yield _enough(name, free, least, least * GOOD_DISK_GB / MIN_DISK_GB, f"free in {path}")


def _enough(name: str, size_gb: float, least_gb: float, good_gb: float, text: str) -> Finding:
    text = f"{size_gb:.1f} GB {text}"
    if size_gb < least_gb:
        return Finding("room", name, "bad", text, f"at least {least_gb:g} GB are needed")
    if size_gb < good_gb:
        return Finding("room", name, "off", text, f"{good_gb:g} GB would be better")
    return Finding("room", name, "on", text)
