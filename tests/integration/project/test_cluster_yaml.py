"""cluster.yaml and clusters/ pass Ray's own validation, start the right nodes and keep clear of known pitfalls.

No cloud, no Kubernetes and no container is touched.
"""

import json
import re
import subprocess
from functools import partial
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config

from rltf import config as configuration
from rltf.buffer.worker_loop import ray_options
from rltf.driver.guard import STOP_TIMEOUT_S
from tests.support.paths import ROOT

START = ("head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def prepared(written: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` prepares it before it talks to the cloud: defaults filled in, common set-up commands merged, then
    validated.
    """
    prepared = prepare_config(written)
    validate_config(prepared)
    return prepared


def _nodes_for(
    prepared: dict[str, Any], demands: list[dict[str, float]]
) -> tuple[dict[str, int], list[dict[str, float]]]:
    """Nodes that Ray's autoscaler would start for demands that find no room, and the demands that it could not help."""
    scorer = partial(_default_utilization_scorer, node_availability_summary=NodeAvailabilitySummary({}))
    nodes, unmet = get_nodes_for(
        prepared["available_node_types"], {}, prepared["head_node_type"], prepared["max_workers"], demands, scorer
    )
    return dict(nodes), unmet


def _demand(cpus: float, gpus: float, nodes: str, offered: dict[str, float]) -> dict[str, float]:
    """What Ray is asked for a worker, as the autoscaler sees it."""
    options = ray_options(cpus, gpus, nodes, offered)
    return {"CPU": options["num_cpus"], **options["resources"]} | ({"GPU": gpus} if gpus else {})


def test_validation_is_rays_own_and_can_fail(written: dict[str, Any]) -> None:
    broken = prepare_config(written | {"available_node_type": {}})
    with pytest.raises(Exception, match="available_node_type"):
        validate_config(broken)


def test_head_gpu_and_executor_nodes(prepared: dict[str, Any]) -> None:
    types = prepared["available_node_types"]
    assert prepared["head_node_type"] == "head"
    assert types["head"]["resources"]["CPU"] == 0 and types["head"]["max_workers"] == 0
    assert types["gpu"]["resources"]["GPU"] > 0
    assert "GPU" not in types["executor"]["resources"]
    for kind, other in (("executor", "gpu"), ("trainer", "executor")):
        assert types["head"]["resources"][kind] and kind not in types[other]["resources"]
    assert types["executor"]["min_workers"] < types["executor"]["max_workers"]


def test_waiting_executors_start_executor_nodes_only(prepared: dict[str, Any]) -> None:
    nodes, unmet = _nodes_for(prepared, [{"CPU": 16, "executor": 16}] * 8)
    assert nodes == {"executor": 8} and not unmet


def test_the_apps_preset_fits(prepared: dict[str, Any]) -> None:
    preset = configuration.load(ROOT / "configs" / "apps-codet5.yaml")
    actors, executor, learner = preset.actors, preset.executor, preset.learner
    offered = prepared["available_node_types"]["head"]["resources"]
    asked = [_demand(learner.cpus_per_worker, learner.gpus_per_worker, "trainer", offered)] * learner.workers
    asked += [_demand(actors.cpus_per_actor, actors.gpus_per_actor, "trainer", offered)] * actors.count
    asked += [_demand(executor.cpus_per_executor, 0, "executor", offered)] * executor.count
    nodes, unmet = _nodes_for(prepared, asked)
    assert not unmet
    gpu = prepared["available_node_types"]["gpu"]
    assert nodes["gpu"] == gpu["min_workers"] == gpu["max_workers"], "all GPU nodes are there before the run asks"


def test_workers_without_gpus_run_where_their_packages_are(prepared: dict[str, Any]) -> None:
    offered = prepared["available_node_types"]["head"]["resources"]
    nodes, unmet = _nodes_for(prepared, [_demand(1, 0, "trainer", offered)])
    assert nodes == {"gpu": 1} and not unmet
    assert ray_options(1, 0, "trainer", {"CPU": 2})["resources"] == {}, "a cluster whose nodes are all alike"


@pytest.mark.parametrize("part", START)
def test_start_commands_state_rays_environment(prepared: dict[str, Any], part: str) -> None:
    """Each command runs in a shell of its own, so the variables must be exported in the very command that starts Ray."""
    start = [command for command in prepared[part] if "ray start" in command]
    assert len(start) == 1
    before = start[0].split("ray start")[0]
    for setting in (
        "RAY_AUTH_MODE=token", "RAY_enable_autoscaler_v2=0", "RAY_worker_niceness=0", "OMP_WAIT_POLICY=PASSIVE",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0", "GOMP_SPINCOUNT=2000",
    ):  # fmt: skip
        assert f"export {setting};" in before
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start[0] or part.startswith("worker")


def test_settings_are_the_same_everywhere(prepared: dict[str, Any]) -> None:
    exported = [set(re.findall(r"export (RAY_\w+=\w+);", " ".join(prepared[part]))) for part in START]
    assert exported[0] - exported[1] == {"RAY_JOB_STOP_WAIT_TIME_S=180"} and exported[1] <= exported[0], (
        "jobs are stopped on the head"
    )
    text = (ROOT / "cluster.yaml").read_text()
    assert set(re.findall(r"RAY_AUTH_MODE=(\w+)", text)) == {"token"}
    assert prepared["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_machines_of_ones_own(prepared: dict[str, Any]) -> None:
    """The same environment as on AWS, no type of nodes, and shell that bash can read."""
    here = yaml.safe_load((ROOT / "clusters" / "on-premise.yaml").read_text())
    with pytest.raises(Exception, match="not supported for on-premise"):
        prepare_config(here | {"available_node_types": prepared["available_node_types"]})
    local = prepare_config(here)
    validate_config(local)
    (kind,) = local["available_node_types"].values()
    assert kind["max_workers"] == len(here["provider"]["worker_ips"])
    for part in START:
        exported = [set(re.findall(r"export (\w+=\S+);", " ".join(commands[part]))) for commands in (prepared, local)]
        assert exported[0] == exported[1]
        assert "--metrics-export-port=8080" in local[part][-1] and "nproc)" not in local[part][-1]
    for command in (command for name, commands in local.items() if name.endswith("_commands") for command in commands):
        subprocess.run(["bash", "-n", "-c", command], check=True, timeout=20)


def test_containers_offer_what_hosts_do() -> None:
    """What a start command says of its host; the schemas of compose and KubeRay come with neither package."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    targets = re.findall(r"^FROM base AS (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {service["build"]["target"] for service in services.values() if "build" in service} == set(targets)
    assert "--num-cpus=0" in services["head"]["command"] and "trainer" in services["worker"]["command"]
    assert int(services["executor"]["stop_grace_period"].removesuffix("s")) > STOP_TIMEOUT_S
    (job,) = [
        document
        for document in yaml.safe_load_all((ROOT / "clusters" / "kuberay.yaml").read_text())
        if document["kind"] == "RayJob"
    ]
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == ray.__version__ and cluster["authOptions"]["mode"] == "token"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group, resource in zip(cluster["workerGroupSpecs"], ("trainer", "executor"), strict=True):
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        offered = json.loads(json.loads(group["rayStartParams"]["resources"]))
        assert offered == {resource: int(limits["cpu"])}
    assert cluster["headGroupSpec"]["template"]["spec"]["terminationGracePeriodSeconds"] > STOP_TIMEOUT_S


def test_a_job_on_the_head_has_time_to_stop(prepared: dict[str, Any]) -> None:
    (wait_s,) = re.findall(r"export RAY_JOB_STOP_WAIT_TIME_S=(\d+);", " ".join(prepared["head_start_ray_commands"]))
    assert STOP_TIMEOUT_S < int(wait_s)


def test_one_image_for_all_nodes(prepared: dict[str, Any]) -> None:
    """Ray's default image is too old for torch's wheels, and nodes with different Pythons are refused."""
    images = {node["node_config"].get("ImageId") for node in prepared["available_node_types"].values()}
    assert len(images) == 1 and None not in images


def test_nodes_set_up_what_they_need(prepared: dict[str, Any]) -> None:
    executor = " ; ".join(prepared["available_node_types"]["executor"]["worker_setup_commands"])
    assert "EXTRAS=executor " in executor and "train" not in executor
    assert "EXTRAS=train " in " ; ".join(prepared["worker_setup_commands"])
    assert "EXTRAS=train,cluster " in " ; ".join(prepared["head_setup_commands"])


def test_the_runs_folder_is_on_a_disk_that_head_and_gpu_nodes_share(prepared: dict[str, Any]) -> None:
    for part in ("head_setup_commands", "worker_setup_commands"):
        assert any("mount -t nfs4" in command for command in prepared[part])
    assert "export RLTF_RUN_FOLDER=/shared/runs;" in " ".join(prepared["head_start_ray_commands"])


def test_commands_are_shell(prepared: dict[str, Any]) -> None:
    lists = [prepared[part] for part in (*START, "head_setup_commands", "worker_setup_commands")]
    lists += [node.get("worker_setup_commands", []) for node in prepared["available_node_types"].values()]
    for command in (command for commands in lists for command in commands):
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, timeout=20, check=False)
        assert checked.returncode == 0, checked.stderr
