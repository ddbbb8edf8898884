"""Hostile programs against the whole judge, in both tiers, as root and as an ordinary user: the package `attacks` has
them.

They run inside throw-away pid, mount and network namespaces, so that a regression cannot reach the machine. Each tier
and each user meets an attack in every mode; every mode in each tier as each user, also of those that take their whole
time limit: RLTF_ALL_ATTACKS=1.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.attacks import ATTACKS, table
from tests.support.executor_attack_run import modes_of
from tests.support.paths import ROOT

ORDINARY = 12345
WAYS = {
    "tier A, root": ("A", 0),
    "tier A, user": ("A", ORDINARY),
    "tier B, root": ("B", 0),
    "tier B, user": ("B", ORDINARY),
}
ALL_MODES = bool(os.environ.get("RLTF_ALL_ATTACKS"))
TIMEOUT_S = 280
# Without a sandbox, as an ordinary user on a machine that otherwise runs nothing of theirs, these must get what they
# want: else they would prove nothing. The rest needs root, a network or an address that does not exist there, or harms
# what is to report it.
WORK_UNPROTECTED = [
    "fork, vfork, clone and clone3 by number",
    "shell, spawn and popen",
    "daemon",
    "kill by process id",
    "tgkill, tkill, sigqueue and pidfd by number",
    "SIGIO sent to another process",
    "reads the host's files",
    "deletes and overwrites the host's files",
    "makes files outside its folder",
    "changes modes, owners, times and attributes",
    "empties a file that it opens for reading",
    "links out of its folder",
    "reads through /proc",
    "TCP to a server on this machine",
    "UDP, raw and netlink sockets",
    "sockets of other processes by name",
    "opens a server",
]

Lines = list[dict[str, Any]]


@functools.cache
def throw_away() -> list[str]:
    """A command that runs another in namespaces of its own; skips the test, and fails it in CI, where that is not
    allowed.
    """
    command = shutil.which("unshare")
    reason = "no unshare command to make throw-away namespaces with"
    if command is not None:
        inside = [command, *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        inside += ["--pid", "--mount", "--net", "--fork", "--mount-proc", "--kill-child"]
        tried = subprocess.run([*inside, "true"], capture_output=True, text=True)
        if tried.returncode == 0:
            return inside
        reason = (
            f"this machine allows no throw-away namespaces: {tried.stderr.strip()} (`python launch.py doctor` has more)"
        )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def begin(**options: Any) -> subprocess.Popen[str]:
    runner = [
        sys.executable,
        str(ROOT / "tests" / "support" / "executor_attack_run.py"),
        "prepare",
        json.dumps(options),
    ]
    python = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [*throw_away(), *runner],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": python, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def finish(process: subprocess.Popen[str]) -> Lines:
    try:
        out, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:] + out[-1000:]
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Lines]]:
    """What every way of running them gave; all at once, as each waits for sleepers for half of its time."""
    started = {
        way: begin(tier=tier, uid=uid, way=number, all_modes=ALL_MODES)
        for number, (way, (tier, uid)) in enumerate(WAYS.items())
    }
    yield {way: finish(process) for way, process in started.items()}


@pytest.mark.parametrize("way", WAYS)
def test_the_tier_and_the_user_are_what_they_should_be(results: dict[str, Lines], way: str) -> None:
    first = results[way][0]
    assert (first["tier"], first["uid"]) == WAYS[way]
    off = {layer for layer, state in first["layers"].items() if state != "on"}
    assert off == (set() if first["tier"] == "A" else {"namespaces", "read-only root", "pid namespace per program"})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=[attack.name for attack in ATTACKS])
def test_attack(results: dict[str, Lines], way: str, number: int) -> None:
    attack = ATTACKS[number]
    lines = [line for line in results[way][1:] if line["name"] == attack.name]
    assert [line["mode"] for line in lines] == list(modes_of(attack, number, [*WAYS].index(way), ALL_MODES))
    for line in lines:
        assert line["verdict"] is not None, "no verdict: an infrastructure failure is none of a program's doing"
        assert line["verdict"][0] != "pass", line
        assert line["told"] == line["honest"] == "pass", f"an honest program was misjudged: {line}"
        assert not line["changed"], line
        assert line["restarts"] == 0, line


def test_attacks_work_where_there_is_no_sandbox() -> None:
    others = [attack.name for attack in ATTACKS if attack.name not in WORK_UNPROTECTED]
    worked = {line["name"]: line["worked"] for line in finish(begin(tier="control", uid=ORDINARY, skip=others))}
    assert worked == dict.fromkeys([attack.name for attack in ATTACKS if attack.name in WORK_UNPROTECTED], True)


def test_the_documentation_lists_them() -> None:
    assert table() in (ROOT / "docs" / "sandbox.md").read_text()
