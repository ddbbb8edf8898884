"""Ray's calls, made in a thread of their own: its C++ code waits for a raylet that hangs without a bound, and hears no
signal meanwhile.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from rltf.driver import RunFailed
from rltf.driver.guard import RAY_DAEMONS, children, state_of
from rltf.driver.stopping import tell_guard

CALL_TIMEOUT_S = 60.0
"""Longest wait for Ray's answer to what it usually answers at once, and for the calls that start or end a worker."""
KILL_TIMEOUT_S = 20.0
"""Longest wait for Ray to take the order to end all workers."""
QUEUE_TIMEOUT_S = 20.0
"""Longest wait for a call that was left alone, as Ctrl-C leaves it, before the next is made."""
SHUTDOWN_TIMEOUT_S = 30.0
"""Longest wait for Ray to end what it started."""

_LOGS = "--log_dir="
"""Option of Ray's processes."""

_T = TypeVar("_T")
_Call = tuple[Callable[[], Any], "Future[Any]"]


class RayThread:
    """One thread that lives as long as Ray is used, for what Ray starts ends with the thread that started it.

    Once a call has not come back within its bound Ray counts as gone: no other is made.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ray-calls", daemon=True)
        self._thread.start()
        self._last: Future[Any] = Future()
        self._last.set_result(None)
        self._processes: dict[str, int] = {}
        """Ray's own on this machine, where it was started here, by name."""
        self.gone = ""
        """Why Ray does not answer any more; empty while it does."""

    def call(self, what: str, function: Callable[[], _T], timeout_s: float) -> _T:
        """What `function` gives back or raises.

        Raises RunFailed when it takes longer than `timeout_s` seconds, and where Ray is gone.
        """
        if self.gone:
            raise RunFailed(self.gone)
        self._await(self._last, "what was asked of it before", QUEUE_TIMEOUT_S)
        mine: Future[_T] = Future()
        self._last = mine
        self._calls.put((function, mine))
        self._await(mine, what, timeout_s)
        return mine.result()

    def _await(self, call: Future[Any], what: str, timeout_s: float) -> None:
        try:
            call.exception(timeout_s)
        except TimeoutError:
            paused = [
                f"its {name} (process {pid}) is paused (SIGSTOP)"
                for name, pid in self._processes.items()
                if state_of(pid) == "T"
            ]
            self.gone = f"Ray does not answer: {what} has taken longer than {timeout_s:g} s" + "".join(
                f"; {one}" for one in paused
            )
            raise RunFailed(self.gone) from None

    def check(self) -> None:
        """Raises RunFailed when one of Ray's processes has died, without which its driver does not live for long."""
        if dead := [f"{name} (process {pid})" for name, pid in self._processes.items() if not state_of(pid)]:
            raise RunFailed(f"Ray's {' and '.join(dead)} has died")

    @property
    def broken(self) -> bool:
        """Whether Ray is not to be asked to end, because it would not answer: a process of it has died or is paused."""
        return bool(self.gone) or any(state_of(pid) in ("", "T") for pid in self._processes.values())

    def kill_processes(self) -> None:
        """Ends what is left of a broken Ray: its agents would print pages of a dead raylet's log below the run's last
        line.
        """
        for pid in self._processes.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def find_processes(self) -> None:
        """Looks for Ray's processes among the children of this one, and tells the guard of them and where they log."""
        for pid in children():
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
            if name in RAY_DAEMONS:
                self._processes[name] = pid
                tell_guard(**{name: pid})
                command = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
                tell_guard(
                    logs=next((word.removeprefix(_LOGS) for word in command if word.startswith(_LOGS)), "/tmp/ray")
                )

    def close(self) -> None:
        """Ends the thread, and with it what Ray has started in it and not ended."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, future = call
            try:
                future.set_result(function())
            except BaseException as error:  # raised where it was called from
                future.set_exception(error)


class OnRayThread(AbstractContextManager[_T]):
    """A context manager of Ray's, entered and left by `calls`; a Ray that is gone, or goes while it is left, is left to
    the guard.
    """

    def __init__(self, calls: RayThread, what: str, context: AbstractContextManager[_T], timeout_s: float) -> None:
        self._calls, self._what, self._context, self._timeout_s = calls, what, context, timeout_s

    def __enter__(self) -> _T:
        return self._calls.call(f"{self._what}'s start", self._context.__enter__, self._timeout_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._calls.broken:
            with suppress(RunFailed):
                self._calls.call(
                    f"{self._what}'s end", lambda: self._context.__exit__(None, None, None), SHUTDOWN_TIMEOUT_S
                )
        self._calls.close()
