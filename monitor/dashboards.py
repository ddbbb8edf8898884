"""What Prometheus and Grafana need for a run, made from the declarations of its metrics: scraping, alerts, dashboards.

Ray writes down for Prometheus where its hosts' metrics are; names begin with `ray_` there, and counters may end with
`_total`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard, DataSourceRef

from rltf.buffer.ray_metrics import PREFIX
from rltf.telemetry.declarations import METRICS, Metric
from rltf.telemetry.vocabulary import PRODUCTS

UNITS = {"share": "percentunit", "s": "s", "tokens/s": "short", "programs/s": "short"}
"""Grafana's by those of the declarations."""
TARGETS = "/tmp/ray/prom_metrics_service_discovery.json"
"""Where Ray on the head writes its hosts' addresses, for Prometheus there."""
_RUN = '{run=~"$run"}'
_SOURCE = DataSourceRef(type_val="prometheus", uid="rltf-prometheus")
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 3


@dataclass(frozen=True, slots=True)
class Query:
    """One panel."""

    title: str
    meaning: str
    expression: str
    legend: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule: what has to hold for how long, and what to do about it."""

    name: str
    expression: str
    minutes: int
    summary: str


ALERTS = (
    Alert(
        "RltfStall",
        "ray_rltf_ledger_balances unless on (run) (sum by (run) (rate(ray_rltf_micro_batches_total[10m])) > 0 or "
        'sum by (run) (rate(ray_rltf_programs_total{role="executor"}[10m])) > 0)',
        1,
        "{{ $labels.run }}: nothing was judged or trained on for 10 minutes; `launch.py status` shows who waits",
    ),
    Alert(
        "RltfDeadLetters",
        "delta(ray_rltf_ledger_dead_letter[10m]) > 0",
        0,
        "{{ $labels.run }}: programs were given up; `launch.py status` has the reasons",
    ),
    Alert(
        "RltfLedgerOutOfBalance",
        "ray_rltf_ledger_balances == 0",
        0,
        "{{ $labels.run }}: programs without exactly one place or fate; something outside of the run changed its data",
    ),
    Alert(
        "RltfStalenessAtItsBound",
        "avg by (run) (ray_rltf_wait_share_actor_for_learner) > 0.5",
        10,
        "{{ $labels.run }}: actors wait for the learner, because samples may be no older than buffer.max_staleness",
    ),
)


def write(folder: Path) -> list[Path]:
    """Writes prometheus.yml, alerts.yml, and Grafana's provisioning and dashboards; the files. Raises OSError."""
    files: dict[str, str] = {"prometheus.yml": _yaml(scraping()), "alerts.yml": _yaml(alerts())}
    provisioning = folder.absolute() / "grafana" / "dashboards"
    source = {"name": "Prometheus", "uid": _SOURCE.uid, "type": "prometheus", "url": "http://localhost:9090"}
    provider = {"name": "rltf", "type": "file", "folder": "rltf", "options": {"path": str(provisioning)}}
    files["grafana/provisioning/datasources/rltf.yml"] = _yaml({"apiVersion": 1, "datasources": [source]})
    files["grafana/provisioning/dashboards/rltf.yml"] = _yaml({"apiVersion": 1, "providers": [provider]})
    for name, page in pages().items():
        files[f"grafana/dashboards/{name}.json"] = json.dumps(page, cls=JSONEncoder, indent=1) + "\n"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / name for name in files]


