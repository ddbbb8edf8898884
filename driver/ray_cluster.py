"""Ray for one run: a cluster that runs already, or one started here and stopped with the run."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from config import Config, UserError
from monitor.plan import ClusterFacts

_KNOCK_TIMEOUT_S = 10.0
_ENVIRONMENT = {
    # Ray's own default differs between `ray.init` and the command-line tools; stated, `ray status` and the dashboard can be used.
    "RAY_AUTH_MODE": "disabled",
    # Workers at Ray's default niceness of 15 starve on a machine that is used for anything else.
    "RAY_worker_niceness": "0",
    # Torch threads that wait sleep instead of spinning: spinning ones slow a crowded machine down twentyfold.
    "OMP_WAIT_POLICY": "PASSIVE",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def ray_cluster(config: Config) -> Iterator[ClusterFacts]:
    """Connects to `ray.address`, RAY_ADDRESS or the cluster that `ray start` or `ray up` left running here; else starts Ray here.

    Raises UserError when the address does not answer, or more GPUs are asked for than there are.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    started_here = _connect(config)
    try:
        resources = ray.cluster_resources()
        facts = ClusterFacts(
            found="started here" if started_here else f"the running one at {ray.get_runtime_context().gcs_address}",
            nodes=sum(node["Alive"] for node in ray.nodes()),
            cpus=resources.get("CPU", 0.0),
            gpus=resources.get("GPU", 0.0),
            memory_bytes=resources.get("memory", 0.0),
        )
        _refuse_missing_gpus(config, facts)
        yield facts
    finally:
        ray.shutdown()


def wanted_cpus(config: Config) -> float:
    """CPUs that all workers of the run ask Ray for."""
    actors, executor, learner = config.actors, config.executor, config.learner
    return actors.count * actors.cpus_per_actor + executor.count * executor.cpus_per_executor + learner.workers * learner.cpus_per_worker


def wanted_gpus(config: Config) -> float:
    """GPUs that all workers of the run ask Ray for."""
    return config.actors.count * config.actors.gpus_per_actor + config.learner.workers * config.learner.gpus_per_worker


def _connect(config: Config) -> bool:
    common = {"namespace": f"rltf-{uuid.uuid4().hex[:12]}", "logging_level": logging.ERROR, "log_to_driver": False}
    address = config.ray.address or os.environ.get("RAY_ADDRESS") or None
    try:
        if address not in (None, "local"):
            _knock(address)
            ray.init(address=address, **common)
            return False
        try:
            ray.init(
                address=address,
                # Logical CPUs: parts that mostly wait share a core, so a laptop may have fewer cores than the parts ask for.
                num_cpus=max(os.cpu_count() or 1, int(wanted_cpus(config) + 1)),
                include_dashboard=config.ray.dashboard,
                **common,
            )
        except ValueError:  # how Ray says that it found a running cluster, whose CPUs are not ours to set
            ray.init(**common)
            return False
    except (ConnectionError, OSError) as error:
        raise UserError(
            f"no Ray cluster answers at {address or 'the address that an earlier `ray start` left behind'} "
            f"({str(error).splitlines()[0]}): start it, or give --ray.address local to start one here"
        ) from None
    return True


def _knock(address: str) -> None:
    """Raises OSError when nothing listens at `address`; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_TIMEOUT_S).close()


def _refuse_missing_gpus(config: Config, facts: ClusterFacts) -> None:
    wanted = wanted_gpus(config)
    if wanted > facts.gpus:
        raise UserError(
            f"{wanted:g} GPUs are asked for ({config.actors.count} actors x {config.actors.gpus_per_actor:g} + "
            f"{config.learner.workers} learner workers x {config.learner.gpus_per_worker:g}) but Ray sees {facts.gpus:g}: "
            "lower actors.gpus_per_actor and learner.gpus_per_worker (0 uses the CPU), or add nodes"
        )
