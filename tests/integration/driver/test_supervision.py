"""Restarts: the run's own Redis, pauses between them, and servers that stay away. Workers: test_ray.py."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from rltf.buffer.connection import ServerError, ServerLost, connect
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, RestartConfig, UserError
from rltf.driver import RunFailed
from rltf.driver.failures import raising_run_failed
from rltf.driver.redis_supervisor import RedisSupervisor
from rltf.driver.supervisor import BackOff


def until(seen: Callable[[], object], bound_s: float = 60.0) -> None:
    deadline = time.monotonic() + bound_s
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pauses_grow_and_the_limit_is_told_with_the_reason() -> None:
    back_off = BackOff("actor-0", RestartConfig(limit=3, pause_s=0.5, forget_s=100))
    assert [back_off.next_delay("it was killed", now) for now in (0.0, 10.0, 20.0)] == [0.5, 1.0, 2.0]
    assert back_off.next_delay("it was killed", 200.0) == 0.5  # it had lived long enough
    for now in (201.0, 202.0):
        back_off.next_delay("it was killed", now)
    with pytest.raises(RunFailed, match="actor-0 died 4 times, each within 100 s of the last: its node is gone"):
        back_off.next_delay("its node is gone", 203.0)
    with pytest.raises(RunFailed, match="restart.limit is 0"):
        BackOff("actor-0", RestartConfig(limit=0)).next_delay("it was killed", 0.0)


def test_a_killed_redis_comes_back_with_its_data_and_nobody_notices(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    config = Config.model_validate({"restart": {"limit": 2, "pause_s": 0.05}, "redis": {"fsync": "always"}})
    keeper = RedisSupervisor(tmp_path, "127.0.0.1", config, lambda name, reason, facts: told.append((name, reason)))
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
    monkeypatch.setattr("rltf.buffer.server.LOCK_TIMEOUT_S", 0.2)
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
    patient = connect(server.url, timeout_s=0.2, outage_s=60.0)
    client = connect(server.url, timeout_s=0.2, outage_s=1.0)
    os.kill(server.pid, signal.SIGSTOP)
    timer = threading.Timer(0.6, os.kill, (server.pid, signal.SIGCONT))
    timer.start()
    assert patient.incr("calls") >= 1  # an answer that came too late was asked for again
    timer.join()
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(ServerLost, match=r"Redis at redis://:\*\*\*@127.0.0.1:\d+/0 has not answered for 1 s: "):
        client.ping()
    os.kill(server.pid, signal.SIGCONT)
    server.stop()
    with pytest.raises(ServerLost, match="has not answered for 1 s: .*refused"):
        client.ping()
    address = FlowAddress.from_config(Config.model_validate({"redis": {"outage_s": 0.5}}), server.url, "lost")
    with pytest.raises(ServerLost):
        Flow(address)  # a worker that starts meanwhile waits as long
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
    with pytest.raises(RunFailed, match=sentence), raising_run_failed(Path("runs")):
        raise error
