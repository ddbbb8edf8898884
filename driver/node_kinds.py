"""Whether a cluster has kinds of hosts: some for actors and learner, with torch, others for executors (`ray.kinds`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import ray

from rltf.buffer.worker_loop import NODE_RESOURCES, NotSchedulable


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
