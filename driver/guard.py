"""The guard: a small process between the terminal and a command.

It answers at once, has the last word, and leaves nothing running.

The command is its child in a session of its own, so that a terminal's Ctrl-C and hang-up reach the guard alone, which
asks the command to stop; Ray's processes and the workers hear nothing of it. Whatever they leave behind becomes the
guard's child (a subreaper) and is ended. A command that dies without a last word (Ray's C++ code ends it when a part of
Ray dies, the kernel when memory is short) gets one here. Imports nothing but the standard library, so that it stands
from the first moment on and takes no memory.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from rltf.driver.stopping import DEBOUNCE_S, SENTENCE, SIGNALS, connect_guard, stopping
from rltf.executor.boxes import remove_boxes
from rltf.program import FAILED

RAY_DAEMONS = ("raylet", "gcs_server")
"""Processes of Ray without which its driver does not live."""

STOP_TIMEOUT_S = 175.0
"""Longest wait for a command that was asked to stop. `driver.workers.STOP_LEARNER_S` and the rest of a stop fit into
it."""
KILL_AT_REQUEST = 3
"""The first asks the command to stop, the second to hurry, this one ends it."""
_EXIT_TIMEOUT_S = 3.0
"""So long what a command left may take to end by itself."""
_TERM_TIMEOUT_S = 20.0
"""So long after it was asked to; an embedded Redis writes out its file."""
_KILL_TIMEOUT_S = 10.0
"""So long after it was killed; the kernel may keep one that waits for a disk that hangs, and nothing ends that."""
_REPORT_TIMEOUT_S = 120.0
_AFTERMATH = "import sys; sys.path.insert(0, {place!r}); from rltf.driver.post_mortem import start; start()"
"""In the folder in which the command was given, where it knows its run by a relative path."""
_POLL_INTERVAL_S = 0.05
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def fork_guarded() -> None:
    """Forks: returns in the child, which is to run the command; the parent stays as its guard and exits with its
    status.
    """
    stopping.install_handlers()
    signal.signal(
        signal.SIGCHLD, signal.SIG_DFL
    )  # where it is ignored, as some parents leave it, the kernel keeps no child's status
    watched = {one for one in (*SIGNALS, signal.SIGTSTP) if signal.getsignal(one) is not signal.SIG_IGN} | {
        signal.SIGCHLD
    }
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)  # until it is known who is who
    reads, writes = _pipe()
    guard = os.getpid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child:
        os.close(writes)
        _Guard(child, reads, watched).watch()
    os.close(reads)
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(FAILED)
    connect_guard(writes)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)


def _pipe() -> tuple[int, int]:
    """A pipe, neither end of which has the number of a standard stream: where one is closed the pipe would be written
    over as such.
    """
    ends = os.pipe()
    reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    for end in ends:
        os.close(end)
    return reads, writes


class _Guard:
    """The parent."""

    def __init__(self, child: int, pipe: int, watched: set[signal.Signals]) -> None:
        self._child, self._pipe, self._watched = child, pipe, watched
        self._stop_requests = 0
        self._requested_at = float("-inf")
        self._why_killed: str | None = None

    def watch(self) -> NoReturn:
        """Until the command has ended and everything with it."""
        status = None
        while status is None:
            took = signal.sigtimedwait(self._watched, 1.0)
            number = took.si_signo if took is not None else 0
            if number == signal.SIGTSTP:
                self._pause()
            elif number not in (0, signal.SIGCHLD):
                self._on_stop_request()
            if (
                self._stop_requests
                and self._why_killed is None
                and time.monotonic() - self._requested_at > STOP_TIMEOUT_S
            ):
                self._kill(f"it did not end within {STOP_TIMEOUT_S:g} s and was killed")
            status = self._reap()
        facts = self._facts()
        reason = self._why_killed if self._why_killed is not None else _why(status, facts)
        self._end_what_is_left()
        with suppress(OSError):  # where nothing can be written, tempfile finds no folder to look in
            remove_boxes()
        if self._stop_requests and status == -signal.SIGTERM:
            reason = ""  # the wish came again when Python had let go of its signals, at the command's very end
        if "said" in facts and (status >= 0 or not reason):
            os._exit(status if status >= 0 else FAILED)
        _last_word(reason, facts.get("run", ""), by_the_user=self._stop_requests > 0)
        os._exit(FAILED)

    def _on_stop_request(self) -> None:
        now = time.monotonic()
        if now - self._requested_at < DEBOUNCE_S:
            return
        self._stop_requests, self._requested_at = self._stop_requests + 1, now
        if self._stop_requests >= KILL_AT_REQUEST:
            self._kill("")
        else:
            os.kill(self._child, signal.SIGTERM)

    def _kill(self, why: str) -> None:
        self._why_killed = why
        os.kill(self._child, signal.SIGKILL)

    def _pause(self) -> None:
        """Ctrl-Z: the command is paused with this process, and goes on with it; at once where there is no shell that
        could let it go on.
        """
        os.kill(self._child, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGTSTP)  # of which the kernel makes nothing there
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        os.kill(self._child, signal.SIGCONT)

    def _reap(self) -> int | None:
        """Takes leave of children that have ended; how the command ended, if it has."""
        found = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if pid == 0:
                return found
            if pid == self._child:
                found = os.waitstatus_to_exitcode(status)

    def _facts(self) -> dict[str, str]:
        os.set_blocking(self._pipe, False)
        try:
            told = os.read(self._pipe, 1 << 16).decode("utf-8", "surrogateescape")
        except BlockingIOError:
            return {}
        return dict(fact.split("=", 1) for fact in told.split("\0")[:-1])  # a folder's name may have anything but that

    def _end_what_is_left(self) -> None:
        """Ends every process that the command left: it is waited for, asked to end, killed.

        One that is paused is killed at once.
        """
        begin, asked = time.monotonic(), False
        while (left := _descendants()) and (
            waited := time.monotonic() - begin
        ) < _EXIT_TIMEOUT_S + _TERM_TIMEOUT_S + _KILL_TIMEOUT_S:
            asking = waited > _EXIT_TIMEOUT_S and not asked
            for pid in left:
                if waited > _EXIT_TIMEOUT_S + _TERM_TIMEOUT_S or state_of(pid) == "T":
                    _send(pid, signal.SIGKILL)
                elif asking:
                    _send(pid, signal.SIGTERM)
            asked = asked or asking
            self._reap()
            time.sleep(_POLL_INTERVAL_S)


def _last_word(reason: str, run: str, by_the_user: bool) -> None:
    """What a command that died without a word would have said, and the report of a run; the user who ended it at once
    wants none.
    """
    failed = "the command failed: "
    if run:
        from rltf.config import run_files  # more than the standard library, when nothing is waited for any more

        failed = "evaluate failed: " if (Path(run) / run_files.ASKED).is_file() else "run failed: "
    sentence = failed + reason
    if by_the_user:
        sentence = f"{SENTENCE}: {reason}" if reason else SENTENCE
    if run and (reason or not by_the_user):
        start = _AFTERMATH.format(place=str(Path(__file__).absolute().parents[2]))
        command = [sys.executable, "-P", "-c", start, run, sentence.removeprefix(failed)]
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(command, stdin=subprocess.DEVNULL, start_new_session=True, timeout=_REPORT_TIMEOUT_S)
    word = f"{sentence}\n".encode("utf-8", "surrogateescape")
    with suppress(OSError):
        os.write(2, word)
    with suppress(OSError):  # a run without a terminal prints into its folder
        if run and (output := os.open(Path(run) / "output.log", os.O_WRONLY | os.O_APPEND)):
            os.write(output, word)


def _why(status: int, facts: Mapping[str, str]) -> str:
    """Why a command died without a word, in words. Called at once, while what outlived it still lives."""
    dead = [
        f"{name} (process {facts[name]})" for name in RAY_DAEMONS if name in facts and not state_of(int(facts[name]))
    ]
    if status == -signal.SIGKILL:
        return "its driver was killed (SIGKILL), by somebody or because memory was short: see the kernel's log"
    if dead:
        return (
            f"Ray's {' and '.join(dead)} has died, and Ray has ended the driver with it; its logs are in "
            f"{facts['logs']}"
        )
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return f"its driver was ended {how} without a word of its own"


def state_of(pid: int) -> str:
    """The kernel's letter for what a process does, T for paused; empty when it has ended."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return "" if letter in "ZX" else letter


def children() -> set[int]:
    """Processes that this one has started."""
    return {pid for pid, parent in _parents().items() if parent == os.getpid()}


def _descendants() -> set[int]:
    """Every process that descends from this one, those included that have ended and not been taken leave of."""
    parents = _parents()
    found: set[int] = set()
    more = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in more} - found:
        found |= more
    return found


def _parents() -> dict[int, int]:
    """By process its parent."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                parents[int(path.name)] = int((path / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return parents


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
