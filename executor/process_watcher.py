"""Watches a program's processes from outside: CPU clocks that the program cannot touch, and whether anybody in it still
works.

The limit on CPU time is set twice: by a timer in the process, which knows the line and may be tampered with, and here.
Wall time limits nothing by itself: only a program that sleeps is stopped for how long it takes. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import time

from rltf.executor.namespaces import BOX_BYTES, BOX_FILES
from rltf.executor.protocol import CPU_KILLED, DISK_KILLED, ENDED, IDLE_KILLED, WALL_KILLED, Reply, Request

POLL_INTERVAL_S = 0.05
"""Time between looks at a program that runs, on average; short programs are over before the first."""
SLACK_S = 0.05
"""CPU time beyond the limit that the timer inside has to do its work."""
IDLE_TIMEOUT_S = 1.0
"""A test may sleep, or wait for what never comes, for as long as its limit on CPU time and this."""
BLIND = 10
"""Factor on that where the host shows no /proc to tell a sleeping process from one that waits for a core."""
IDLE_TESTS = 3
"""All tests of a program together may be idle for as long as so many of them, where that can be told."""
DISK_TIMEOUT_S = 10.0
"""All tests together may wait so long for the disk, or for whatever else the kernel lets nobody interrupt."""
REPORT_TIMEOUT_S = 0.2


class ConnectionGone(Exception):
    """The other end of the lane's connection is gone, and with it the need for an answer."""


class WatchedProcess:
    """One process, and what is known of it."""

    def __init__(self, pid: int, report: int) -> None:
        """`report`: descriptor of the file that gets a line per finished test."""
        self.pid, self.report = pid, report
        self.handle = os.pidfd_open(pid)
        self.clock = (~pid << 3) | 2  # the process's CPU clock: clock_getcpuclockid(3)
        self.cpu_s = 0.0
        self.done, self.done_cpu_s, self.read = 0, 0.0, 0
        self.ended = Reply(0, ENDED, 0, 0, 0)

    def reap(self, wall_s: float) -> None:
        """After its end: notes how that came, and what the process used."""
        _, status, usage = os.wait4(self.pid, 0)
        cpu_us = int((usage.ru_utime + usage.ru_stime) * 1e6)
        self.ended = Reply(status, self.ended.cause, cpu_us, int(wall_s * 1e6), usage.ru_maxrss)

    def end(self, cause: int) -> None:
        """Ends it; politely first, so that it can say at which line it was."""
        self.ended = self.ended._replace(cause=cause)
        os.kill(self.pid, signal.SIGPROF)
        if not select.select([self.handle], [], [], REPORT_TIMEOUT_S)[0]:
            os.kill(self.pid, signal.SIGKILL)


class ProcessWatcher:
    """Watches the processes of one program at a time."""

    def __init__(self, connection: int, proc: int, box: str) -> None:
        """`connection`: to whom programs are run for. `proc`: descriptor of /proc, or -1.

        `box`: folder to watch for size, or empty.
        """
        self._connection, self._proc, self._box = connection, proc, box
        self._patience, self._idle_tests = (1, IDLE_TESTS) if proc >= 0 else (BLIND, 1 << 30)
        self._buffer = bytearray(1 << 16)

    def until_the_end(self, processes: list[WatchedProcess], request: Request) -> None:
        """Returns when all have ended: by themselves, or because they outwitted their timers, sleep, or fill the disk.

        Raises ConnectionGone, and leaves the processes to the caller.
        """
        poll = select.poll()
        poll.register(self._connection, 0)
        for process in processes:
            poll.register(process.handle, select.POLLIN)
        running = {process.handle: process for process in processes}
        limit_s = request.limit_ns / 1e9
        start = looked = time.monotonic()
        idle_s = all_idle_s = disk_s = 0.0
        while running:
            events = poll.poll(_tick_ms())
            now = time.monotonic()
            for handle, _ in events:
                if handle not in running:
                    raise ConnectionGone
                poll.unregister(handle)
                running.pop(handle).reap(now - start)
                os.close(handle)
            if events:
                continue
            before_s = sum(process.cpu_s for process in running.values())
            if any([self._look(process, request.tests) for process in running.values()]):
                idle_s = 0.0
            used_s = sum(process.cpu_s for process in running.values()) - before_s
            state = self._state([process.pid for process in running.values()])
            if state == b"D":
                disk_s += now - looked
            elif state != b"R":
                idle_s += max(0.0, now - looked - used_s)
                all_idle_s += max(0.0, now - looked - used_s)
            looked = now
            over = [process for process in running.values() if process.cpu_s - process.done_cpu_s > limit_s + SLACK_S]
            for process in over:
                process.end(CPU_KILLED)
            max_idle_s = self._patience * (limit_s + IDLE_TIMEOUT_S)
            if not over and idle_s > max_idle_s:
                next(iter(running.values())).end(WALL_KILLED)
            elif not over and (all_idle_s > self._idle_tests * max_idle_s or disk_s > DISK_TIMEOUT_S):
                next(iter(running.values())).end(IDLE_KILLED)
            elif not over and self._box and not self._box_is_small():
                next(iter(running.values())).end(DISK_KILLED)

    def _look(self, process: WatchedProcess, tests: int) -> bool:
        """Reads a process's clock and progress; whether another of its tests has been finished since the last look."""
        process.cpu_s = time.clock_gettime(process.clock)
        finished = min(process.done + self._new_lines(process), tests - 1)
        if finished <= process.done:
            return False
        process.done, process.done_cpu_s = finished, process.cpu_s
        return True

    def _new_lines(self, process: WatchedProcess) -> int:
        """Lines that its report has got since the last look.

        They hold a program's results: no copy of them stays here.
        """
        count = 0
        while (size := os.preadv(process.report, [self._buffer], process.read)) > 0:
            count += self._buffer.count(b"\n", 0, size)
            self._buffer[:size] = bytes(size)
            process.read += size
        return count

    def _state(self, pids: list[int]) -> bytes:
        """R if one of all their threads runs or waits for a core, else D if one waits for the disk, else S; also where
        nothing tells.
        """
        found = {state for pid in pids for state in self._states(pid)} if self._proc >= 0 else set()
        return b"R" if b"R" in found else b"D" if b"D" in found else b"S"

    def _states(self, pid: int) -> list[bytes]:
        """Of a process's threads."""
        try:
            tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return []  # it has just ended
        try:
            return [self._state_of(task, tasks) for task in os.listdir(tasks)]
        finally:
            os.close(tasks)

    @staticmethod
    def _state_of(task: str, tasks: int) -> bytes:
        try:
            file = os.open(f"{task}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tasks)
        except OSError:
            return b"X"  # it has just ended
        try:
            return os.read(file, 1024).rpartition(b") ")[2][:1]
        except OSError:
            return b"X"
        finally:
            os.close(file)

    def _box_is_small(self) -> bool:
        """Whether the working folder keeps to what a file system of the lane's own would hold."""
        size = files = 0
        folders = [self._box]
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError:
                continue  # removed in the meantime, or closed even to its owner: then it counts as one file
            for entry in entries:
                files += 1
                try:
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                except OSError:
                    continue  # removed in the meantime
            if size > BOX_BYTES or files > BOX_FILES:
                return False
        return True


def _tick_ms() -> float:
    """Time until the next look: not to be foreseen by a program that would sleep between looks and be at work
    for each.
    """
    return POLL_INTERVAL_S * 1000 * (0.5 + os.urandom(1)[0] / 255)
