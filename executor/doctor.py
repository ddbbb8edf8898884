"""What this machine offers to hold untrusted programs: each tier tried, each layer with the reason where it is off and
what to change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig
from rltf.executor.isolation import Tier
from rltf.executor.lane import TIERS, Lane
from rltf.executor.protocol import LaneFailure
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import TestSuite

PROGRAMS = 50
SETTINGS = Path("/proc/sys")
State = Literal["on", "off", "bad"]

LAYERS = {
    "namespaces": "mount, network, IPC, UTS and pid of the lane's own",
    "user namespace": "one user id without rights is all there is",
    "read-only root": "Python and the system's libraries, an empty /box",
    "pid namespace per program": "a program sees itself alone, and nothing of it outlives it",
    "Landlock": "opens nothing but Python and its working folder",
    "seccomp": "system calls of an allow list: threads, no processes, no sockets",
    "user id without rights": "owns nothing on this machine",
    "process limit": "bounds the number of threads",
    "memory shortage ends lanes first": "the kernel prefers them to the trainer",
}
"""What each layer does."""
_SUM = TestSuite(kind="stdin", fn_name=None, inputs=("1 2\n", "3 4\n"), outputs=("3\n", "7\n"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    part: str
    name: str
    state: State
    """on: there; off: not there, and a run works all the same; bad: what a run needs is missing."""
    text: str
    """What was found, or why not."""
    advice: str = ""
    """What to change; empty if nothing needs to be."""


def findings(config: ExecutorConfig) -> Iterator[Finding]:
    """All that concerns programs, in the order it is to be read."""
    tried = {tier: _try(tier, config.python) for tier in TIERS}
    chosen = next((tier for tier in TIERS if isinstance(tried[tier], dict)), None)
    for tier, layers in tried.items():
        if isinstance(layers, dict):
            text = "can be had" + (", and is taken" if tier == chosen else "")
            yield Finding("sandbox", f"tier {tier}", "on", text)
        else:
            yield Finding("sandbox", f"tier {tier}", "off", layers, advice(layers))
    if chosen is None:
        state: State = "off" if config.unsafe else "bad"
        text = "none, and executor.unsafe is set" if config.unsafe else "none: executors refuse to start"
        yield Finding("sandbox", "isolation", state, text)
        if not config.unsafe:
            return
    taken = tried.get(chosen) if chosen else _try("none", config.python)
    if not isinstance(taken, dict):
        yield Finding("sandbox", "lane", "bad", str(taken))
        return
    for layer, said in taken.items():
        if said == "on":
            yield Finding("sandbox", layer, "on", LAYERS[layer])
        else:
            yield Finding("sandbox", layer, "off", said.removeprefix("off: "), advice(f"{layer}: {said}"))
    yield from _judging(config)


def _try(tier: Tier, python: str) -> dict[str, str] | str:
    """The layers of a lane of a tier, or why there is none."""
    lane = Lane((tier,), python=python)
    try:
        lane.start()
    except LaneFailure as failure:
        return lane.refusals.get(tier, str(failure))
    finally:
        lane.stop()
    return lane.layers


def _judging(config: ExecutorConfig) -> Iterator[Finding]:
    """An honest program judged right, and what that costs."""
    texts = [f"a, b = map(int, input().split())\nprint(a + b)  # {number}\n" for number in range(PROGRAMS + 1)]
    with SandboxJudge.from_config(config, lanes=1) as judge:
        judge.grade([(_SUM, texts[0])])
        before = time.process_time() + judge.lanes_cpu_s()
        results = judge.grade([(_SUM, text) for text in texts[1:]])
        cost = 1000 * (time.process_time() + judge.lanes_cpu_s() - before) / PROGRAMS
        right = all(isinstance(result, Feedback) and result.outcome == "pass" for result in results)
        text = f"{PROGRAMS} honest programs judged {'right' if right else 'WRONG'}, {cost:.1f} ms of CPU time each"
        yield Finding("sandbox", "judging", "on" if right else "bad", text)
        yield Finding("sandbox", "interpreter of programs", "on", f"Python {judge.python_version}")


def advice(reason: str) -> str:
    """The host setting that is likely to be behind a refusal."""
    if "not in this tier" in reason or "executor.python" in reason:
        return ""  # as it should be, or said already
    if reason.startswith(("namespaces", "user namespace")):
        return _advice_on_namespaces()
    if reason.startswith("Landlock"):
        if "[Errno 95]" in reason:
            return "Landlock is compiled in but switched off: add landlock to the kernel's boot parameter lsm="
        return (
            "Landlock needs Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK, not masked by a container's seccomp "
            "profile"
        )
    if reason.startswith("seccomp"):
        return (
            "seccomp filters need a kernel with CONFIG_SECCOMP_FILTER (every distribution's has it) on x86_64 or "
            "aarch64"
        )
    if reason.startswith("packages"):
        return "install the virtual environment in a folder that all users may enter"
    return ""


def _advice_on_namespaces() -> str:
    settings = [
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns` for the "
            "interpreter",
        ),
    ]
    found = [change for name, bad, change in settings if _setting(name) == bad]
    if found:
        return "; ".join(found)
    if _in_container():
        return (
            "this is a container whose profile forbids namespaces: docker run --security-opt seccomp=unconfined "
            "--security-opt "
            "apparmor=unconfined --security-opt systempaths=unconfined, or Kubernetes' hostUsers: false with "
            "procMount: Unmasked"
        )
    return (
        "no known host setting forbids them: see the kernel's log, security modules, and the process's own seccomp "
        "filter"
    )


def _setting(name: str) -> str:
    try:
        return (SETTINGS / name).read_text().strip()
    except OSError:
        return ""


def _in_container() -> bool:
    marks = [Path("/.dockerenv").exists(), Path("/run/.containerenv").exists(), "KUBERNETES_SERVICE_HOST" in os.environ]
    return any(marks) or "Seccomp:\t2" in Path("/proc/self/status").read_text()
