"""What Ray's autoscaler says of hosts that are not up, in words; it knows who is launched, set up, or refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ray._private import ray_constants
from ray.autoscaler.v2.schema import ClusterStatus
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get

from rltf.telemetry.vocabulary import few

_MAX_WORDS = 160
"""Of one reason, which may be a traceback."""


def autoscaler_words() -> str:
    """ "Ray's autoscaler is launching 2 gpu; 10.0.0.4 (executor) failed to start"; empty where there is none, or where
    it waits for no host.
    """
    if is_autoscaler_v2():
        said = list(_of_status(get_cluster_status(ray.get_runtime_context().gcs_address)))
    else:
        status = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
        said = list(words_of_report(json.loads(status).get("autoscaler_report") or {})) if status else []
        if error := _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_ERROR):
            said.append(f"has failed ({_last_line(error.decode(errors='replace'))}): see monitor.out on the head")
    return f"Ray's autoscaler: {'; '.join(said)}" if said else ""


def words_of_report(report: Mapping[str, Any]) -> Iterator[str]:
    """From the summary that the autoscaler of `ray up` leaves (`ray.autoscaler.AutoscalerSummary` as JSON)."""
    if launches := report.get("pending_launches"):
        yield "launching " + few([f"{count} {kind}" for kind, count in launches.items()])
    if pending := report.get("pending_nodes"):
        yield few([f"{ip} ({kind}) is {status}" for ip, kind, status in pending])
    if failed := report.get("failed_nodes"):
        hosts = few([f"{ip} ({kind})" for ip, kind in failed])
        yield f"{hosts} failed, and is not tried again: mend it, then `ray up`"
    known = (report.get("node_availability_summary") or {}).get("node_availabilities") or {}
    for kind, record in known.items():
        if not record.get("is_available", True) and (why := record.get("unavailable_node_information")):
            yield f"{kind} cannot be had ({why['category']}: {_last_line(why['description'])})"


def _of_status(status: ClusterStatus) -> Iterator[str]:
    """From what the autoscaler of KubeRay answers."""
    launches = Counter[str]()
    for launch in status.pending_launches:
        launches[launch.ray_node_type_name] += launch.count
    if launches:
        yield "launching " + few([f"{count} {kind}" for kind, count in launches.items()])
    if status.pending_nodes:
        nodes = [(node.ip_address or node.instance_id, node) for node in status.pending_nodes]
        yield few([f"{name} ({node.ray_node_type_name}) is {node.details or 'pending'}" for name, node in nodes])
    for refused in status.failed_launches:
        yield f"{refused.ray_node_type_name} cannot be had ({_last_line(refused.details or 'no reason given')})"


def _last_line(words: str) -> str:
    return (words.strip().splitlines() or ["no reason given"])[-1].strip()[:_MAX_WORDS]
