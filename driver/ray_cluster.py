"""Ray for one run: a cluster that runs already, or one started here and stopped with the run."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from config import Config, UserError, first_line
from driver.machine import memory_bytes, object_store_bytes
from driver.ray_address import ADVICE, knock, wanted_address
from driver.supervisor import START_TIMEOUT_S
from monitor.plan import ClusterFacts, wanted_cpus, wanted_gpus

STARTED_HERE = "started here"
LOOPBACK = "127.0.0.1"
_LOOK_S = 2.0
_ENVIRONMENT = {
    # Ray's own default differs between `ray.init` and the command-line tools; stated, `ray status` and the dashboard can be used.
    "RAY_AUTH_MODE": "disabled",
    # Workers at Ray's default niceness of 15 starve on a machine that is used for anything else.
    "RAY_worker_niceness": "0",
    # Torch threads that wait sleep: spinning ones slow a crowded machine down twentyfold. They spin for the microseconds between two
    # operations first, without which a warm start on two threads takes a fifth to a half longer.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "2000",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def ray_cluster(config: Config) -> Iterator[ClusterFacts]:
    """Connects to `ray.address`, RAY_ADDRESS or the cluster that `ray start` or `ray up` left running here; else starts Ray here.

    Raises UserError when the address does not answer or the cluster there cannot be joined.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    started_here, dashboard = _connect(config)
    try:
        resources = ray.cluster_resources()
        facts = ClusterFacts(
            found=STARTED_HERE if started_here else f"the running one at {ray.get_runtime_context().gcs_address}",
            nodes=sum(node["Alive"] for node in ray.nodes()),
            cpus=resources.get("CPU", 0.0),
            gpus=resources.get("GPU", 0.0),
            memory_bytes=min(resources.get("memory", 0.0), memory_bytes()[0]) if started_here else resources.get("memory", 0.0),
            cores=float(os.cpu_count() or 1) if started_here else resources.get("CPU", 0.0),
            dashboard=dashboard,
        )
        yield facts
    finally:
        ray.shutdown()


def await_gpus(config: Config, cluster: ClusterFacts, say: Callable[[str], None]) -> None:
    """Returns when the cluster has the GPUs that the run asks for. Nodes of one that was joined may still be starting: they are waited for.

    Raises UserError when they are not there after `ray.wait_s`; at once where Ray was started for the run.
    """
    wanted, said = wanted_gpus(config), False
    deadline = time.monotonic() + (0.0 if cluster.found == STARTED_HERE else config.ray.wait_s)
    while (there := ray.cluster_resources().get("GPU", 0.0)) < wanted:
        if time.monotonic() >= deadline:
            raise UserError(
                f"{wanted:g} GPUs are asked for ({config.actors.count} actors x {config.actors.gpus_per_actor:g} + "
                f"{config.learner.workers} learner workers x {config.learner.gpus_per_worker:g}) but Ray sees {there:g}: "
                "lower actors.gpus_per_actor and learner.gpus_per_worker (0 uses the CPU), or add nodes"
            )
        if not said:
            say(f"Waiting up to {config.ray.wait_s:g} s for GPUs: {there:g} of {wanted:g} are there")
            said = True
        time.sleep(_LOOK_S)


def start_timeout_s(config: Config, cluster: ClusterFacts) -> float:
    """Longest wait for a worker's process: nodes of a cluster that was joined may still be starting, or be started for it."""
    return START_TIMEOUT_S if cluster.found == STARTED_HERE else max(START_TIMEOUT_S, config.ray.wait_s)


def node_address() -> str:
    """By which the cluster's other nodes know this one; 127.0.0.1 where Ray was started here, which nobody else is to reach."""
    here = ray.get_runtime_context().get_node_id()
    return next(str(node["NodeManagerAddress"]) for node in ray.nodes() if node["NodeID"] == here)


def _connect(config: Config) -> tuple[bool, str]:
    """Whether Ray was started here, and the address of its dashboard."""
    common = {"namespace": f"rltf-{uuid.uuid4().hex[:12]}", "logging_level": logging.ERROR, "log_to_driver": False}
    address = wanted_address(config)
    where = address or "the address that an earlier `ray start` left behind"
    if address not in (None, "local"):
        knock(address)
        return False, _join(address, where, common)
    try:
        context = ray.init(
            address=address,
            # Logical CPUs: parts that mostly wait share a core, so a laptop may have fewer cores than the parts ask for.
            num_cpus=max(os.cpu_count() or 1, int(wanted_cpus(config) + 1)),
            include_dashboard=config.ray.dashboard,
            object_store_memory=object_store_bytes(),
            # Whoever reaches Ray's ports can run what they like, and there is no password here.
            _node_ip_address=LOOPBACK,
            **common,
        )
    except ValueError:  # how Ray says that it found a running cluster, whose CPUs and address are not ours to set
        if address == "local":
            raise
        return False, _join(None, where, common)
    except OSError as error:
        raise UserError(f"Ray could not be started here: {first_line(error)}") from None
    return True, context.dashboard_url or ""


def _join(address: str | None, where: str, common: dict[str, Any]) -> str:
    """Joins the cluster; the address of its dashboard."""
    try:
        return ray.init(address=address, **common).dashboard_url or ""
    except ray.exceptions.AuthenticationError as error:
        raise UserError(
            f"the Ray cluster at {where} wants a token ({first_line(error)}): set RAY_AUTH_MODE=token, with the token in ~/.ray/auth_token"
        ) from None
    except (ConnectionError, OSError) as error:
        raise UserError(f"no Ray cluster answers at {where} ({first_line(error)}): {ADVICE}") from None
    except (ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(f"the Ray cluster at {where} cannot be joined ({first_line(error)}): {ADVICE}") from None
