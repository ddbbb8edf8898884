"""One Ray on this machine for all tests of a process that need one.

Its head stays up from the first of them to the last; each file joins it as a job of its own, whose workers and named
actors end with it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.paths import ROOT

CPUS = 2
_ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "RAY_metrics_report_interval_ms": "500",
}
_jobs = itertools.count()


@contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class SharedRay:
    """The head, once it has been asked for."""

    def __init__(self) -> None:
        self._head: Any = None

    def address(self) -> str:
        """HOST:PORT of the head, which is started if need be."""
        if self._head is None:
            from ray._common.utils import reset_ray_address
            from ray.cluster_utils import Cluster

            options = {"num_cpus": CPUS, "include_dashboard": False, "object_store_memory": 200 << 20}
            options |= {"include_log_monitor": False, "no_monitor": True}
            with _environment():
                self._head = Cluster(initialize_head=True, head_node_args=options)
            reset_ray_address()  # it has left a note by which others would join it
        return str(self._head.address)

    @contextmanager
    def job(self) -> Iterator[Any]:
        """Joins as a new job, in a namespace of its own; the context that `ray.init` gives."""
        import ray

        address = self.address()
        with _environment():
            try:
                namespace = f"test-{os.getpid()}-{next(_jobs)}"
                yield ray.init(address=address, namespace=namespace, log_to_driver=False)
            finally:
                ray.shutdown()

    def stop(self) -> None:
        """Ends the head, if there is one; the next job gets another."""
        if self._head is not None:
            self._head.shutdown()
            self._head = None
