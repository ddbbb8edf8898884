"""What Ray's head knows of nodes and actors, in words: where a worker could run, what is free there, what became of one
that died.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import ray
from ray._private import state

from rltf.buffer.worker_loop import NODE_RESOURCES, NotSchedulable
from rltf.telemetry.vocabulary import few

Resources = Mapping[str, float]
"""By name: CPU, GPU, and what nodes offer for one kind of worker."""


class Death(NamedTuple):
    """Why a worker is dead."""

    reason: str
    """A sentence."""
    cause: str
    """The same without who has died."""
    never_ran: bool
    """Whether Ray lost it on the way to a node: its node was dead already and not yet known to be."""


def format_resources(resources: Resources) -> str:
    """ "1 CPU, 0.5 executor", what is not zero."""
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items() if amount) or "nothing"


def hosts(asked: Resources) -> dict[str, str]:
    """Nodes that are up and large enough for `asked`, were nothing else on them: by Ray's id the host's name."""
    up = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    return {
        node_id: str(node["NodeManagerHostname"])
        for node_id, node in up.items()
        if all(node["Resources"].get(name, 0.0) >= amount for name, amount in asked.items())
    }


def missing_host(asked: Resources) -> str:
    """Which host is waited for, where none that is up could run what asks for `asked`; else empty."""
    if hosts(asked):
        return ""
    for resource, kind in NODE_RESOURCES.items():
        if resource in asked and not hosts({"CPU": min(asked.get("CPU", 0.0), 1e-4) or 1e-4, resource: 1e-4}):
            return f"waiting for {kind} host: none is up"
    return f"waiting for a host that offers {format_resources(asked)}: none that is up does"


def shortage(asked: Resources) -> str:
    """What is free on the nodes that could run what asks for `asked`, or that there are none: the end of a sentence."""
    able = hosts(asked)
    if not able:
        most = {
            name: max((node["Resources"].get(name, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
            for name in asked
        }
        return f"no node that is up offers that (at most {format_resources(most)})"
    available = state.available_resources_per_node()
    free = {node: {name: available.get(node, {}).get(name, 0.0) for name in asked} for node in able}
    roomy = [able[node] for node, there in free.items() if all(there[name] >= amount for name, amount in asked.items())]
    if roomy:
        return f"there is room on {few(roomy)}, but its process does not come up"
    # Ray takes a worker's share off as soon as it begins to start it, and does not say whose.
    listed = [f"{able[node]} has {format_resources(there)}" for node, there in free.items()]
    return f"of the nodes that could run it {few(listed)} free, what is being started there (perhaps itself) taken off"


def actor_host(handle: Any) -> str:
    """The host on which the actor's process is up; empty while it has none."""
    address = _actor(handle).get("Address", {})
    return _name(address["NodeID"]) if address.get("IPAddress") else ""


def cause_of_death(name: str, handle: Any, started: bool, error: Exception) -> Death:
    """What `error`, raised by a call to the actor, means. `started`: whether it has run."""
    context = _context(handle)
    what = "has died" if started else "did not start"
    if context is not None and context.reason == type(context).NODE_DIED:
        because = context.node_death_info.reason_message
        node = _name(_actor(handle)["Address"]["NodeID"])
        cause = f"its node {node} has died" + (f" ({because})" if because else "")
        return Death(f"{name} {what}: {cause}", cause, never_ran=not started)
    cause = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
    return Death(f"{name} {what}: {cause}", cause, never_ran=False)


def _name(node_id: str) -> str:
    """The node's host, or what Ray calls a node that it has forgotten."""
    return next((str(node["NodeManagerHostname"]) for node in ray.nodes() if node["NodeID"] == node_id), node_id[:12])


def _context(handle: Any) -> Any:
    """Ray's record of the actor's death (ActorDiedErrorContext), where there is one."""
    cause = _actor(handle).get("DeathCause")
    return cause.actor_died_error_context if cause is not None and cause.HasField("actor_died_error_context") else None


def _actor(handle: Any) -> dict[str, Any]:
    return dict(state.actors(handle._actor_id.hex()) or {})


class NodeKinds:
    """Looked at whenever a worker is started, for hosts come and go; once a host of a kind was seen there are kinds."""

    def __init__(self, setting: Literal["auto", "on", "off"], joined: bool) -> None:
        """`joined`: whether the cluster is another's; Ray that was started for the run has one host, which serves for
        everything.
        """
        self._apart = setting == "on" and joined
        self._looks = setting == "auto" and joined

    def offered(self) -> Mapping[str, float]:
        """The resources of NODE_RESOURCES if there are kinds, else none; for `ray_options`.

        Raises NotSchedulable while no host is up that could run anything: it would not be known for which workers it
        is.
        """
        if self._looks and not self._apart:
            there = ray.cluster_resources()
            self._apart = any(kind in there for kind in NODE_RESOURCES)
            if not self._apart and not there.get("CPU"):
                raise NotSchedulable("waiting for a host: none that offers a CPU is up")
        return dict.fromkeys(NODE_RESOURCES, 1.0) if self._apart else {}
