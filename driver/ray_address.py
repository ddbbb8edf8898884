"""Where a run finds Ray. Imports nothing that a node of executors does not have."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

from rltf.config import Config, UserError, first_line

HERE = "give --ray.address local to start one here"
_CONNECT_TIMEOUT_S = 10.0


class ClusterAddress(NamedTuple):
    """Which cluster a run is to join."""

    address: str | None
    """HOST:PORT, `auto` (what `ray start` left here), `local` (a run starts one); None: nobody names one, so a run
    starts one."""
    source: str
    """Who names it."""

    @property
    def starts_here(self) -> bool:
        """Whether the run starts Ray itself."""
        return self.address in (None, "local")

    @property
    def remedy(self) -> str:
        """What to do when it is of no use."""
        if self.source == "ray.address":
            return f"start it or correct ray.address, or {HERE}"
        if self.source == "RAY_ADDRESS":
            return f"start it, or correct or unset RAY_ADDRESS, which is set in the environment, or {HERE}"
        return f"start it, or delete {self.source}, which an earlier `ray start` left behind, or {HERE}"

    def __str__(self) -> str:
        return f"{self.address}, which {self.source} names," if self.source != "ray.address" else str(self.address)


def temporary_folder() -> Path:
    """Where Ray keeps what it needs while it runs, unless it is told otherwise."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"


def find_cluster_address(config: Config) -> ClusterAddress:
    """The cluster that `ray.address` names, else the one of RAY_ADDRESS, else the one that `ray start` or `ray up` left
    running here.
    """
    if config.ray.address:
        return ClusterAddress(config.ray.address, "ray.address")
    if address := os.environ.get("RAY_ADDRESS"):
        return ClusterAddress(address, "RAY_ADDRESS")
    left = temporary_folder() / "ray_current_cluster"
    try:
        return ClusterAddress(left.read_text().strip() or None, str(left))
    except OSError:  # none, or another user's
        return ClusterAddress(None, str(left))


def check_reachable(wanted: ClusterAddress) -> None:
    """Raises UserError when nothing listens at the address, or what no driver can join; Ray itself tries for
    minutes.
    """
    address, source = str(wanted.address), wanted.source
    if address.startswith("ray://"):
        raise UserError(
            f"{source} {address} is one of Ray's client servers, which cannot run this driver: from outside the "
            "cluster give the address of its dashboard, --ray.address http://HEAD:8265, on the head nothing"
        )
    if "://" in address:
        raise UserError(
            f"{source} {address} is a dashboard's, which takes jobs (`ray job submit --address {address} -- python -m "
            "rltf ..`): to join the cluster from one of its nodes give HOST:PORT of the head, whose port is 6379 by "
            f"default, or {HERE}"
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and 0 < int(port) < 65536):
        raise UserError(f"{source} {address} is no HOST:PORT: {wanted.remedy}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {wanted} ({first_line(error)}): {wanted.remedy}") from None
