"""Two processes and the way between their memories: a process group of the two alone, NCCL between GPUs, gloo without.

It is no part of the learner's own group and knows of no third process, so the death of one of the two is seen by the
other alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._C._distributed_c10d import ProcessGroupGloo, TCPStore

from rltf.config import first_line

_POLL_S = 2e-4
"""Seconds between two looks whether NCCL has finished."""
_MARGIN = 4
"""torch's own bound is so many times as long: it ends the process, which no transfer is worth."""
_NCCL_ENVIRONMENT = {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_BLOCKING_WAIT": "0",
}
"""What a group has to be made with so that a peer's death does not end this process: its errors are looked for and
handled here."""
_changes_environment = threading.Lock()
_T = TypeVar("_T")


class TransferFailed(Exception):
    """What was to be sent or received was not, within the bound; a sentence with the reason."""


def meeting_store(address: str, timeout_s: float) -> TCPStore:
    """Where one pair meets, in this process, on a port of its own (`port`).

    The pair's other end comes with `TCPStore` too.
    """
    return TCPStore(address, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=timeout_s))


def store_at(address: str, port: int, timeout_s: float) -> TCPStore:
    """The other process's `meeting_store`. Raises TransferFailed."""

    def connect() -> TCPStore:
        return TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=timeout_s))

    return _within(timeout_s, f"connect to {address}:{port}", connect)


class Pair:
    """One end. Used by one thread at a time."""

    def __init__(
        self,
        store: TCPStore,
        rank: int,
        device: torch.device,
        near: str,
        peer: str,
        timeout_s: float,
        is_alive: Callable[[], bool],
    ) -> None:
        """Both ends call it, with rank 0 and 1, and wait for each other. Raises TransferFailed.

        `near`: address of this machine that the other reaches. `peer`: its name in messages. `timeout_s`: longest wait
        for each other, and for one tensor. `is_alive`: whether the other process still lives, as far as can be seen at
        once; asked while NCCL is waited for.
        """
        self._other = 1 - rank
        self._device = device
        self._peer = peer
        self._timeout_s = timeout_s
        self._is_alive = is_alive
        self._store = store
        """Lives as long as the pair."""
        make = _nccl if device.type == "cuda" else _gloo
        self._group: Any = _within(
            timeout_s,
            f"meet {peer} over {'NCCL' if make is _nccl else 'gloo'}",
            lambda: make(store, rank, device, near, timeout_s),
        )

    def send(self, data: Tensor) -> None:
        """Sends (n,) uint8 on this pair's device; returns when `data` may be written again. Raises TransferFailed."""
        self._finish(f"take {data.nbytes / 1e6:.1f} MB", lambda: self._group.send([data], self._other, 0))

    def receive(self, data: Tensor) -> None:
        """Fills (n,) uint8 on this pair's device with what the other sends, which has to be as long.

        Raises TransferFailed.
        """
        self._finish(f"send {data.nbytes / 1e6:.1f} MB", lambda: self._group.recv([data], self._other, 0))

    def close(self) -> None:
        """Ends the pair, transfers that hang included."""
        try:
            self._group.abort()
        except RuntimeError:
            pass  # it failed before, which whoever waited for it was told

    def _finish(self, what: str, begin: Callable[[], Any]) -> None:
        try:
            work = begin()
            if self._device.type == "cuda":
                self._poll(work, what)
            elif not work.wait(timedelta(seconds=self._timeout_s)):
                raise TransferFailed(f"{self._peer} was to {what}; the transfer was broken off")
        except RuntimeError as error:  # torch's own for whatever happens in a backend
            reason = first_line(error)[:200]
            raise TransferFailed(
                f"{self._peer} did not {what} within {self._timeout_s:g} s or is gone: {reason}"
            ) from error

    def _poll(self, work: Any, what: str) -> None:
        """NCCL's wait has no bound for the calling thread, and its kernel would wait for a dead peer for ever."""
        deadline = time.monotonic() + self._timeout_s
        while not work.is_completed():
            if not self._is_alive():
                raise TransferFailed(f"{self._peer} was to {what} and is gone")
            if time.monotonic() > deadline:
                raise TransferFailed(f"{self._peer} did not {what} within {self._timeout_s:g} s")
            time.sleep(_POLL_S)
        if (error := work.exception()) is not None:
            raise error
        work.wait()  # what this thread's stream does next comes after


def _gloo(store: TCPStore, rank: int, device: torch.device, near: str, timeout_s: float) -> Any:
    options: Any = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._timeout = timedelta(seconds=timeout_s)
    options._devices = [ProcessGroupGloo.create_device(hostname=near)]
    return ProcessGroupGloo(store, rank, 2, options)


def _nccl(store: TCPStore, rank: int, device: torch.device, near: str, timeout_s: float) -> Any:
    from torch._C._distributed_c10d import ProcessGroupNCCL  # absent where torch was built without CUDA

    torch.cuda.set_device(device)
    options: Any = ProcessGroupNCCL.Options()
    options._timeout = timedelta(seconds=_MARGIN * timeout_s)
    with _environment(_NCCL_ENVIRONMENT):
        group: Any = ProcessGroupNCCL(store, rank, 2, options)
    group.eager_connect_single_device(device)
    return group


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Only a group's making reads them; the learner's own group is made before any pair, and keeps torch's defaults."""
    with _changes_environment:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _within(timeout_s: float, what: str, action: Callable[[], _T]) -> _T:
    """What `action` returns; raises TransferFailed when it fails or takes longer, and then leaves it behind."""
    found: list[_T] = []
    failure: list[Exception] = []

    def act() -> None:
        try:
            found.append(action())
        except Exception as error:  # handed over below
            failure.append(error)

    thread = threading.Thread(target=act, name="pair", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failure:
        raise TransferFailed(f"could not {what}: {first_line(failure[0])[:200]}") from failure[0]
    if not found:
        raise TransferFailed(f"could not {what} within {timeout_s:g} s")
    return found[0]
