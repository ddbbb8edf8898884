"""Memory as control groups bound it, and what `ulimit -v` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rltf.driver.host_limits import memory_bytes

_MEMINFO = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\nHugePages_Total:       0\n"


def _tree(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(_MEMINFO)
    (proc / "self" / "cgroup").write_text(membership)
    groups.mkdir()
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    return groups, proc


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, (16_384e6, 8_192e6)),
        # systemd-run -p MemoryMax=4G, in a slice that has more.
        (
            "0::/user.slice/run.scope\n",
            {
                "user.slice/memory.max": "max\n", "user.slice/memory.current": "9000000000\n",
                "user.slice/run.scope/memory.max": "4000000000\n", "user.slice/run.scope/memory.current": "1000000000\n",
            },
            (4e9, 3e9),
        ),
        # A container, which sees its own group as the root; it has used more than is left.
        ("0::/\n", {"memory.max": "2000000000", "memory.current": "2000000001"}, (2e9, 0.0)),
        (
            "9:name=systemd:/\n4:cpu,memory:/docker/x\n0::/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "77",
                "memory/docker/memory.limit_in_bytes": "3000000000", "memory/docker/memory.usage_in_bytes": "500000000",
                "memory/docker/x/memory.limit_in_bytes": "6000000000", "memory/docker/x/memory.usage_in_bytes": "500000000",
            },
            (3e9, 2.5e9),
        ),
    ],
)  # fmt: skip
def test_the_narrowest_control_group_counts(
    membership: str, files: dict[str, str], expected: tuple[float, float], tmp_path: Path
) -> None:
    assert memory_bytes(*_tree(tmp_path, membership, files)) == pytest.approx(expected)


def test_this_machine_has_memory() -> None:
    total, free = memory_bytes()
    assert 0 < free <= total <= memory_bytes(groups=Path("/nowhere"))[0]
