"""Runs the hostile programs; meant to be started inside throw-away pid, mount and network namespaces, by
tests/integration/executor/test_attacks.py.

    python executor_attack_run.py '{"tier": "A", "uid": 0, "way": 0, "all_modes": false}'

One JSON line per attack and mode: the verdict, the verdict of an honest program right after it, and everything that is
not as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from rltf.buffer.records import Feedback  # noqa: E402
from rltf.executor.namespaces import CLONE_NEWUSER, mount, unshare  # noqa: E402
from rltf.executor.sandbox_judge import SandboxJudge  # noqa: E402
from rltf.problems.problem import TestSuite  # noqa: E402
from tests.support.attacks import ATTACKS, GOT, MODES, Attack, program, suite  # noqa: E402

BIND, RECURSIVE = 4096, 16384
OWN = ("/var/tmp", "/dev/shm")
"""Folders that get a file system of the run's own, so that nobody else changes them meanwhile."""


def make_readable(paths: list[str]) -> None:
    """Puts a folder that anyone may enter over each one on the way that is closed to others; what is wanted stays where
    it was.
    """
    for path in sorted({os.path.realpath(path) for path in paths}):
        closed = next((str(p) for p in [*reversed(Path(path).parents)] if not p.stat().st_mode & 0o001), None)
        if closed is None:
            continue
        descriptor = os.open(path, os.O_PATH)
        mount("tmpfs", closed, "tmpfs", 0, "mode=0755")
        os.makedirs(path)
        mount(f"/proc/self/fd/{descriptor}", path, None, BIND | RECURSIVE)
        os.close(descriptor)


