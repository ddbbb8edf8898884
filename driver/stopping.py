"""How a command takes the wish to stop: SIGINT, SIGTERM or SIGHUP, from the terminal, `kill`, a scheduler or the guard.

Imports nothing but the standard library: it is in force before anything else is imported.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Literal, NoReturn

from rltf.program import FAILED

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Each means the same. One that was ignored when the command began stays so: SIGINT in what a script starts in the
background, SIGHUP under nohup."""
SENTENCE = "stopped by the user"
DEBOUNCE_S = 0.5
"""Signals that come closer together are one wish: schedulers send theirs to every process, which the guard passes on
besides."""

State = Literal["preparing", "working", "ending"]


class Stopping:
    """What becomes of a wish to stop.

    While a command is preparing (imports, reading problems) it ends at once, since nothing has been started; an
    exception in the middle of an import would be lost in whatever imports. While it works KeyboardInterrupt is raised,
    once. While it ends, which is bounded, a wish is only noted: what is being written is finished.
    """

    def __init__(self) -> None:
        self.stop_requests = 0
        """How often a stop was wished for."""
        self._state: State = "preparing"
        self._last = float("-inf")
        self._taken: tuple[signal.Signals, ...] = ()

    def install_handlers(self) -> None:
        """Takes the signals that are not ignored, from here on. Called in the main thread."""
        self._taken = tuple(one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN)
        self.reinstall_handlers()

    def reinstall_handlers(self) -> None:
        """Takes them back from a library that has put a handler of its own there, as `ray.init` does for SIGTERM."""
        for one in self._taken:
            signal.signal(one, self._on_signal)

    def work(self) -> None:
        """From here on something has to be ended in order. Raises KeyboardInterrupt if a stop has been wished for."""
        self._state = "working"

    def end(self) -> None:
        """From here on the command ends by itself, and soon."""
        self._state = "ending"

    @property
    def hurried(self) -> bool:
        """Whether a stop was wished for again while the command was stopping: it does without what takes long."""
        return self.stop_requests > 1

    def check(self) -> None:
        """Raises KeyboardInterrupt if a stop was wished for and the exception was lost on its way, as in the middle of
        a destructor.
        """
        if self.stop_requests and self._state != "preparing":
            raise KeyboardInterrupt

    def request(self) -> None:
        """Stops as a signal does. Raises KeyboardInterrupt where something has to be ended in order."""
        self._on_signal(signal.SIGTERM, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < DEBOUNCE_S:
            return
        self._last = now
        self.stop_requests += 1
        if self._state == "preparing":
            with suppress(OSError):  # past sys.stderr, which may be in the middle of another line
                os.write(2, f"{SENTENCE}\n".encode())
            exit_process(FAILED)
        if self._state == "working":
            self._state = "ending"
            raise KeyboardInterrupt


stopping = Stopping()
"""Of this process."""

_guard: int | None = None
"""Where the guard hears what it has to know; none in a process that has none."""


def connect_guard(descriptor: int) -> None:
    """Names the pipe to the guard, which is told as well when the interpreter ends as it should."""
    global _guard
    _guard = descriptor
    atexit.register(tell_guard, said=1)


def tell_guard(**facts: str | int) -> None:
    """Tells the guard what it is to say if this process dies without a word (`run`, the run's folder; Ray's processes);
    `said`: it has.
    """
    if _guard is not None:
        told = "".join(f"{name}={value}\0" for name, value in facts.items())
        os.write(_guard, told.encode("utf-8", "surrogateescape"))


def exit_process(status: int) -> NoReturn:
    """Ends this process at once, whatever its threads are in; the guard ends what it leaves."""
    tell_guard(said=1)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError, RuntimeError):
            stream.flush()
    os._exit(status)
