"""Rows become Ray metrics, seen where Prometheus would fetch them."""

import time
import urllib.request
from typing import Any

import ray

from rltf.buffer.ray_metrics import RaySink
from tests.support.monitor_rows import count, phase

ROLE = "actor-77"
"""Nobody else on this Ray has it."""


def test_rows_appear_in_rays_prometheus_endpoint(ray_job: Any) -> None:
    sink = RaySink("pilot")
    sink(
        [
            count(ROLE, "programs", 3, 0),
            count(ROLE, "programs", 4, 1),
            phase(ROLE, "wait", 0, 2.5, "learner"),
        ]
    )
    sink([{"kind": "gauge", "role": ROLE, "name": "version", "value": 9, "time": 0.0}])
    sink.run({"policy_lag": 1.5, "held_out_step": 4.0})
    sink.step(
        {
            "step": 3,
            "time": 0.0,
            "loss": -0.5,
            "seconds": {"train": 2.5},
            "error_types": {"Made up by a program": 1},
        }
    )
    url = f"http://{ray.nodes()[0]['NodeManagerAddress']}:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    until, found = time.monotonic() + 60, False
    lines: list[str] = []
    ours: list[str] = []
    while not found and time.monotonic() < until:
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        lines = [line for line in text.splitlines() if "rltf_" in line and not line.startswith("#")]
        ours = [line for line in lines if 'run="pilot"' in line]
        names = ("programs", "phase_seconds", "version", "policy_lag", "step_seconds_train")
        found = all(f"rltf_{name}" in " ".join(ours) for name in names)
        time.sleep(0.25)
    assert found, lines
    values = {line.split("{")[0].removeprefix("ray_"): float(line.rpartition(" ")[2]) for line in ours}
    (programs,) = [line for line in ours if "rltf_programs" in line]
    # At least: what a busy agent has not confirmed in time, Ray sends again, and its counters add it again.
    assert float(programs.rpartition(" ")[2]) >= 7 and values["rltf_version"] == 9 and values["rltf_policy_lag"] == 1.5
    assert values["rltf_step"] == 3 and values["rltf_step_loss"] == -0.5 and values["rltf_step_seconds_train"] == 2.5
    assert not any("Made" in line for line in lines), "programs do not make metrics"
    assert not any("held_out_step" in line for line in lines), "declared for the status line alone"
    labels = ('waits_for="learner"', 'role="actor"', f'name="{ROLE}"')
    assert any(all(label in line for label in labels) for line in ours)