def loopback_up() -> None:
    """Switches the loopback device on: a new network namespace has it off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: UP, RUNNING


def become(uid: int) -> None:
    """An ordinary user; where root is one itself, in a user namespace, under another number."""
    try:
        os.setresgid(uid, uid, uid)
    except OSError:
        unshare(CLONE_NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} 0 1"), ("gid_map", f"{uid} 0 1")):
            Path("/proc/self", name).write_text(text)
        return
    os.setgroups([])
    os.setresuid(uid, uid, uid)


def processes() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdigit()}


class Surroundings:
    """What must stay as it is, and what must not be reached."""

    def __init__(self) -> None:
        self.mark = "mark" + secrets.token_hex(8)
        self.canary = Path(tempfile.mkdtemp(prefix="canary-", dir=OWN[0]))
        self.canary.chmod(0o777)
        (self.canary / "folder").mkdir()
        for name in ("file", "secret", "folder/inner"):
            (self.canary / name).write_text("unharmed")
            (self.canary / name).chmod(0o666)
        self.servers = [
            socket.create_server(("127.0.0.1", 0)),
            socket.socket(socket.AF_UNIX),
            socket.socket(socket.AF_UNIX),
        ]
        self.servers[1].bind("\0" + self.mark)
        self.servers[2].bind(str(self.canary / "socket"))
        (self.canary / "socket").chmod(0o777)
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(self.servers[0].getsockname())
        for server in self.servers[1:]:
            server.listen()
        for server in (*self.servers, self.datagrams):
            server.setblocking(False)
        self.places = {
            "PORT": str(self.servers[0].getsockname()[1]),
            "CANARY": str(self.canary),
            "MARK": self.mark,
            "PROJECT": str(ROOT),
        }

    def state(self) -> dict[str, Any]:
        """Everything that an attack might change."""
        found: dict[str, Any] = {}
        for path in [self.canary, *sorted(self.canary.rglob("*"))]:
            status = path.lstat()
            text = path.read_text() if path.is_file() else ""
            found[str(path)] = (status.st_mode, status.st_uid, status.st_mtime_ns, text)
        for folder in ("/", "/tmp", *OWN):
            found[folder] = sorted(
                name for name in os.listdir(folder) if self.mark in name or name == "owned" or folder in OWN
            )
        found["connections"] = sum(self._came(server) for server in self.servers) + self._datagram()
        found["processes"] = sorted(processes())
        return found

    @staticmethod
    def _came(server: socket.socket) -> int:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return 0
        return 1

    def _datagram(self) -> int:
        try:
            self.datagrams.recv(1)
        except BlockingIOError:
            return 0
        return 1


def modes_of(attack: Attack, number: int, way: int, every: bool) -> tuple[str, ...]:
    """The modes to run an attack in, in the way of this number: two or three of the four unless `every`, so that both
    tiers and both users meet it in all four; a slow one takes turns.
    """
    if every:
        return MODES
    if attack.slow:
        return (MODES[number % 4],)
    return (MODES[0], MODES[1]) if way in (0, 3) else MODES[1:] if way == 1 else MODES[2:]


def control(skip: list[str]) -> None:
    """The attacks without any sandbox, as an ordinary user whom nothing outside this run's folders belongs to: which
    ones work?
    """
    for limit, most in (
        (resource.RLIMIT_NPROC, 100),
        (resource.RLIMIT_AS, 1 << 32),
        (resource.RLIMIT_FSIZE, 1 << 24),
        (resource.RLIMIT_CPU, 5),
    ):
        resource.setrlimit(limit, (most, most))
    for attack in ATTACKS:
        if (
            attack.name not in skip
            and attack.wants == "escape"
            and attack.group in ("processes", "signals", "files", "network", "rights")
        ):
            surroundings = Surroundings()
            with tempfile.TemporaryFile(dir=OWN[0]) as printed:
                child = subprocess.Popen(
                    [sys.executable, "-c", program(attack, "stdin", surroundings.places)],
                    stdout=printed,
                    stderr=printed,
                    cwd=OWN[1],
                    start_new_session=True,
                )
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()
                while processes() != {str(os.getpid())}:
                    for name in processes() - {str(os.getpid())}:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(name), signal.SIGKILL)
                    with contextlib.suppress(
                        ChildProcessError
                    ):  # as the first process of its namespace it inherits all orphans
                        os.waitpid(-1, os.WNOHANG)
                    time.sleep(0.001)
                printed.seek(0)
                print(json.dumps({"name": attack.name, "worked": GOT.encode() in printed.read()}), flush=True)


def main() -> None:
    options = json.loads(sys.argv[1])
    if options["uid"] and os.geteuid() == 0:
        become(options["uid"])
        os.execv(sys.executable, sys.orig_argv)  # as that user from the beginning
    if options["tier"] == "control":
        control(options["skip"])
        return
    answer = "the-answer-" + secrets.token_hex(8)
    os.environ["ATTACK_ANSWER"] = answer
    surroundings = Surroundings()
    places = {**surroundings.places, "LENGTH": str(len(answer))}
    with SandboxJudge(1, 1.0, 256, tiers=(options["tier"],)) as judge:
        print(json.dumps({"layers": judge.layers, "tier": judge.tier, "uid": os.getuid()}), flush=True)
        before = surroundings.state()
        for number, attack in enumerate(ATTACKS):
            for mode in modes_of(attack, number, options["way"], options["all_modes"]):
                (told,) = judge.grade([(tell(answer), f"print(input())  # {attack.name} {mode}\n")])
                wanted = {"escape": GOT, "steal": answer, "harm": "nothing is right"}[attack.wants]
                (result,) = judge.grade([(suite(mode, wanted), program(attack, mode, places))])
                (honest,) = judge.grade(
                    [
                        (
                            HONEST,
                            f"import os\nprint(sum(map(int, input().split())), os.listdir())  # {attack.name} {mode}\n",
                        )
                    ]
                )
                after = surroundings.state()
                line = {
                    "name": attack.name,
                    "mode": mode,
                    "told": getattr(told, "outcome", str(told)),
                    "verdict": [result.outcome, result.error_type, result.message]
                    if isinstance(result, Feedback)
                    else None,
                    "cpu_s": getattr(result, "cpu_s", 0.0),
                    "wall_s": getattr(result, "wall_s", 0.0),
                    "honest": getattr(honest, "outcome", str(honest)),
                    "changed": [name for name in after if after[name] != before.get(name)]
                    + [name for name in before if name not in after],
                    "restarts": judge.restarts,
                }
                print(json.dumps(line), flush=True)


def tell(answer: str) -> TestSuite:
    """Lets an honest program print the answer: what an earlier program read and wrote must not be found either."""
    return TestSuite(kind="stdin", fn_name=None, inputs=(answer,), outputs=(answer,))


HONEST = TestSuite(kind="stdin", fn_name=None, inputs=("1 2\n",), outputs=("3 []\n",))


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        # Still root of the throw-away namespaces: what the other command line needs can be read by all, and the
        # loopback device is up.
        loopback_up()
        for folder in OWN:
            mount("tmpfs", folder, "tmpfs", 0, "mode=1777")
        make_readable([sys.base_prefix, *[path for path in sys.path if "site-packages" in path], str(ROOT)])
        os.execv(sys.executable, [sys.executable, __file__, sys.argv[2]])
    main()
