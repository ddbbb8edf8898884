"""Dashboards and alerts are made of the metrics that are declared, all of them."""

import json
import re
from pathlib import Path

import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from rltf.monitor.dashboards import ALERTS, queries, write
from rltf.telemetry.declarations import METRICS, Metric

EXPRESSIONS = [query.expression for panels in queries().values() for query in panels]


def _series(source: str, metric: Metric) -> str:
    """A name that Prometheus has for it (`buffer.ray_metrics`)."""
    if source == "phase":
        return "ray_rltf_phase_seconds_total"
    name = metric.name.replace("*_per_second", "graded_per_second").replace("*", "actor")
    if source == "step" and name != "step":
        name = f"step_{name}" + (f"_{metric.keys[0]}" if metric.keys else "_policy" if name == "loss_terms" else "")
    return f"ray_rltf_{name}" + ("_total" if source == "count" else "")


def _on_a_panel(series: str) -> bool:
    for expression in EXPRESSIONS:
        names = re.findall(r'__name__=~"([^"]+)"', expression) or re.findall(r"ray_\w+", expression)
        if any(re.fullmatch(name, series) for name in names):
            return True
    return False


def test_every_metric_of_ray_is_on_a_panel() -> None:
    for source in ("step", "count", "gauge", "phase", "run"):
        for metric in METRICS[source]:
            if "gauge" in metric.shows:
                assert _on_a_panel(_series(source, metric)), metric.name
    assert not _on_a_panel("ray_rltf_step_sample_ids") and not _on_a_panel("ray_rltf_another")


def test_alerts_are_about_declared_metrics() -> None:
    known = {_series(source, metric) for source in ("step", "count", "gauge", "run") for metric in METRICS[source]}
    families = [re.sub("actor", r"\\w+", name) for name in known]
    for alert in ALERTS:
        for name in re.findall(r"ray_rltf_\w+", alert.expression):
            assert any(re.fullmatch(family, name) for family in families), name


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    files = {file.relative_to(tmp_path).as_posix(): file for file in write(tmp_path)}
    pages = [file for name, file in files.items() if name.endswith(".json")]
    assert len(pages) == len(queries()) == 4
    for file in pages:
        page = Dashboard.from_json(json.loads(file.read_text()))
        assert page.panels and page.uid and page.uid.startswith("rltf-")
    assert len(yaml.safe_load(files["alerts.yml"].read_text())["groups"][0]["rules"]) == len(ALERTS)
    (provider,) = yaml.safe_load(files["grafana/provisioning/dashboards/rltf.yml"].read_text())["providers"]
    assert Path(provider["options"]["path"]) == pages[0].parent
