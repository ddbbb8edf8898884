"""Ray shell: what a process records, as Ray metrics of its own host's Prometheus endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping

import ray
from ray.util.metrics import Counter, Gauge

from rltf.telemetry.metrics import meaning, numbers_of
from rltf.telemetry.recorder import Row, Sink
from rltf.telemetry.vocabulary import kind_of

PREFIX = "rltf_"
"""Of every name; Ray puts `ray_` before it."""
LABELS = ("run", "role", "name")
"""The run's name, the kind of worker (the driver's own are of the role run), the worker's name."""


class RaySink:
    """A recorder sink that turns rows into Ray metrics with LABELS; needs an initialised Ray.

    A count `programs` becomes the counter `rltf_programs`, a gauge `version` the gauge `rltf_version`, a phase adds its
    seconds to the counter `rltf_phase_seconds` (tags `phase` and `waits_for`, the latter empty for work).
    """

    def __init__(self, run: str) -> None:
        """`run`: its name."""
        self._run = run
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._phases = Counter(
            f"{PREFIX}phase_seconds",
            "Seconds in a phase; waits_for names the part waited for",
            (*LABELS, "phase", "waits_for"),
        )

    def __call__(self, rows: list[Row]) -> None:
        """Takes rows in; `now` rows say nothing that later rows do not."""
        for row in rows:
            if row["kind"] == "phase":
                seconds = max(0.0, row["end"] - row["start"])
                if seconds:
                    labels = self._labels(row["role"]) | {"phase": row["name"], "waits_for": row["waits_for"] or ""}
                    self._phases.inc(seconds, labels)
            elif row["kind"] == "count" and row["value"] > 0:
                self._counter(row["name"]).inc(row["value"], self._labels(row["role"]))
            elif row["kind"] == "gauge":
                self._set(row["name"], row["value"], row["role"], meaning("gauge", row["name"]))

    def step(self, row: Row) -> None:
        """Sets a gauge per number of a learner's step row: `seconds/train` becomes `rltf_step_seconds_train`."""
        for path, value in numbers_of(row, "step", "gauge").items():
            name = path if path == "step" else "step_" + re.sub(r"\W", "_", path)
            self._set(name, value, "learner", meaning("step", path.partition("/")[0]))

    def run(self, numbers: Mapping[str, float]) -> None:
        """Sets a gauge per number of `monitor.state.RunState.numbers`: `policy_lag` becomes `rltf_policy_lag`."""
        for name, value in numbers_of(numbers, "run", "gauge").items():
            self._set(re.sub(r"\W", "_", name), value, "run", meaning("run", name))

    def _set(self, name: str, value: float, role: str, words: str) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"{PREFIX}{name}", words, LABELS)
        self._gauges[name].set(value, self._labels(role))

    def _counter(self, name: str) -> Counter:
        if name not in self._counters:
            self._counters[name] = Counter(f"{PREFIX}{name}", meaning("count", name), LABELS)
        return self._counters[name]

    def _labels(self, name: str) -> dict[str, str]:
        return {"run": self._run, "role": kind_of(name), "name": name}


def with_ray_metrics(sink: Sink, run: str) -> Sink:
    """A sink that hands rows to `sink`, and to Ray where this process is one of Ray's."""
    if not ray.is_initialized():
        return sink
    metrics = RaySink(run)

    def both(rows: list[Row]) -> None:
        sink(rows)
        metrics(rows)

    return both
