"""The tiers of isolation: what is chosen where, what a program's process has, what stays behind.

Attacks: test_executor_attacks.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rltf.buffer.records import Feedback
from rltf.executor import seccomp, syscalls
from rltf.executor.isolation import empty
from rltf.executor.sandbox_judge import SandboxJudge
from tests.support.attacks.common import SCAN
from tests.support.executor_suites import HONEST_SUMS, SUM, stdin_suite
from tests.support.paths import ROOT

HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    with SandboxJudge(1, 1.0, 512) as judge:
        yield judge


def _printed(judge: SandboxJudge, program: str) -> str:
    """What a program prints, found by asking for something else."""
    (feedback,) = judge.grade([(stdin_suite(("", "?")), program)])
    assert isinstance(feedback, Feedback) and feedback.outcome == "failure", feedback
    return feedback.message.removeprefix("expected '?', got ")


# A process that puts itself under a filter like a container's, then says which tier a judge gets.
REFUSING = """
import ctypes, json, os, struct, sys
from rltf.executor import seccomp
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.executor.lane import NoSandbox
from rltf.executor.syscalls import libc
from tests.support.executor_suites import HONEST_SUMS, SUM
numbers, error, tiers = json.loads(sys.argv[1])
code = struct.pack("=HBBI", 0x20, 0, 0, 0)
for number in numbers:
    code += struct.pack("=HBBI", 0x15, 0, 1, number) + struct.pack("=HBBI", 0x06, 0, 0, 0x50000 | error)
code += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
libc.prctl(38, 1, 0, 0, 0)
seccomp.Filter(code, []).load(os.getpid())
try:
    with SandboxJudge(1, 1.0, 256, tiers=tiers) as judge:
        (result,) = judge.grade([(SUM, HONEST_SUMS["input"])])
        print(json.dumps([judge.tier, judge.layers, result.outcome]))
except NoSandbox as refusal:
    print(json.dumps(["refused", str(refusal), None]))
