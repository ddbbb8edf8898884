"""Restarts: the run's own Redis, workers that die, hang or cannot be kept alive, and servers that stay away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from rltf.buffer.connection import ServerError, ServerLost, connect
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.buffer.worker_loop import NotYet
from rltf.config import Config, RestartConfig, UserError
from rltf.driver import RunFailed
from rltf.driver.back_off import BackOff
from rltf.driver.failures import in_a_sentence
from rltf.driver.redis_keeper import RedisKeeper
from rltf.driver.supervisor import Started, Supervisor
from tests.support.ordered_worker import OrderedWorker
from tests.support.paths import ROOT


def until(seen: Callable[[], object], bound_s: float = 60.0) -> None:
    deadline = time.monotonic() + bound_s
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pauses_grow_and_the_limit_is_told_with_the_reason() -> None:
    back_off = BackOff("actor-0", RestartConfig(limit=3, pause_s=0.5, forget_s=100))
    assert [back_off.died("it was killed", now) for now in (0.0, 10.0, 20.0)] == [0.5, 1.0, 2.0]
    assert back_off.died("it was killed", 200.0) == 0.5  # it had lived long enough
    for now in (201.0, 202.0):
        back_off.died("it was killed", now)
    with pytest.raises(RunFailed, match="actor-0 died 4 times, each within 100 s of the last: its node is gone"):
        back_off.died("its node is gone", 203.0)
    with pytest.raises(RunFailed, match="restart.limit is 0"):
        BackOff("actor-0", RestartConfig(limit=0)).died("it was killed", 0.0)


def test_a_killed_redis_comes_back_with_its_data_and_nobody_notices(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    config = Config.model_validate({"restart": {"limit": 2, "pause_s": 0.05}, "redis": {"fsync": "always"}})
    keeper = RedisKeeper(tmp_path, "127.0.0.1", config, lambda name, reason, facts: told.append((name, reason)))
    try:
        assert "appendfsync always" in (tmp_path / "redis.conf").read_text()
        client = connect(keeper.url, 10.0)
        for number in (1, 2):
            assert client.incr("calls") == number
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
            assert client.get("calls") == str(number).encode()  # waits for the restart
            until(lambda: len(told) == number)  # noqa: B023
        assert told[0] == ("redis", "it ended with status -9")
        keeper.check()
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
        with pytest.raises(RunFailed, match="the embedded Redis died 3 times"):
            until(lambda: keeper.check() or False)
        client.close()
    finally:
        keeper.stop()


def test_one_folder_has_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = EmbeddedRedis.start(tmp_path)
    monkeypatch.setattr("rltf.buffer.server.LOCKED_S", 0.2)
    with pytest.raises(UserError, match="another Redis server runs on"):
        EmbeddedRedis.start(tmp_path)
    monkeypatch.undo()
    stopper = threading.Timer(0.3, first.stop)
    stopper.start()
    again = EmbeddedRedis.start(tmp_path)  # waits for the other one's end
    stopper.join()
    again.stop()


def test_a_server_that_stays_away_is_waited_for_with_a_bound(tmp_path: Path) -> None:
    server = EmbeddedRedis.start(tmp_path)
    client = connect(server.url, timeout_s=0.2, outage_s=1.0)
    os.kill(server.pid, signal.SIGSTOP)
    timer = threading.Timer(0.6, os.kill, (server.pid, signal.SIGCONT))
    timer.start()
    assert client.incr("calls") >= 1  # an answer that came too late was asked for again
    timer.join()
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(ServerLost, match=r"Redis at redis://:\*\*\*@127.0.0.1:\d+/0 has not answered for 1 s: "):
        client.ping()
    os.kill(server.pid, signal.SIGCONT)
    server.stop()
    with pytest.raises(ServerLost, match="has not answered for 1 s: .*refused"):
        client.ping()
    address = FlowAddress.of(Config.model_validate({"redis": {"outage_s": 0.5}}), server.url, "lost")
    with pytest.raises(ServerLost):
        Flow.connect(address)  # a worker that starts meanwhile waits as long
    with pytest.raises(UserError, match="cannot be used"):
        connect(server.url, 1.0)  # a person is told at once


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ServerLost("Redis at redis://h has not answered for 60 s"), "^Redis at redis://h has not answered"),
        (ServerError("OOM command not allowed"), "^Redis refuses to go on: OOM command not allowed$"),
        (ray.exceptions.ActorDiedError(), "^Ray does not go on: The actor died"),
        (OSError(28, "No space left on device", "runs/x"), "^runs/x cannot be written: No space left on device"),
    ],
)
def test_what_lets_a_run_down_is_one_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(RunFailed, match=sentence), in_a_sentence(Path("runs")):
        raise error


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Ray; the folder of its session."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    started = ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, namespace="supervision-test"
    )
    yield started.address_info["session_dir"]
    ray.shutdown()


def test_a_worker_that_dies_fails_or_hangs_is_started_again(
    session: str, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    address = FlowAddress.of(Config(), redis_server.url, "supervised")
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
        return supervisor.running and supervisor.restarts().get("worker-0", 0) == restarts

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
    shown = "".join(file.read_text() for file in (Path(session) / "logs").glob("worker-*.out"))
    assert f"What worker-0 prints and logs is in {order}.log.\n" in shown, (
        "the dashboard's log page says where the log is"
    )
    assert "worker-0 has died" in reasons[0] and reasons[1] == "worker-0: OSError: the disk is full"
    assert reasons[2] == "worker-0 has not answered for 3 s" and told[0][2] == {"said": len(reasons[0])}
    order.write_text("fail")
    with pytest.raises(
        RunFailed, match="worker-0 died 4 times, each within 300 s of the last: worker-0: OSError: the disk is full"
    ):
        until(lambda: (supervisor.poll() or True) and False)
    assert supervisor.handles() == {}

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
        raise NotYet("waiting for a trainer host: none is up")

    waiting = Supervisor(RestartConfig(pause_s=0.1), lambda *what: None, start_timeout_s=0.5)
    waiting.add("learner", start_nowhere, lambda reason: {}, dict)
    with pytest.raises(
        RunFailed, match="^learner did not start within 0.5 s: it is waiting for a trainer host: none is up; add nodes"
    ):
        until(lambda: (waiting.poll() or True) and False)
