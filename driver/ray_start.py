"""What of this machine Ray needs to be started for a run, and what earlier runs left behind.

Imports neither Ray nor torch.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
import tempfile
from pathlib import Path
from typing import IO

from rltf.config import UserError, first_line, try_lock
from rltf.driver.ray_address import temporary_folder

LOOPBACK = "127.0.0.1"
OPEN_FILES, OPEN_FILES_PER_WORKER = 128, 16
"""Files that one process has to be allowed to have open: each of Ray's has about 65 open beside three workers
(measured), and the most that a worker can add to them is not known."""
MAX_SESSIONS = 3
"""Sessions of ended runs that are kept, the newest: their folders have what Ray's processes wrote."""
_MAX_OPEN_FILES = 65536
_SOCKET = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
_MAX_SOCKET_PATH_BYTES = 107
"""Bytes of a Unix socket's name on Linux."""
_MARK = "rltf.lock"


def prepare(workers: int) -> Path:
    """Sees to it that Ray can be started on this machine for so many workers; the folder for its sessions.

    Raises UserError with what is missing.
    """
    raise_open_files(workers)
    _look_at_loopback()
    return _sessions_folder()


def raise_open_files(workers: int) -> None:
    """Raises this process's limit of open files, which its children inherit, as far as it may.

    Raises UserError where it is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    needed = OPEN_FILES + OPEN_FILES_PER_WORKER * workers
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"a process may have {hard} files open here, and with {workers} workers Ray needs {needed}: raise the "
            "hard limit "
            f"(`ulimit -Hn {needed}` by root, LimitNOFILE= of a systemd unit, `docker run --ulimit nofile={needed}`)"
        )


def _look_at_loopback() -> None:
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5.0).close()
    except OSError as error:
        raise UserError(
            f"this machine has no loopback interface that works ({LOOPBACK}: {first_line(error)}), by which the "
            "parts of a run meet: "
            "`ip link set lo up` as root"
        ) from None


def _sessions_folder() -> Path:
    """The first of the folders that Ray may use which can be used."""
    own = Path("/tmp") / f"ray-{os.getuid()}"
    folders = (
        [temporary_folder()]
        if os.environ.get("RAY_TMPDIR")
        else list(dict.fromkeys([temporary_folder(), Path("/tmp/ray"), own]))
    )
    reasons = []
    for folder in folders:
        if reason := _unusable(folder):
            reasons.append(f"{folder} {reason}")
        else:
            return folder
    raise UserError(
        f"Ray has no folder for what it needs while it runs: {'; '.join(reasons)}; set RAY_TMPDIR to a folder of "
        "yours with a short name"
    )


def _unusable(folder: Path) -> str:
    """Why Ray's sessions cannot be in `folder`; empty where they can."""
    if not folder.is_absolute():
        return "is no absolute path"
    if (longest := _MAX_SOCKET_PATH_BYTES - _SOCKET) < len(os.fsencode(folder)):
        return f"is too long for the names of sockets in it: {len(os.fsencode(folder))} bytes of at most {longest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".rltf-"):
            pass
        # Two links that Ray puts beside its sessions; in a folder with the sticky bit another user's cannot be
        # replaced.
        link = folder / "session_latest"
        if link.is_symlink() and link.lstat().st_uid not in (os.getuid(), folder.stat().st_uid) and os.getuid():
            return "has another user's session_latest"
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return ""


class SessionLock:
    """The mark of a run of this project in the folder of Ray's session; locked while the run lives."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the session's. Raises OSError."""
        self._mark: IO[str] = (folder / _MARK).open("w")
        fcntl.flock(self._mark, fcntl.LOCK_EX)

    def close(self) -> None:
        """The run has ended."""
        self._mark.close()


def remove_old_sessions(folder: Path) -> list[Path]:
    """Deletes the sessions below `folder` that ended runs of this project left, but for the newest; returns them.

    Those of others have no mark, those of runs that go on are locked: neither is touched.
    """
    ended = []
    for mark in folder.glob(f"session_*/{_MARK}"):
        if mark.parent.is_symlink() or mark.is_symlink():
            continue
        try:
            if mark.stat().st_uid == os.getuid() and _is_free(mark):
                ended.append((mark.stat().st_mtime, mark.parent))
        except FileNotFoundError:  # another run was faster
            continue
    old = [session for _, session in sorted(ended)[:-MAX_SESSIONS]]
    for session in old:
        shutil.rmtree(session, ignore_errors=True)
    return old


def _is_free(mark: Path) -> bool:
    with mark.open() as opened:
        return try_lock(opened, fcntl.LOCK_SH)
