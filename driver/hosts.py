"""Hosts that join a cluster and that leave it while a run goes on."""

from __future__ import annotations

import time

import ray

from rltf.buffer.worker_loop import NODE_RESOURCES
from rltf.telemetry.recorder import Row


class HostWatch:
    """Compares the hosts of the cluster with those of the look before."""

    def __init__(self) -> None:
        self._up: dict[str, str] | None = None
        """By Ray's id the names of those that were up; None before the first look."""

    def look(self) -> list[Row]:
        """Events of those that came (`host_joined`: host, offers) and went (`host_left`: host, reason).

        None at the first look.
        """
        nodes = {str(node["NodeID"]): node for node in ray.nodes()}
        up = {key: str(node["NodeManagerHostname"]) for key, node in nodes.items() if node["Alive"]}
        before, self._up = up if self._up is None else self._up, up
        now = time.time()
        events: list[Row] = []
        for key in before.keys() - up.keys():
            reason = str(nodes.get(key, {}).get("DeathReasonMessage") or "Ray no longer knows it")
            events.append({"time": now, "event": "host_left", "host": before[key], "reason": reason})
        for key in up.keys() - before.keys():
            resources = nodes[key]["Resources"]
            offers = {name: resources[name] for name in ("CPU", "GPU", *NODE_RESOURCES) if resources.get(name)}
            events.append({"time": now, "event": "host_joined", "host": up[key], "offers": offers})
        return events
