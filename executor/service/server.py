"""Runs a service until it is asked to stop; then it finishes what it has, within a bound, and takes nothing new."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from rltf.config import UserError
from rltf.executor.service.gate import SOCKET

BACKLOG = 2048
END_TIMEOUT_S = 10.0
"""For what is left after the time to finish: connections are closed, work is cancelled."""


class _Connection(H11Protocol):
    """One whose requests know its socket: by ASGI alone a client is seen to leave only once its request is read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, SOCKET: transport.get_extra_info("socket")}
        super().connection_made(transport)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UserError for an address that cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # With its protocol, for asyncio turns Nagle's algorithm off where it sees TCP: 40 ms of each request else.
        at = socket.socket(family, kind, protocol)
        try:
            at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            at.bind(address)
            at.listen(BACKLOG)
        except OSError:
            at.close()
            raise
        return at
    except OSError as error:
        raise UserError(f"nothing can listen at {host}, port {port}: {error.strerror or error}") from None


def serve(
    app: ASGIApp, at: socket.socket, finish_s: int, hurried: Callable[[], bool], on_stop: Callable[[], None]
) -> bool:
    """Serves until KeyboardInterrupt; whether all that was begun by then was finished.

    `hurried`: whether the rest is to be broken off; `on_stop` is called when it begins to stop.
    """
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=finish_s,
    )
    server = uvicorn.Server(config)
    ended = threading.Event()

    def run() -> None:
        try:
            server.run(sockets=[at])
        finally:
            ended.set()

    threading.Thread(target=run, name="server", daemon=True).start()
    try:
        while not ended.wait(1.0):  # not `join`, which takes a thread for dead when a signal comes (bpo-45274)
            pass
        raise RuntimeError("the server ended by itself")
    except KeyboardInterrupt:
        on_stop()
    server.should_exit = True
    began = time.monotonic()
    while not ended.wait(0.1) and (waited := time.monotonic() - began) < finish_s + END_TIMEOUT_S:
        if hurried() or waited > finish_s + END_TIMEOUT_S / 2:
            server.force_exit = True
    return not server.force_exit and time.monotonic() - began <= finish_s
