"""Ray shell: the same rows as Ray metrics, so that Ray's Prometheus endpoint and dashboard show them."""

from __future__ import annotations

import re

from ray.util.metrics import Counter, Gauge

from rltf.monitor.event_files import flat_numbers
from rltf.telemetry.recorder import Row


class RaySink:
    """A recorder sink that turns rows into Ray metrics, tagged with the worker's role; needs an initialised
    Ray.

    A count `programs` becomes the counter `rltf_programs`, a gauge `version` the gauge `rltf_version`, a phase adds its
    seconds to the counter `rltf_phase_seconds` (tags `phase` and `waits_for`, the latter empty for work). Step rows:
    see `step`.
    """

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._phases = Counter(
            "rltf_phase_seconds",
            "Seconds in a phase; waits_for names the part waited for",
            ("role", "phase", "waits_for"),
        )

    def __call__(self, rows: list[Row]) -> None:
        """Takes rows in; `now` rows say nothing that later rows do not."""
        for row in rows:
            if row["kind"] == "phase":
                seconds = max(0.0, row["end"] - row["start"])
                if seconds:
                    self._phases.inc(
                        seconds, {"role": row["role"], "phase": row["name"], "waits_for": row["waits_for"] or ""}
                    )
            elif row["kind"] == "count" and row["value"] > 0:
                self._counter(row["name"]).inc(row["value"], {"role": row["role"]})
            elif row["kind"] == "gauge":
                self.gauge(row["name"], row["value"], row["role"])

    def step(self, row: Row) -> None:
        """Sets a gauge per number of a learner's step row: `seconds/train` becomes `rltf_step_seconds_train`.

        Error types are left out: their names come from programs, and each would be a metric of its own for ever. Of the
        ages there are the mean and the greatest; their distribution is in metrics.jsonl, TensorBoard and the report.
        """
        values = {
            name: value for name, value in row.items() if name not in ("time", "sample_ids", "error_types", "ages")
        }
        for name, value in flat_numbers(values).items():
            self.gauge("step_" + re.sub(r"\W", "_", name) if name != "step" else name, value, "learner")

    def gauge(self, name: str, value: float, role: str) -> None:
        """Sets `rltf_NAME`; the driver does so with the numbers of the status line (monitor.state.RunState.numbers)."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"rltf_{name}", f"{name.replace('_', ' ')}, newest value", ("role",))
        self._gauges[name].set(value, {"role": role})

    def _counter(self, name: str) -> Counter:
        if name not in self._counters:
            self._counters[name] = Counter(f"rltf_{name}", f"{name.replace('_', ' ')}, since the start", ("role",))
        return self._counters[name]
