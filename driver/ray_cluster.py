"""Ray for one run: a cluster that runs already, or one started here and stopped with the run."""

from __future__ import annotations

import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, services
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.node import Node
from ray._private.services import get_ray_address_from_environment

from rltf.config import Config, UserError, first_line
from rltf.driver.autoscaler import autoscaler_words
from rltf.driver.guard import children
from rltf.driver.host_limits import memory_bytes, object_store_bytes
from rltf.driver.ray_address import HERE, ClusterAddress, check_reachable, find_cluster_address
from rltf.driver.ray_probe import probe
from rltf.driver.ray_start import LOOPBACK, SessionLock, prepare, raise_open_files, remove_old_sessions
from rltf.driver.supervisor import START_TIMEOUT_S
from rltf.monitor.plan import ClusterInfo, wanted_cpus, wanted_gpus

STARTED_HERE = "started here"
MAX_START_ATTEMPTS = 3
"""Tries to start Ray where its processes are slow: each of its own bounds, 30 s for a node, is soon reached on a
machine that is busy."""
_POLL_INTERVAL_S = 2.0
_ENVIRONMENT = {
    # Ray's own default differs between `ray.init` and the command-line tools; stated, `ray status` and the dashboard
    # can be used.
    "RAY_AUTH_MODE": "disabled",
    # Workers at Ray's default niceness of 15 starve on a machine that is used for anything else.
    "RAY_worker_niceness": "0",
    # Torch threads that wait sleep: spinning ones slow a crowded machine down twentyfold. They spin for the
    # microseconds between two operations first, without which a warm start on two threads takes a fifth to a half
    # longer.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "2000",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def ray_cluster(config: Config, say: Callable[[str], None]) -> Iterator[ClusterInfo]:
    """Connects to `ray.address`, RAY_ADDRESS or the cluster that `ray start` or `ray up` left running here; else starts
    Ray here.

    `say`: gets sentences for whoever started the run. Raises UserError when the address does not answer, the cluster
    there cannot be joined, or Ray cannot be started.
    """
    wanted = find_cluster_address(config)
    free_to_choose = "RAY_AUTH_MODE" not in os.environ
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what it says of a failed start is in the sentence
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    common = {"namespace": f"rltf-{uuid.uuid4().hex[:12]}", "logging_level": logging.CRITICAL, "log_to_driver": False}
    with ExitStack() as ending:
        if wanted.starts_here:
            dashboard = _start(config, common, say, ending)
        else:
            raise_open_files(config.workers)
            wanted = _resolved(wanted)
            check_reachable(wanted)
            dashboard = _join(wanted, common, free_to_choose)
        ending.callback(ray.shutdown)
        logging.getLogger("ray").setLevel(logging.ERROR)
        resources = ray.cluster_resources()
        yield ClusterInfo(
            found=STARTED_HERE if wanted.starts_here else f"the running one at {ray.get_runtime_context().gcs_address}",
            nodes=sum(node["Alive"] for node in ray.nodes()),
            cpus=resources.get("CPU", 0.0),
            gpus=resources.get("GPU", 0.0),
            memory_bytes=min(resources.get("memory", 0.0), memory_bytes()[0])
            if wanted.starts_here
            else resources.get("memory", 0.0),
            cores=float(os.cpu_count() or 1) if wanted.starts_here else resources.get("CPU", 0.0),
            dashboard=dashboard,
        )


def this_machine(config: Config) -> ClusterInfo:
    """What Ray would offer if it were started here, without starting it: for a plan."""
    devices = get_accelerator_manager_for_resource("GPU")
    visible = devices.get_current_process_visible_accelerator_ids()
    return ClusterInfo(
        found=STARTED_HERE,
        nodes=1,
        cpus=float(_logical_cpus(config)),
        gpus=float(devices.get_current_node_num_accelerators() if visible is None else len(visible)),
        memory_bytes=memory_bytes()[1] * (1.0 - ray_constants.DEFAULT_OBJECT_STORE_MEMORY_PROPORTION),
        cores=float(os.cpu_count() or 1),
    )


def await_gpus(config: Config, cluster: ClusterInfo, say: Callable[[str], None]) -> None:
    """Returns when the cluster has the GPUs that the run asks for.

    Nodes of one that was joined may still be starting: they are waited for.

    Raises UserError when they are not there after `ray.wait_s`; at once where Ray was started for the run.
    """
    wanted, told = wanted_gpus(config), ""
    deadline = time.monotonic() + (0.0 if cluster.found == STARTED_HERE else config.ray.wait_s)
    while (there := ray.cluster_resources().get("GPU", 0.0)) < wanted:
        if time.monotonic() >= deadline:
            raise _too_few_gpus(config, there, autoscaler_words() if cluster.found != STARTED_HERE else "")
        if (news := f"{there:g} of {wanted:g} are there; {autoscaler_words()}".rstrip("; ")) != told:
            say(f"Waiting up to {deadline - time.monotonic():.0f} s for GPUs: {news}")
            told = news
        time.sleep(_POLL_INTERVAL_S)


def _too_few_gpus(config: Config, there: float, autoscaler: str = "") -> UserError:
    return UserError(
        f"{wanted_gpus(config):g} GPUs are asked for ({config.actors.count} actors x {config.actors.gpus_per_actor:g} "
        f"+ {config.learner.workers} learner workers x {config.learner.gpus_per_worker:g}) but Ray sees {there:g}: "
        "lower actors.gpus_per_actor and learner.gpus_per_worker (0 uses the CPU), or add nodes"
        + (f"; {autoscaler}" if autoscaler else "")
    )


def start_timeout_s(config: Config, cluster: ClusterInfo) -> float:
    """Longest wait for a worker's process: nodes of a cluster that was joined may still be starting, or be started for
    it.
    """
    return START_TIMEOUT_S if cluster.found == STARTED_HERE else max(START_TIMEOUT_S, config.ray.wait_s)


def node_address() -> str:
    """By which the cluster's other nodes know this one; 127.0.0.1 where Ray was started here, which nobody else is to
    reach.
    """
    here = ray.get_runtime_context().get_node_id()
    return next(str(node["NodeManagerAddress"]) for node in ray.nodes() if node["NodeID"] == here)


def _logical_cpus(config: Config) -> int:
    """CPUs that Ray is told of: parts that mostly wait share a core, so a laptop may have fewer cores than the parts
    ask for.
    """
    return max(os.cpu_count() or 1, int(wanted_cpus(config) + 1))


def _start(config: Config, common: dict[str, Any], say: Callable[[str], None], ending: ExitStack) -> str:
    """Starts Ray here, without its dashboard where that does not start; the dashboard's address, empty without.

    Raises UserError, too, where it would see fewer GPUs than are asked for.
    """
    if (there := this_machine(config).gpus) < wanted_gpus(config):
        raise _too_few_gpus(config, there)
    sessions = prepare(config.workers)
    remove_old_sessions(sessions)
    ending.enter_context(_loopback_only())
    dashboard, tries = config.ray.dashboard, 0
    while True:
        before = children()
        try:
            with _only_what_is_used(dashboard):
                context = ray.init(
                    address="local",
                    num_cpus=_logical_cpus(config),
                    include_dashboard=dashboard,
                    object_store_memory=object_store_bytes(),
                    _node_ip_address=LOOPBACK,
                    _temp_dir=str(sessions),
                    **common,
                )
            break
        except Exception as error:  # Ray raises anything, `Exception` itself too
            _end_since(before)
            wrote = _give_up_session(sessions)
            if dashboard and "dashboard" in str(error):
                dashboard = False
                say(f"Ray's dashboard does not start: the run goes on without it{wrote}")
                continue
            tries += 1
            if tries == MAX_START_ATTEMPTS or "timed out" not in str(error):
                raise UserError(f"Ray could not be started here: {first_line(error)[:300]}{wrote}") from None
            say(f"Ray has not started in time: it is started again{wrote}")
    session = SessionLock(Path(context.address_info["session_dir"]))
    ending.callback(session.close)
    return context.dashboard_url or ""


def _end_since(before: set[int]) -> None:
    """Ends the processes of a start that failed: this process's children but for those `before`."""
    ray.shutdown()
    for child in children() - before:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Lets Ray, and what it starts, take 127.0.0.1 for this machine's address, which it does only where it has no
    clusters of machines.

    Whoever reaches Ray's ports can run what they like, and there is no password where a run starts it.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    given, clusters = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        os.environ.pop(name)
        if given is not None:
            os.environ[name] = given
        ray_constants.ENABLE_RAY_CLUSTER = clusters


@contextmanager
def _only_what_is_used(dashboard: bool) -> Iterator[None]:
    """Keeps Ray from starting two processes that would do nothing for a run, and of which it waits for one.

    The log monitor sends what workers print to the driver, which does not want it (`log_to_driver`); the dashboard's
    server, where there is to be no dashboard, only gathers usage statistics, which are off.
    """
    log_monitor, server = Node.start_log_monitor, services.start_api_server
    Node.start_log_monitor = lambda node: None
    if not dashboard:
        services.start_api_server = lambda *arguments, **options: ("", None)
    try:
        yield
    finally:
        Node.start_log_monitor, services.start_api_server = log_monitor, server


def _give_up_session(sessions: Path) -> str:
    """Leaves the session of a start that failed to `remove_old_sessions`; where Ray's processes wrote why, in words."""
    session = (sessions / "session_latest").resolve()
    if not (session / "logs").is_dir():
        return ""
    SessionLock(session).close()
    return f"; what Ray's processes wrote is in {session}/logs"


def _resolved(wanted: ClusterAddress) -> ClusterAddress:
    """The address that `auto` stands for in its place. Raises UserError when no cluster runs here."""
    if wanted.address != "auto":
        return wanted
    try:
        return wanted._replace(address=get_ray_address_from_environment("auto", None))
    except ConnectionError:
        raise UserError(f"{wanted.source} is auto, and no Ray cluster runs on this machine: {wanted.remedy}") from None


def _join(wanted: ClusterAddress, common: dict[str, Any], free_to_choose: bool) -> str:
    """Joins the cluster; the address of its dashboard.

    `free_to_choose`: whether the environment is silent about tokens.
    """
    _ask(wanted, free_to_choose)
    try:
        return ray.init(address=wanted.address, **common).dashboard_url or ""
    except ray.exceptions.AuthenticationError:
        raise _wants_token(wanted) from None
    except Exception as error:  # Ray raises anything, `Exception` itself too
        reason = first_line(error.__cause__ or error)[:300]
        raise UserError(f"the Ray cluster at {wanted} cannot be joined ({reason}): {wanted.remedy}") from None


def _ask(wanted: ClusterAddress, free_to_choose: bool) -> None:
    """Raises UserError where no cluster answers, it wants a token, or this machine is none of its nodes."""
    answer = probe(str(wanted.address))
    if _wants(answer) and free_to_choose and wanted.source not in ("ray.address", "RAY_ADDRESS"):
        # This user's token, if there is one, for the cluster that was started here, as Ray's own tools do.
        del os.environ["RAY_AUTH_MODE"]
        if maybe_enable_token_auth_if_token_available(warn_if_disabled=False):
            answer = probe(str(wanted.address))
    if _wants(answer):
        raise _wants_token(wanted)
    if "error" in answer:
        raise UserError(f"no Ray cluster answers at {wanted} ({first_line(answer['error'])}): {wanted.remedy}")
    if not answer["here"]:
        raise UserError(
            f"the Ray cluster at {wanted} answers ({answer['nodes']} nodes), but this machine is none of its nodes, "
            "and a run has to be "
            f"started on one: from here give its dashboard's address, --ray.address http://HEAD:8265, or {HERE}"
        )


def _wants(answer: dict[str, Any]) -> bool:
    return "auth" in str(answer.get("error", "")).lower()


def _wants_token(wanted: ClusterAddress) -> UserError:
    return UserError(
        f"the Ray cluster at {wanted} wants a token: set RAY_AUTH_MODE=token, with its token in ~/.ray/auth_token"
    )
