"""What this process may take of its machine: limits of a control group (a container, systemd's MemoryMax) and of the
shell.
"""

from __future__ import annotations

import resource
from pathlib import Path

from rltf.config import UserError

_UNUSED_GB = 10.0
"""Addresses that torch and Ray reserve beside the object store and mostly never use (measured: 9.9 to 10.3 GB of a
worker, 8 GB of which are no object store)."""
_MIN_STORE_BYTES = 80_000_000
"""Bytes; with fewer Ray does not start."""
_STORE_SHARE = 0.3
"""Share of the memory that Ray maps for its object store, in every worker."""


def memory_bytes(groups: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> tuple[float, float]:
    """Memory that this process may use, and how much of it is free; the narrowest of the machine's and those of its
    control groups.
    """
    lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    memory = {words[0].rstrip(":"): int(words[1]) * 1024.0 for words in lines if len(words) > 1}
    total, free = memory["MemTotal"], memory["MemAvailable"]
    for folder, limit, used in _groups(groups, proc):
        most = _number(folder / limit)
        if most is not None:
            total = min(total, most)
            free = min(free, max(0.0, most - (_number(folder / used) or 0.0)))
    return total, free


def object_store_bytes() -> int | None:
    """Size of Ray's object store where a control group allows less memory than the machine has, which Ray does not see;
    else None.
    """
    total = memory_bytes()[0]
    machine = memory_bytes(groups=Path("/nowhere"))[0]
    return max(int(_STORE_SHARE * total), _MIN_STORE_BYTES) if total < machine else None


def refuse_narrow_addresses() -> None:
    """Raises UserError where `ulimit -v` leaves fewer addresses than torch and Ray reserve: they would end in the
    middle of anything.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = _UNUSED_GB * 1e9 + _STORE_SHARE * memory_bytes()[0]
    if most != resource.RLIM_INFINITY and most < needed:
        raise UserError(
            f"the address space of a process is limited to {most / 1e9:.1f} GB (ulimit -v), and torch and Ray "
            "reserve about "
            f"{needed / 1e9:.0f} GB, most of which they never use: raise it (ulimit -v unlimited), and bound memory "
            "by a control group"
        )


def _groups(groups: Path, proc: Path) -> list[tuple[Path, str, str]]:
    """Folders of the process's memory control groups up to the root, with the names of the files for limit and use;
    both versions.
    """
    found: list[tuple[Path, str, str]] = []
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = groups, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = groups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        here = root / path.lstrip("/")
        found += [(folder, *names) for folder in (here, *here.parents) if folder == root or root in folder.parents]
    return found


def _number(file: Path) -> float | None:
    """None where there is no file, or no limit (`max`)."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return float(text) if text.isdigit() else None
