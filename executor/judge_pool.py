"""Judges for many requests at a time: one thread and one judge of one lane each.

A piece of work may be cancelled at any moment: what waits never begins, what runs is ended, and its judge made anew.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from rltf.executor.judge import Judge

T = TypeVar("T")


class Task(Generic[T]):
    """A piece of work, from when it is submitted until it is done or cancelled."""

    def __init__(self) -> None:
        self.future: Future[T]
        """Its result; cancelled if it never began."""
        self._lock = threading.Lock()
        self._judge: Judge | None = None
        self._cancelled = False

    def begin(self, judge: Judge) -> None:
        """`judge` works for it from here on."""
        with self._lock:
            self._judge = judge
            if self._cancelled:
                judge.abort()

    def end(self) -> bool:
        """Its judge works for it no longer; whether that one can go on."""
        with self._lock:
            self._judge = None
            return not self._cancelled

    def cancel(self) -> None:
        """From any thread: nobody wants its result."""
        with self._lock:
            self._cancelled = True
            if not self.future.cancel() and self._judge is not None:
                self._judge.abort()


class JudgePool:
    """Some judges of the same kind, each used by one thread at a time."""

    def __init__(self, make: Callable[[], Judge], lanes: int) -> None:
        """Makes the first judge at once. Raises what `make` raises: UserError, LaneFailure."""
        self._make = make
        self.lanes = lanes
        """Pieces of work that are done at the same time."""
        first = make()
        self.tier, self.layers = first.tier, dict(first.layers)
        self._free: queue.SimpleQueue[Judge | None] = queue.SimpleQueue()
        for number in range(lanes):
            self._free.put(None if number else first)  # the others when they are needed
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="judge")
        self._running: set[Task] = set()
        self._lock = threading.Lock()
        """For the set."""

    def submit(self, work: Callable[[Judge], T]) -> Task[T]:
        """Has `work` done by the next judge that is free. Raises RuntimeError once the pool is closed."""
        task: Task[T] = Task()
        with self._lock:
            self._running.add(task)
        try:
            task.future = self._threads.submit(self._run, task, work)
        except BaseException:
            self._ended(task)
            raise
        task.future.add_done_callback(lambda _: self._ended(task))
        return task

    def _ended(self, task: Task) -> None:
        with self._lock:
            self._running.discard(task)

    def _run(self, task: Task[T], work: Callable[[Judge], T]) -> T:
        judge = self._free.get()  # there are as many as threads
        sound = False
        try:
            if judge is None:
                judge = self._make()
            task.begin(judge)
            try:
                result = work(judge)
                sound = True
            finally:
                sound = task.end() and sound
            return result
        finally:
            if judge is not None and not sound:
                judge.close(at_once=True)
            self._free.put(judge if sound else None)

    def close(self) -> None:
        """Ends what runs, and the judges."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = list(self._running)
        for task in running:
            task.cancel()
        self._threads.shutdown(wait=True)
        for _ in range(self.lanes):
            judge = self._free.get_nowait()
            if judge is not None:
                judge.close(at_once=True)
