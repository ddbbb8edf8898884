"""A line between two processes of a run: short JSON messages over TCP, every wait with a bound, the other's end seen at
once.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]

_LENGTH = struct.Struct("!I")
_MOST_BYTES = 1 << 26
"""Longer messages are refused: a manifest has about 100 bytes per tensor."""


class LineLost(Exception):
    """The other end is gone or did not answer within the bound; the message says which, and what was waited for."""


class Line:
    """One end of the line. Used by one thread at a time; `close` by any."""

    def __init__(self, connected: socket.socket, peer: str) -> None:
        """`peer`: what the other end is called in messages."""
        self._socket = connected
        self.peer = peer
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A machine that vanished says nothing: it is asked after a minute of silence, and given up after another.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            connected.setsockopt(socket.IPPROTO_TCP, option, seconds)

    @classmethod
    def to(cls, address: tuple[str, int], peer: str, timeout_s: float) -> Line:
        """Connects to who listens at `address`. Raises LineLost."""
        try:
            return cls(socket.create_connection(address, timeout_s), peer)
        except OSError as error:
            raise LineLost(f"{peer} cannot be reached at {address[0]}:{address[1]}: {_reason(error)}") from error

    @property
    def near(self) -> str:
        """This end's address, by which the other's machine can reach this one."""
        return str(self._socket.getsockname()[0])

    def say(self, message: Mapping[str, Any], timeout_s: float) -> None:
        """Sends a message. Raises LineLost."""
        data = json.dumps(message).encode()
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise LineLost(f"{self.peer} takes no messages: {_reason(error)}") from error

    def hear(self, what: str, timeout_s: float | None) -> Message:
        """The next message, which is to say `what`. None waits until one comes or the other end is gone.

        Raises LineLost.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, what, deadline, timeout_s))
        if length > _MOST_BYTES:
            raise LineLost(f"{self.peer} sent a message of {length} bytes instead of {what}")
        data = self._read(length, what, deadline, timeout_s)
        try:
            message = json.loads(data)
        except ValueError as error:
            raise LineLost(f"{self.peer} sent something else than {what}") from error
        if not isinstance(message, dict):
            raise LineLost(f"{self.peer} sent something else than {what}")
        return message

    def is_open(self) -> bool:
        """False as soon as the other end's process has ended or let go of the line. Nothing is read."""
        try:
            if not select.select([self._socket], [], [], 0)[0]:
                return True
            self._socket.settimeout(0)
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Ends the line; who waits on either end is told."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was first
        self._socket.close()

    def _read(self, size: int, what: str, deadline: float | None, timeout_s: float | None) -> bytes:
        found = bytearray()
        while len(found) < size:
            try:
                self._socket.settimeout(None if deadline is None else max(1e-3, deadline - time.monotonic()))
                part = self._socket.recv(min(size - len(found), 1 << 20))
            except TimeoutError as error:
                raise LineLost(f"{self.peer} did not send {what} within {timeout_s:g} s") from error
            except OSError as error:
                raise LineLost(f"{self.peer} is gone, {what} was to come: {_reason(error)}") from error
            if not part:
                raise LineLost(f"{self.peer} is gone, {what} was to come")
            found += part
        return bytes(found)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
