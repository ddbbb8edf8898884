"""Memory that processes of one machine share: the weight store owns it, the learner writes into it, actors read from
it.

A slot is an anonymous file in memory, reached through the owner's entry in /proc, so that nothing is left behind when
the owner ends. Its pages stay where they are from one version to the next: writing into them again costs no page
faults. A writer locks a slot alone, readers together (flock), and the kernel takes the locks of a process that dies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rltf.config import try_lock

_HEADER = 4096
"""Bytes before the data: the token, then the version that the data belongs to."""
_TOKEN = 16
_NONE = -1


class SlotLost(Exception):
    """The slot cannot be reached: its owner has ended, or this process may not look into it."""


@dataclass(frozen=True, slots=True)
class SlotName:
    """Where a slot is; plain data, means the same in every process of the machine."""

    pid: int
    """The owner's."""
    fd: int
    """The owner's descriptor."""
    token: bytes
    """Random; tells the slot from whatever else has this process and descriptor number."""
    nbytes: int
    """Bytes of data it has room for. Room that was never written takes no memory."""

    @property
    def path(self) -> Path:
        """Where other processes open it."""
        return Path(f"/proc/{self.pid}/fd/{self.fd}")


def make_slot(nbytes: int) -> SlotName:
    """A new slot of this process; it lives until this process and all that have it open end."""
    fd = os.memfd_create("weights", os.MFD_CLOEXEC)
    os.ftruncate(fd, _HEADER + nbytes)
    token = secrets.token_bytes(_TOKEN)
    os.pwrite(fd, token + np.int64(_NONE).tobytes(), 0)
    return SlotName(os.getpid(), fd, token, nbytes)


class Slot:
    """A slot as one process sees it."""

    def __init__(self, name: SlotName) -> None:
        """Raises SlotLost."""
        try:
            self._fd = os.open(name.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise SlotLost(f"the shared memory {name.path} cannot be opened: {error.strerror}") from error
        if os.pread(self._fd, _TOKEN, 0) != name.token:
            os.close(self._fd)
            raise SlotLost(f"{name.path} is no longer the shared memory it was: the weight store has ended")
        self.name = name
        self._map = np.frombuffer(mmap.mmap(self._fd, _HEADER + name.nbytes), np.uint8)
        self._version = self._map[_TOKEN : _TOKEN + 8].view(np.int64)

    @property
    def data(self) -> NDArray[np.uint8]:
        """(nbytes,) the slot's bytes, writable."""
        return self._map[_HEADER:]

    def begin_writing(self) -> bool:
        """Locks the slot for writing; false when another process reads or writes it. What was in it counts as gone."""
        if not try_lock(self._fd):
            return False
        self._version[0] = _NONE
        return True

    def end_writing(self, version: int) -> None:
        """Says that the data is whole and belongs to `version`, and unlocks."""
        self._version[0] = version
        self.unlock()

    def begin_reading(self, version: int) -> bool:
        """Locks the slot for reading; false when its data is not that of `version` (any more)."""
        if not try_lock(self._fd, fcntl.LOCK_SH):
            return False
        if self._version[0] != version:
            self.unlock()
            return False
        return True

    def unlock(self) -> None:
        """Ends reading or writing."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go of the slot; arrays on its data stay valid."""
        os.close(self._fd)