def scraping() -> dict[str, Any]:
    """prometheus.yml."""
    return {
        "global": {"scrape_interval": "10s", "evaluation_interval": "10s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [{"job_name": "ray", "file_sd_configs": [{"files": [TARGETS]}]}],
    }


def alerts() -> dict[str, Any]:
    """alerts.yml."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expression,
            "for": f"{alert.minutes}m",
            "labels": {"severity": "warning"},
            "annotations": {"summary": alert.summary},
        }
        for alert in ALERTS
    ]
    return {"groups": [{"name": "rltf", "rules": rules}]}


def queries() -> dict[str, list[Query]]:
    """The panels of each dashboard by its title: every metric that is declared to be one of Ray's is in one of them."""
    run = [metric for metric in METRICS["run"] if "gauge" in metric.shows]
    waits = [metric for metric in run if metric.name.startswith("wait_share")]
    places = [metric for metric in run if metric.name.startswith("ledger_")]
    others = [metric for metric in run if metric not in waits + places]
    steps = [metric for metric in METRICS["step"] if "gauge" in metric.shows]
    return {
        "Run overview": [
            *map(_of_run, others),
            *(_of_step(metric) for metric in steps if metric.line),
            *(_of_worker(metric, "gauge") for metric in METRICS["gauge"]),
        ],
        "Executors and queue": [
            *map(_of_run, places),
            *(_of_worker(metric, "count") for metric in METRICS["count"]),
        ],
        "Who waits for whom": [*map(_of_run, waits), *_phases()],
        "Learner": [_of_step(metric) for metric in steps if not metric.line],
    }


def pages() -> dict[str, Dashboard]:
    """The dashboards by the name of their file."""
    return {title.lower().replace(" ", "-"): _page(title, panels) for title, panels in queries().items()}


def _page(title: str, panels: list[Query]) -> Dashboard:
    name = title.lower().replace(" ", "-")
    runs = dashboard.QueryVariable("run").datasource(_SOURCE).query("label_values(ray_rltf_ledger_balances, run)")
    page = (
        dashboard.Dashboard(f"rltf: {title}")
        .uid(f"rltf-{name}")
        .tags(["rltf"])
        .refresh("10s")
        .time("now-1h", "now")
        .with_variable(runs.multi(True).include_all(True).all_value(".*"))
    )
    for panel in panels:
        query = prometheus.Dataquery().expr(panel.expression).legend_format(panel.legend)
        drawn = timeseries.Panel().title(panel.title).description(panel.meaning).datasource(_SOURCE)
        drawn = drawn.with_target(query).span(_WIDTH).height(_HEIGHT)
        page = page.with_panel(drawn.unit(UNITS[panel.unit]) if panel.unit in UNITS else drawn)
    return page.build()


def _of_run(metric: Metric) -> Query:
    """A number that the driver makes of what all workers tell."""
    legend = "{{__name__}}" if "*" in metric.name else "{{run}}"
    verbs = "|".join(product.verb for product in PRODUCTS)
    name = metric.name.replace("*_per_second", f"({verbs})_per_second")
    return Query(_title(metric), metric.meaning, _selected(name), legend, metric.unit)


def _of_step(metric: Metric) -> Query:
    """A field of a learner's step; of a mapping one line for each key."""
    if metric.name == "step":
        return Query("step", metric.meaning, _selected("step"), "{{run}}")
    many = bool(metric.keys) or metric.name == "loss_terms"  # whose keys are the objective's
    name = f"step_{metric.name}" + ("_*" if many else "")
    return Query(_title(metric), metric.meaning, _selected(name), "{{__name__}}" if many else "{{run}}", metric.unit)


def _of_worker(metric: Metric, source: str) -> Query:
    """What workers tell themselves: a gauge of each, or how fast a counter goes up in each."""
    if source == "gauge":
        return Query(_title(metric), metric.meaning, _selected(metric.name), "{{name}}", metric.unit)
    rate = f"sum by (run, role) (rate({_selected(metric.name + '_total')}[1m]))"
    return Query(f"{_title(metric)} per second", metric.meaning, rate, "{{role}}", metric.unit)


def _phases() -> Iterator[Query]:
    """What each kind of worker spends its time on, and on whom it waits."""
    seconds = _selected("phase_seconds_total")
    total = f"sum by (run, role) (rate({seconds}[1m]))"
    for phase, word, label in (
        ('waits_for=""', "What workers spend their time on", "phase"),
        ('waits_for!=""', "For whom workers wait", "waits_for"),
    ):
        chosen = seconds.replace("}", f",{phase}}}")
        shares = f"sum by (run, role, {label}) (rate({chosen}[1m])) / on (run, role) group_left {total}"
        yield Query(
            word, f"{word}, as a share of what they tell of.", shares, f"{{{{role}}}}: {{{{{label}}}}}", "share"
        )


def _selected(name: str) -> str:
    """The series of a metric, of the runs that are chosen; a `*` of its name stands for any part."""
    full = f"ray_{PREFIX}{name}"
    if full.isidentifier():
        return full + _RUN
    return f'{{__name__=~"{full.replace("*", ".+")}",{_RUN[1:]}'


def _title(metric: Metric) -> str:
    return metric.name.replace("_*", "").replace("*_", "").replace("_", " ")


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120)
