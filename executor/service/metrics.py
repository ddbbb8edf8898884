"""What a service counts, for Prometheus: names and meanings are those of `telemetry.declarations`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rltf.telemetry.metrics import meaning

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class ServiceMetrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter(*_named("service_requests"), ("path", "status"), registry=own)
        self.programs = Counter(*_named("service_programs"), ("outcome",), registry=own)
        self.open = Gauge(*_named("service_open_requests"), registry=own)
        self.waiting = Gauge(*_named("service_waiting_requests"), registry=own)
        self.lanes = Gauge(*_named("service_lanes"), registry=own)
        self.seconds = Histogram(*_named("service_seconds"), ("path",), registry=own, buckets=BUCKETS_S)

    def text(self) -> bytes:
        """All of them in Prometheus' format."""
        return generate_latest(self.registry)


def _named(name: str) -> tuple[str, str]:
    return f"rltf_{name}", meaning("service", name)
