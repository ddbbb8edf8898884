"""A lane: one zygote process and the judge's end of the socket to it. Every wait has a bound."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from executor import protocol
from executor.protocol import LaneFailure, Request

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
HARD_CAP_S = 60.0
"""On top of what a program may take at the very most: a lane that needs longer is broken."""
_START = "import sys; sys.path.insert(0, {root!r}); from executor.zygote import main; main()"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program's process came to its end, and what it left. Nothing in it is to be trusted."""

    status: int
    cause: int
    report: bytes
    output: bytes
    cpu_s: float
    wall_s: float
    memory_mb: float


class Lane:
    """Runs one program at a time. Not thread-safe: each thread drives a lane of its own."""

    def __init__(self, namespaces: bool = True, *, python: str = "", numpy: bool = False, hash_seed: int = 0) -> None:
        """Nothing is started yet.

        Args:
            namespaces: whether to try for them.
            python: the interpreter that programs run on; empty: the one that runs this.
            numpy: whether numpy is loaded before the first program rather than by each that imports it.
            hash_seed: PYTHONHASHSEED of the programs.

        """
        self._namespaces, self._numpy, self._hash_seed = namespaces, numpy, hash_seed
        # The interpreter itself, not a virtual environment's: it starts faster and knows none of its packages.
        self._python = python or getattr(sys, "_base_executable", None) or sys.executable
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._box = ""
        self._errors: IO[bytes] | None = None
        self.layers: dict[str, str] = {}
        """Isolation layer -> "on", or "off: reason"; known once started."""
        self.python_version = ""
        """Of the interpreter that programs run on; known once started."""

    @property
    def contained(self) -> bool:
        """Whether each program has a pid namespace of its own, in which nobody can kill its first process."""
        return self.layers.get("pid namespace per program") == "on"

    def start(self) -> None:
        """Starts the zygote. Raises LaneFailure when it does not come up."""
        self.stop()
        self._box = tempfile.mkdtemp(prefix="executor-box-")
        ours, theirs = socket.socketpair()
        self._connection = ours
        root = str(Path(__file__).resolve().parent.parent)
        folders = numpy_folders(self._python)
        options = {
            "socket": theirs.fileno(),
            "namespaces": self._namespaces,
            "packages": folders,
            "preload": ["numpy"] if self._numpy and folders else [],
            "box": self._box,
            "root": root,
        }
        environment = {"LANG": "C.UTF-8", "PYTHONHASHSEED": str(self._hash_seed), "PYTHONUTF8": "1"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        self._errors = tempfile.TemporaryFile()
        with theirs:
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
            theirs.close()
            try:
                ours.settimeout(START_TIMEOUT_S)
                hello = protocol.receive_reply(ours)
                told = json.loads(protocol.receive(ours, hello.report_bytes))
                self.layers, self.python_version = told["layers"], told["python"]
                if self.layers.get("read-only root") == "on":
                    self._drop_box()  # the lane has one that nobody else sees
            except (OSError, LaneFailure) as failure:
                raise LaneFailure(f"the zygote did not start ({failure}): {self._broken()}") from None

    def cpu_s(self) -> float:
        """CPU seconds of the zygote and of the programs it has finished; 0 while it does not run."""
        ticks = 0
        children = [str(self._process.pid)] if self._process is not None else []
        while children:
            pid = children.pop()
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                children += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except FileNotFoundError:
                continue  # it has just ended
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def run(self, request: Request, body: bytes, tester_body: bytes | None = None) -> list[Ended]:
        """Runs a program's tests, and with `tester_body` the data set's test code beside it: one or two ends.

        Raises LaneFailure when the zygote breaks off, or does not answer within what the limits allow; the lane is stopped then.
        """
        if self._connection is None:
            self.start()
        connection = self._connection
        assert connection is not None
        try:
            connection.settimeout(request.tests * (2 * request.limit_ns / 1e9 + 1) + HARD_CAP_S)
            frame = request.pack() + body
            if tester_body is not None:
                frame += len(tester_body).to_bytes(8, "little") + tester_body
            connection.sendall(frame)
            return [self._answer(connection) for _ in range(1 if tester_body is None else 2)]
        except (OSError, LaneFailure) as failure:
            raise LaneFailure(f"the zygote broke off ({failure}): {self._broken()}") from None

    def _answer(self, connection: socket.socket) -> Ended:
        reply = protocol.receive_reply(connection)
        report = protocol.receive(connection, reply.report_bytes) if reply.report_bytes else b""
        output = protocol.receive(connection, reply.output_bytes) if reply.output_bytes else b""
        if os.WIFEXITED(reply.status) and os.WEXITSTATUS(reply.status) == protocol.SETUP_FAILED_STATUS and report.startswith(b'["setup"'):
            raise LaneFailure(f"a program's process could not be set up: {report[:300].decode('utf-8', 'replace')}")
        return Ended(reply.status, reply.cause, report, output, reply.cpu_us / 1e6, reply.wall_us / 1e6, reply.peak_kib / 1024)

    def _broken(self) -> str:
        """Stops the lane; what the zygote said last."""
        self.stop()
        if self._errors is None:
            return "it said nothing"
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip()[-500:] or "it said nothing"

    def stop(self) -> None:
        """Ends the zygote, and with it whatever runs inside."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                # A closed connection ends both of the zygote's processes by itself; killing comes first only if that fails.
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._drop_box()

    def _drop_box(self) -> None:
        if self._box:
            shutil.rmtree(self._box, ignore_errors=True)
            self._box = ""


@cache
def numpy_folders(python: str) -> list[str]:
    """Folders of numpy and its libraries for an interpreter: the one package that programs may import. Empty if there is none.

    The numpy installed here serves every interpreter of this one's version; another is asked for its own.
    """
    ask = "import importlib.util, sys; s = importlib.util.find_spec('numpy'); "
    ask += "print(*sys.version_info[:2], s.submodule_search_locations[0] if s else '')"
    try:
        told = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=START_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []  # whatever is wrong with the interpreter, starting the lane will say it
    major, minor, found = told.rstrip("\n").split(" ", 2)
    if (int(major), int(minor)) == sys.version_info[:2]:
        spec = importlib.util.find_spec("numpy")
        found = spec.submodule_search_locations[0] if spec is not None and spec.submodule_search_locations else found
    if not found:
        return []
    package = Path(found).resolve()
    return [str(folder) for folder in (package, package.parent / "numpy.libs") if folder.is_dir()]