"""
UNSHARE, MOUNT, CLONE3 = {"x86_64": (272, 165, 435), "aarch64": (97, 40, 435)}.get(syscalls.MACHINE, (0, 0, 0))
LANDLOCK, SECCOMP = 444, syscalls.number("seccomp")
EPERM, ENOSYS = 1, 38


def _under_a_filter(
    numbers: list[int | None], error: int, tiers: tuple[str, ...] = ("A", "B")
) -> tuple[str, object, str | None]:
    # Tier B needs an interpreter that a user without rights can read, which root's own may not be.
    python = (
        "/usr/bin/python3"
        if os.geteuid() == 0 and not os.stat("/root").st_mode & 1 and sys.base_prefix.startswith("/root")
        else None
    )
    code = REFUSING if python is None else REFUSING.replace("tiers=tiers", f"tiers=tiers, python={python!r}")
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([numbers, error, tiers])],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    tier, layers, outcome = json.loads(done.stdout)
    return tier, layers, outcome


def test_without_namespaces_there_is_tier_b_and_the_reason_is_told() -> None:
    tier, layers, outcome = _under_a_filter([UNSHARE, MOUNT], EPERM)
    assert (tier, outcome) == ("B", "pass")
    assert isinstance(layers, dict) and layers["tier A"].startswith("off: namespaces: [Errno 1]")
    assert layers["Landlock"] == layers["seccomp"] == "on"


def test_where_mounting_fails_half_way_there_is_tier_b() -> None:
    tier, layers, outcome = _under_a_filter([MOUNT], EPERM)
    assert (tier, outcome) == ("B", "pass")
    assert isinstance(layers, dict) and "mount" in layers["tier A"]


def test_without_landlock_there_is_tier_a_still() -> None:
    tier, layers, outcome = _under_a_filter([LANDLOCK], ENOSYS)
    assert (tier, outcome) == ("A", "pass")
    assert isinstance(layers, dict) and layers["Landlock"].startswith("off: [Errno 38]")


@pytest.mark.parametrize("missing", [[UNSHARE, LANDLOCK], [SECCOMP]], ids=["namespaces and Landlock", "seccomp"])
def test_without_either_it_refuses_unless_told_otherwise(missing: list[int | None]) -> None:
    answer, reason, _ = _under_a_filter(missing, ENOSYS)
    assert answer == "refused"
    assert (
        isinstance(reason, str)
        and "tier A:" in reason
        and "tier B:" in reason
        and "--executor.unsafe" in reason
        and "doctor" in reason
    )
    tier, layers, outcome = _under_a_filter(missing, ENOSYS, ("A", "B", "none"))
    assert (tier, outcome) == ("none", "pass")
    assert isinstance(layers, dict) and layers["tier B"].startswith("off: ")


@pytest.mark.parametrize("machine", HEADERS)
def test_system_calls_have_their_numbers(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.is_file():
        pytest.skip(f"{header} is not installed")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    known = {"newfstatat" if name == "fstatat" else name: int(number) for name, number in reversed(found)}
    assert {name: syscalls.number(name, machine) for name in syscalls.NUMBERS} == {
        name: known.get(name) for name in syscalls.NUMBERS
    }


def _decide(machine: str, call: int, arguments: tuple[int, ...] = (), arch: int | None = None, pid: int = 77) -> int:
    """What the filter answers: its code, interpreted as the kernel would."""
    code, offsets = seccomp.assemble(machine)
    for offset in offsets:
        code[offset : offset + 4] = pid.to_bytes(4, "little")
    data = [call, seccomp.AUDIT_ARCH[machine] if arch is None else arch, 0, 0]
    for argument in [*arguments, *[0] * (6 - len(arguments))]:
        data += [argument & 0xFFFFFFFF, argument >> 32 & 0xFFFFFFFF]
    place = a = x = 0
    for _ in range(len(code)):
        opcode, then, otherwise = int.from_bytes(code[place : place + 2], "little"), code[place + 2], code[place + 3]
        value = int.from_bytes(code[place + 4 : place + 8], "little")
        place += 8
        if opcode == 0x06:
            return value
        if opcode == 0x05:
            place += 8 * value
        elif opcode in (0x15, 0x35, 0x45):
            holds = a == value if opcode == 0x15 else a >= value if opcode == 0x35 else bool(a & value)
            place += 8 * (then if holds else otherwise)
        elif opcode == 0x07:
            x = a
        elif opcode == 0x20:
            a = data[value // 4]
        elif opcode == 0x00:
            a = value
        elif opcode == 0x54:
            a &= value
        else:
            a >>= {0x74: value, 0x7C: x}[opcode]
    raise AssertionError("the filter does not end")


@pytest.mark.parametrize("machine", HEADERS)
def test_the_filter_allows_what_it_lists_and_nothing_else(machine: str) -> None:
    special = (
        set(seccomp.CHECKED) | set(seccomp.REFUSED) | {*seccomp.DONE, *seccomp.MISSING, "kill", "tgkill", "sendto"}
    )
    lane_only = {"seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
    free = {syscalls.number(name, machine) for name in syscalls.NUMBERS.keys() - special - lane_only}
    named = {syscalls.number(name, machine): name for name in special}
    for number in [*range(0, 700), 1 << 30, (1 << 30) + 39, 0xFFFFFFFF]:
        if number not in named:
            refusal = 0x50000 | (EPERM if number < 424 else ENOSYS)
            assert _decide(machine, number) == (seccomp.ALLOW if number in free else refusal), number
    assert {_decide(machine, syscalls.number(name, machine) or 0) for name in seccomp.DONE} == {0x50000}
    assert {_decide(machine, syscalls.number(name, machine) or 0) for name in seccomp.MISSING} == {0x50000 | ENOSYS}
    assert _decide(machine, 0, arch=0x40000003) == seccomp.KILL


@pytest.mark.parametrize("machine", HEADERS)
def test_the_filter_looks_at_arguments(machine: str) -> None:
    def allowed(name: str, *arguments: int) -> bool:
        number = syscalls.number(name, machine)
        assert number is not None
        return _decide(machine, number, arguments) == seccomp.ALLOW

    assert allowed("clone", 0x3D0F00) and not allowed("clone", 17) and not allowed("clone", 0x3D0F00 | 0x10000000)
    assert (
        allowed("kill", 77, 10)
        and not allowed("kill", 78, 10)
        and not allowed("kill", 77, 9)
        and not allowed("kill", 0xFFFFFFFF, 10)
    )
    assert allowed("tgkill", 77, 80, 10) and not allowed("tgkill", 78, 80, 10) and not allowed("tgkill", 77, 80, 9)
    assert allowed("prlimit64", 0, 3) and allowed("prlimit64", 77, 9) and not allowed("prlimit64", 1, 3)
    assert not allowed("prlimit64", 0, 0) and allowed("setrlimit", 7) and not allowed("setrlimit", 0)
    assert allowed("madvise", 0, 4096, 4) and not allowed("madvise", 0, 4096, 25)
    direct = seccomp.O_DIRECT[machine]
    assert (
        not allowed("openat", 0, 0, direct)
        and not allowed("fcntl", 3, 4, direct | 1)
        and allowed("fcntl", 3, 4, 0o4000)
    )
    assert allowed("fcntl", 3, 1031, direct)
    assert allowed("openat", 0, 0, 0o1000 | 1) and not allowed("openat", 0, 0, 0o1000) and allowed("openat", 0, 0, 0)
    assert allowed("socketpair", 1, 0o2000001) and not allowed("socketpair", 1, 2) and not allowed("socketpair", 2, 1)
    assert allowed("sendto", 4, 1, 1, 0, 0, 0) and not allowed("sendto", 4, 1, 1, 0, 1 << 32, 16)
    assert (
        allowed("fcntl", 3, 1030)
        and not allowed("fcntl", 3, 8)
        and allowed("ioctl", 0, 0x5401)
        and not allowed("ioctl", 0, 0x5412)
    )
    assert allowed("prctl", 15) and not allowed("prctl", 22)


def test_a_program_sees_a_constant_environment(judge: SandboxJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLTF_SECRET", "hidden")
    names = _printed(judge, "import os\nprint(*sorted(os.environ))\n")
    assert names == r"'LANG OMP_NUM_THREADS OPENBLAS_NUM_THREADS PYTHONHASHSEED PYTHONUTF8\n'"


def test_a_program_runs_without_rights_and_alone(judge: SandboxJudge) -> None:
    if judge.tier != "A":
        pytest.skip(f"no namespaces here: {judge.layers}")
    assert (
        _printed(judge, "import os\nprint(os.getpid(), os.getppid(), os.getuid(), os.getgid())\n")
        == r"'1 0 65534 65534\n'"
    )
    assert _printed(judge, "import socket\nprint(socket.gethostname())\n") == r"'lane\n'"
    assert _printed(judge, "import os\nprint(os.listdir('/proc'), os.listdir('.'))\n") == r"'[] []\n'"


def test_a_program_can_search_its_memory_but_there_is_nothing_of_others(judge: SandboxJudge) -> None:
    # The search itself works: what is in memory is found. Without that, the attack that uses it would prove nothing.
    found = _printed(
        judge, SCAN + "needle = bytes([98 + i % 3 for i in range(30)])\nprint(len(scan(needle, 1 << 25)) > 0)\n"
    )
    assert found == r"'True\n'"
    text = "left-by-an-earlier-program"
    (told,) = judge.grade([(stdin_suite((text, text)), "print(input())\n")])
    assert isinstance(told, Feedback) and told.outcome == "pass"
    search = f"{SCAN}backwards = {text[::-1].encode()!r}\nfound = scan(backwards[::-1], 1 << 25)\nprint(len(found))\n"
    # The program makes the needle itself, so it finds that, and at times a copy that Python has freed; one in the lane
    # would come on top each time.
    texts = (search, search.replace(text[::-1], "no-program-ever-wrote-this"))
    count, control = (min(int(_printed(judge, one).strip("'\\n")) for _ in range(3)) for one in texts)
    assert 0 < count <= control


def test_a_sleeper_is_told_from_a_worker(judge: SandboxJudge) -> None:
    programs = ["import time\ntime.sleep(100)\n", "while True: pass\n", "import threading\nthreading.Event().wait()\n"]
    suite = stdin_suite(("", ""), time_limit_s=0.1)
    # Half a second is allowed in each test, but not in all of them together.
    naps = stdin_suite(*[("", "")] * 20, time_limit_s=0.1), "import time\ntime.sleep(0.5)\n"
    *others, napping = judge.grade([*((suite, text) for text in programs), naps])
    assert ["asleep" in getattr(result, "message", "") for result in others] == [True, False, True]
    assert isinstance(napping, Feedback) and napping.error_type == "TimeLimit" and "asleep" in napping.message
    assert 1 <= napping.passed < 10


def _descendants(ancestor: int) -> set[int]:
    """Processes that a process started, and those that they did."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found: set[int] = set()
    while new := {pid for pid, parent in parents.items() if parent in found | {ancestor}} - found:
        found |= new
    return found


