"""Where a run finds Ray. Imports nothing that a node of executors does not have."""

from __future__ import annotations

import os
import socket

from config import Config, UserError, first_line

ADVICE = "start it or correct ray.address, or give --ray.address local to start one here"
_KNOCK_TIMEOUT_S = 10.0


def wanted_address(config: Config) -> str | None:
    """Where a run finds Ray: HOST:PORT, `auto` (what `ray start` left here), `local` (it starts one); None: the second, else the third."""
    return config.ray.address or os.environ.get("RAY_ADDRESS") or None


def knock(address: str) -> None:
    """Raises UserError when nothing listens at `address`, or what no driver can join; Ray itself tries for minutes."""
    if address.startswith("ray://"):
        raise UserError(f"ray.address {address} is one of Ray's client servers, which cannot run this driver: give HOST:PORT of the head")
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and 0 < int(port) < 65536):
        raise UserError(f"ray.address {address} is no HOST:PORT: {ADVICE}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_TIMEOUT_S).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address} ({first_line(error)}): {ADVICE}") from None
