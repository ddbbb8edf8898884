"""The supervisor on Ray: workers that die, fail or hang are started again; what cannot be kept alive ends the run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from rltf.buffer.flow import FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.worker_loop import NotSchedulable
from rltf.config import Config, RestartConfig
from rltf.driver import RunFailed
from rltf.driver.supervisor import Started, Supervisor
from tests.support.ordered_worker import OrderedWorker


def until(seen: Callable[[], object], bound_s: float = 60.0) -> None:
    deadline = time.monotonic() + bound_s
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_dies_fails_or_hangs_is_started_again(
    ray_job: Any, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    address = FlowAddress.from_config(Config(), redis_server.url, "supervised")
    order = tmp_path / "worker-0"
    told: list[tuple[str, str, dict[str, Any]]] = []
    settings = RestartConfig(limit=3, pause_s=0.05, answer_s=120.0)
    supervisor = Supervisor(settings, lambda *what: told.append(what))

    def start() -> Started:
        handle = (
            ray.remote(OrderedWorker)
            .options(name="worker-0", num_cpus=0, max_concurrency=4)
            .remote("worker-0", address, tmp_path)
        )
        return {"worker-0": (handle, handle.start.remote())}

    supervisor.add("worker-0", start, lambda reason: {"said": len(reason)}, dict)

    def goes_on(restarts: int) -> bool:
        supervisor.poll()
        return supervisor.running and supervisor.units["worker-0"].restarts == restarts

    until(lambda: goes_on(0))
    os.kill(ray.get(supervisor.handles()["worker-0"].pid.remote(), timeout=30), signal.SIGKILL)
    until(lambda: goes_on(1))
    order.write_text("fail")
    until(lambda: (supervisor.poll() or True) and not supervisor.running)
    order.unlink()
    until(lambda: goes_on(2))
    order.write_text("hang")
    supervisor._settings = settings.model_copy(
        update={"answer_s": 3.0}
    )  # of a worker that will answer a busy machine may ask for more
    until(lambda: (supervisor.poll() or True) and not supervisor.running)
    supervisor._settings = settings
    order.unlink()
    until(lambda: goes_on(3))
    reasons = [reason for _, reason, _ in told]
    assert supervisor.deaths == [("worker-0", reason) for reason in reasons], "each death is told when it happens"
    shown = "".join(
        file.read_text() for file in (Path(ray_job.address_info["session_dir"]) / "logs").glob("worker-*.out")
    )
    assert f"What worker-0 prints and logs is in {order}.log.\n" in shown, (
        "the dashboard's log page says where the log is"
    )
    assert "worker-0 has died" in reasons[0] and reasons[1] == "worker-0: OSError: the disk is full"
    assert reasons[2] == "worker-0: it has not answered for 3 s" and told[0][2] == {"said": len(reasons[0])}
    order.write_text("fail")
    with pytest.raises(
        RunFailed, match="worker-0 died 4 times, each within 300 s of the last: worker-0: OSError: the disk is full"
    ):
        until(lambda: (supervisor.poll() or True) and False)
    assert supervisor.handles() == {}

    # One that is not needed any more ends in order, and what it may have goes to the others.
    left: list[str] = []
    fewer = Supervisor(RestartConfig(), lambda *what: None)
    order.unlink()
    fewer.add("worker-0", start, lambda reason: left.append(reason) or {}, dict)
    until(lambda: (fewer.poll() or True) and fewer.running)
    pid = ray.get(fewer.handles()["worker-0"].pid.remote(), timeout=30)
    fewer.retire("worker-0")
    assert fewer.handles() == {} and fewer.absent() == {}
    until(lambda: (fewer.poll() or True) and left and not Path(f"/proc/{pid}").exists())
    assert left == ["it was not needed any more"] and fewer.deaths == []

    # What another start would not mend ends the run at once.
    fresh = Supervisor(RestartConfig(), lambda *what: told.append(what))
    order.write_text("refuse")
    fresh.add("worker-0", start, lambda reason: {}, dict)
    with pytest.raises(RunFailed, match="^worker-0: the model does not fit$"):
        until(lambda: (fresh.poll() or True) and False)
    fresh.kill()
    order.unlink()

    # A worker that finds no room ends the run only if there is no other of its kind.
    def start_large(name: str) -> Started:
        handle = ray.remote(OrderedWorker).options(name=name, num_cpus=64).remote(name, address, tmp_path)
        return {name: (handle, handle.start.remote())}

    crowded = Supervisor(RestartConfig(), lambda *what: None)
    crowded.add("worker-0", start, lambda reason: {}, dict, spare=True)
    until(lambda: (crowded.poll() or True) and crowded.running)
    assert not crowded.starting
    crowded.start_timeout_s = 1.0
    crowded.add("worker-1", partial(start_large, "worker-1"), lambda reason: {}, lambda: {"CPU": 64.0}, spare=True)
    until(lambda: (crowded.poll() or True) and crowded.notes)
    crowded.poll()
    assert len(crowded.notes) == 1 and not crowded.starting
    why = "it asks for 64 CPU, and no node that is up offers that (at most 2 CPU)"
    assert f"worker-1 did not start within 1 s: {why}; the run goes on" in crowded.notes[0]
    crowded.add("learner", partial(start_large, "learner-0"), lambda reason: {}, lambda: {"CPU": 64.0})
    with pytest.raises(RunFailed, match="^learner-0 did not start within 1 s: it asks for 64 CPU, .*; add nodes"):
        until(lambda: (crowded.poll() or True) and False)
    crowded.kill()

    # So does one that cannot be started for want of a host.
    def start_nowhere() -> Started:
        raise NotSchedulable("waiting for a trainer host: none is up")

    waiting = Supervisor(RestartConfig(pause_s=0.1), lambda *what: None, start_timeout_s=0.5)
    waiting.add("learner", start_nowhere, lambda reason: {}, dict)
    with pytest.raises(
        RunFailed, match="^learner did not start within 0.5 s: it is waiting for a trainer host: none is up; add nodes"
    ):
        until(lambda: (waiting.poll() or True) and False)