def _gone(pids: set[int]) -> bool:
    return not any(Path("/proc", str(pid)).exists() for pid in pids)


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_judge_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before, descriptors = _descendants(os.getpid()), set(os.listdir("/proc/self/fd"))
    with SandboxJudge(2, 1.0, 256) as judge:
        started = _descendants(os.getpid()) - before
        assert len(started) >= 2
        judge.grade([(SUM, text) for text in HONEST_SUMS.values()])
    _until(lambda: _gone(started))
    assert list(tmp_path.iterdir()) == []
    assert (
        set(os.listdir("/proc/self/fd")) <= descriptors
    )  # fewer: what an earlier test left may be collected meanwhile


@pytest.mark.parametrize("tier", ["A", "none"])
def test_a_judge_that_is_killed_takes_its_programs_with_it(tier: str) -> None:
    marker = f"sleeps-for-{tier}-{os.getpid()}"
    script = (
        "import sys\nfrom rltf.executor.sandbox_judge import SandboxJudge\nfrom tests.support.executor_suites import stdin_suite\n"
        f"with SandboxJudge(1, 100.0, 256, tiers=({tier!r},)) as judge:\n    print('started', flush=True)\n"
        f"    judge.grade([(stdin_suite(('', ''), time_limit_s=100.0), 'import time; time.sleep(1000)  # {marker}')])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != "started\n":
            process.kill()
            pytest.skip(f"no tier {tier} on this machine")
        # The lane, its parent where it has namespaces, and the program itself.
        _until(lambda: len(_descendants(process.pid)) >= (3 if tier == "A" else 2))
        started = _descendants(process.pid)
        process.send_signal(signal.SIGKILL)
    _until(lambda: _gone(started))


def test_a_folder_is_emptied_whatever_is_in_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    box = tmp_path / "box"
    box.mkdir()
    deep = box
    for _ in range(400):
        deep = deep / "d"
    os.makedirs(deep)
    (deep / "file").write_text("")
    (box / "closed").mkdir()
    (box / "closed" / "inner").mkdir()
    (box / "closed" / "inner").chmod(0)
    (box / "closed").chmod(0)
    (box / "\n0").mkdir()
    (box / "\n0" / "file").write_text("")
    (box / "link").symlink_to(outside)
    (box / "dangling").symlink_to("nowhere")
    os.mkfifo(box / "pipe")
    (Path(os.fsdecode(bytes(box) + b"/\xff\xfe"))).write_text("")
    empty(str(box))
    assert list(box.iterdir()) == [] and list(outside.iterdir()) == [outside / "kept"]
