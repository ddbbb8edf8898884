"""A lane: one zygote process and the judge's end of the socket to it. Every wait has a bound."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rltf.executor import protocol
from rltf.executor.boxes import Box
from rltf.executor.isolation import Tier
from rltf.executor.packages import DEFAULT, SLOW_MODULES, Packages, find_packages
from rltf.executor.protocol import LaneFailure, Reply, Request

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
HARD_TIMEOUT_S = 60.0
"""On top of what a program may take at the very most: a lane that needs longer is broken."""
TIERS: tuple[Tier, ...] = ("A", "B")
"""Those that hold an untrusted program."""
_START = "import sys; sys.path.append({root!r}); from rltf.executor.zygote import main; main()"


class NoSandbox(LaneFailure):
    """This machine allows none of the tiers asked for; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How a program's process came to its end, and what it left. Nothing in it is to be trusted."""

    status: int
    cause: int
    report: bytes
    output: bytes
    cpu_s: float
    wall_s: float
    memory_mb: float
    errors: bytes = b""
    """What it wrote to standard error, of a SCRIPT."""


class Lane:
    """Runs one program at a time. Not thread-safe: each thread drives a lane of its own."""

    def __init__(
        self,
        tiers: Sequence[Tier] = TIERS,
        *,
        python: str = "",
        packages: tuple[str, ...] = DEFAULT,
        preload: bool = False,
        hash_seed: int = 0,
    ) -> None:
        """Nothing is started yet.

        Args:
            tiers: the first of them that this machine allows is taken.
            python: the interpreter that programs run on; empty: the one that runs this.
            packages: what programs may import beside the standard library, as far as it is installed.
            preload: whether these are loaded before the first program rather than by each that imports them.
            hash_seed: PYTHONHASHSEED of the programs.

        """
        self._tiers, self._names, self._preload, self._hash_seed = tuple(tiers), packages, preload, hash_seed
        # The interpreter itself, not a virtual environment's: it starts faster and knows none of its packages.
        self._python = python or getattr(sys, "_base_executable", None) or sys.executable
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._box: Box | None = None
        self._errors: IO[bytes] | None = None
        self._aborted = False
        self.tier: Tier = "none"
        """The tier in force; this and the next four are known once started."""
        self.refusals: dict[Tier, str] = {}
        """Why tiers tried earlier could not be had."""
        self.layers: dict[str, str] = {}
        """Isolation layer -> "on", or "off: reason"."""
        self.python_version = ""
        """Of the interpreter that programs run on."""
        self.packages = Packages()
        """What programs may import beside the standard library."""
        self.contained = False
        """Whether nobody inside can end a program's process as if from outside."""

    def start(self) -> None:
        """Starts the zygote in the first tier that this machine allows.

        Raises NoSandbox, or LaneFailure when it does not come up.
        """
        self.refusals = {}
        for tier in self._tiers:
            self.stop()
            hello = self._launch(tier)
            if "refused" not in hello:
                self.tier, self.layers = tier, hello["layers"]
                self.python_version, self.contained = hello["python"], hello["contained"]
                for refused, reason in self.refusals.items():
                    self.layers.setdefault(f"tier {refused}", f"off: {reason}")
                if self.layers["read-only root"] == "on":
                    self._drop_box()  # the lane has one that nobody else sees
                return
            self.refusals[tier] = hello["refused"]
        self.stop()
        reasons = "; ".join(f"tier {tier}: {reason}" for tier, reason in self.refusals.items())
        raise NoSandbox(
            f"this machine cannot hold untrusted programs ({reasons}). the command doctor says which setting "
            "to change; "
            "--executor.unsafe true runs them all the same"
        )

    def _launch(self, tier: Tier) -> dict[str, Any]:
        """Starts a zygote; what it says of itself."""
        ours, theirs = socket.socketpair()
        self._connection = ours
        if self._aborted:
            theirs.close()
            self.stop()
            raise LaneFailure("the lane was given up")
        self._box = Box()
        root = str(Path(__file__).absolute().parents[2])
        self.packages = find_packages(self._python, self._names)
        options = {
            "socket": theirs.fileno(),
            "tier": tier,
            "packages": self.packages.paths,
            "preload": (*SLOW_MODULES, *self.packages.preload) if self._preload else (),
            "box": self._box.path,
            "root": root,
        }
        environment = {"LANG": "C.UTF-8", "PYTHONHASHSEED": str(self._hash_seed), "PYTHONUTF8": "1"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {"LD_BIND_NOW": "1"}  # else every program looks the C library's functions up anew
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        self._errors = tempfile.TemporaryFile()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [self._python, "-s", "-S", "-P", "-B", "-c", _START.format(root=root), json.dumps(options)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    env=environment,
                    cwd="/",
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                self.stop()
                raise LaneFailure(f"{self._python} (executor.python) cannot be started: {error}") from None
            theirs.close()
            try:
                ours.settimeout(START_TIMEOUT_S)
                hello: dict[str, Any] = json.loads(protocol.receive_hello(ours))
                return hello
            except (OSError, LaneFailure) as failure:
                raise LaneFailure(f"the zygote did not start ({failure}): {self._broken()}") from None

    def cpu_s(self) -> float:
        """CPU seconds of the zygote and of the programs it has finished; 0 while it does not run."""
        ticks = 0
        children = [str(self._process.pid)] if self._process is not None else []
        while children:
            pid = children.pop()
            try:
                fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
                children += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except FileNotFoundError:
                continue  # it has just ended
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def run(self, request: Request, body: bytes, tester_body: bytes | None = None) -> list[ProcessExit]:
        """Runs a program's tests, and with `tester_body` the data set's test code beside it: one or two ends.

        Raises LaneFailure when the zygote breaks off, or does not answer within what the limits allow; the lane is
        stopped then.
        """
        if self._connection is None:
            self.start()
        connection = self._connection
        assert connection is not None
        bodies = [body] if tester_body is None else [body, tester_body]
        files: list[int] = []
        try:
            connection.settimeout(request.tests * (2 * request.limit_ns / 1e9 + 1) + HARD_TIMEOUT_S)
            for content in bodies:
                files += [_file("job", content), _file("report")]
            output = _file("output") if tester_body is None else None
            if output is not None:
                files.append(output)
            errors = _file("errors") if request.kind == protocol.SCRIPT else None
            if errors is not None:
                files.append(errors)
            socket.send_fds(connection, [request.pack()], files)
            replies = [protocol.receive_reply(connection) for _ in bodies]
            for place, sent in enumerate(bodies):
                _check_set_up(files[2 * place], len(sent))
            return [
                _ended(reply, files[2 * place + 1], output, errors, request.file_bytes)
                for place, reply in enumerate(replies)
            ]
        except (OSError, LaneFailure) as failure:
            raise LaneFailure(f"the zygote broke off ({failure}): {self._broken()}") from None
        finally:
            for descriptor in files:
                os.close(descriptor)

    def abort(self) -> None:
        """From any thread: what runs inside ends at once, its `run` raises LaneFailure, and the lane does not start
        again.
        """
        self._aborted = True
        connection = self._connection
        if connection is not None:
            with suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def _broken(self) -> str:
        """Stops the lane; what the zygote said last."""
        errors, self._errors = self._errors, None
        self.stop()
        if errors is None:
            return "it said nothing"
        with errors:
            errors.seek(0)
            return errors.read().decode("utf-8", "replace").strip()[-500:] or "it said nothing"

    def stop(self) -> None:
        """Ends the zygote, and with it whatever runs inside."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                # A closed connection ends both of the zygote's processes by itself; killing comes first only if that
                # fails.
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        self._drop_box()

    def _drop_box(self) -> None:
        if self._box is not None:
            self._box.remove()
            self._box = None


def _file(name: str, content: bytes = b"") -> int:
    """A memory file. Raises OSError."""
    descriptor = os.memfd_create(name)
    while content:
        content = content[os.write(descriptor, content) :]
    return descriptor


def _check_set_up(job: int, size: int) -> None:
    """A process that could not be set up says so at the end of its job, which is closed before the program runs.

    Raises LaneFailure.
    """
    if os.fstat(job).st_size != size:
        reason = os.pread(job, 300, size).decode("utf-8", "replace")
        raise LaneFailure(f"a program's process could not be set up: {reason}")


def _ended(reply: Reply, report: int, output: int | None, errors: int | None, max_bytes: int) -> ProcessExit:
    """What a process left."""
    told = os.pread(report, max_bytes, 0)
    given = os.pread(output, max_bytes, 0) if output is not None else b""
    said = os.pread(errors, max_bytes, 0) if errors is not None else b""
    return ProcessExit(
        reply.status, reply.cause, told, given, reply.cpu_us / 1e6, reply.wall_us / 1e6, reply.peak_kib / 1024, said
    )
