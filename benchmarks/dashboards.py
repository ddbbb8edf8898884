"""Checks what `launch.py dashboards` writes with Prometheus itself.

    python -m benchmarks.dashboards [--promtool FILE] [--prometheus FILE] [--json FILE]

promtool (of Debian's package prometheus) checks the configuration and the rules, and fires each alert by series that
cause it. With `--prometheus` a small run on the built-in tasks is started, a Prometheus server fetches its metrics, and
each panel's query is asked for data; those of objectives that the run does not use have none, and are listed. Exit code
1 when a check fails or an alert does not fire.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from rltf.monitor import dashboards

ROOT = Path(__file__).parents[1]
PORT = 19090
RUN = {
    "learner.steps": 400, "warm_start.steps": 20, "evaluation.tasks": 16, "evaluation.every": 5,
    "policy.d_model": 32, "policy.layers": 1, "policy.heads": 2, "policy.d_ff": 64,
}  # fmt: skip
CAUSES: dict[str, dict[str, str]] = {
    "RltfStall": {
        'ray_rltf_ledger_balances{run="r",role="run",name="run"}': "1+0x60",
        'ray_rltf_micro_batches_total{run="r",role="learner",name="learner-0"}': "7+0x60",
        'ray_rltf_programs_total{run="r",role="executor",name="executor-0"}': "9+0x60",
    },
    "RltfDeadLetters": {'ray_rltf_ledger_dead_letter{run="r",role="run",name="run"}': "0+0x20 3+0x40"},
    "RltfLedgerOutOfBalance": {'ray_rltf_ledger_balances{run="r",role="run",name="run"}': "1+0x5 0+0x55"},
    "RltfStalenessAtItsBound": {'ray_rltf_wait_share_actor_for_learner{run="r",role="run",name="run"}': "0.9+0x60"},
}
"""By alert the series, a value a minute, that cause it after some minutes."""
AT = {"RltfDeadLetters": "22m"}
"""When an alert is looked for, where that is not after half an hour."""


def rule_tests() -> dict[str, Any]:
    """The tests of promtool: each alert fires when it is caused."""
    tests = []
    for alert in dashboards.ALERTS:
        series = [{"series": name, "values": values} for name, values in CAUSES[alert.name].items()]
        at = AT.get(alert.name, "30m")
        count = {"expr": f'count(ALERTS{{alertname="{alert.name}",alertstate="firing"}})', "eval_time": at}
        tests.append(
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [count | {"exp_samples": [{"labels": "{}", "value": 1}]}],
            }
        )
    return {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": tests}


def check(promtool: str, folder: Path) -> dict[str, str]:
    """What promtool says of each file, empty where it is right."""
    (folder / "tests.yml").write_text(yaml.safe_dump(rule_tests()))
    found = {}
    for what in ("check config prometheus.yml", "check rules alerts.yml", "test rules tests.yml"):
        done = subprocess.run([promtool, *what.split()], cwd=folder, capture_output=True, text=True, timeout=60)
        found[what] = "" if done.returncode == 0 else (done.stdout + done.stderr).strip()
    return found


def asked(prometheus: str, folder: Path, seconds: float) -> dict[str, int]:
    """By dashboard and panel how many series its query returns, of a run and a server that are started for it."""
    environment = os.environ | {"RAY_TMPDIR": str(folder)}
    targets = folder / "ray" / Path(dashboards.TARGETS).name
    settings = yaml.safe_load((folder / "prometheus.yml").read_text())
    settings["global"]["scrape_interval"] = "5s"
    settings["scrape_configs"][0]["file_sd_configs"] = [{"files": [str(targets)], "refresh_interval": "5s"}]
    (folder / "live.yml").write_text(yaml.safe_dump(settings))
    options = [word for name, value in RUN.items() for word in (f"--{name}", str(value))]
    options += ["--run.folder", str(folder), "--ray.address", "local"]
    run = subprocess.Popen(
        [sys.executable, "launch.py", *options], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    server = subprocess.Popen(
        [prometheus, "--config.file=live.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{PORT}"],
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    most: dict[str, int] = {}
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and run.poll() is None:
            time.sleep(10.0)
            for title, panels in dashboards.queries().items():
                for panel in panels:
                    name = f"{title}: {panel.title}"
                    most[name] = max(most.get(name, 0), _series(panel.expression.replace("$run", ".*")))
            if all(most.values()):
                break
    finally:
        for process in (run, server):
            process.send_signal(signal.SIGTERM)
        for process in (run, server):
            process.wait(240)
    return most


def _series(expression: str) -> int:
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/v1/query?{query}", timeout=10) as answer:
            return len(json.load(answer)["data"]["result"])
    except OSError:  # the server is not up yet
        return 0


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--promtool", default="promtool")
    parser.add_argument("--prometheus", help="start this server, and a run, and ask every panel for data")
    parser.add_argument("--seconds", type=float, default=400.0, help="longest wait for data")
    parser.add_argument("--json", type=Path)
    known = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as name:
        folder = Path(name)
        dashboards.write(folder)
        checks = check(known.promtool, folder)
        series = asked(known.prometheus, folder, known.seconds) if known.prometheus else {}
    for what, wrong in checks.items():
        print(f"promtool {what}: {wrong or 'right'}")
    if series:
        print(f"{sum(map(bool, series.values()))} of {len(series)} panels have data")
        print("without: " + (", ".join(panel for panel, count in series.items() if not count) or "none"))
    if known.json:
        known.json.write_text(json.dumps({"promtool": checks, "series": series}, indent=1) + "\n")
    return 1 if any(checks.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
