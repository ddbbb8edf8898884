"""redis-py sends a command again when its answer is lost: every script run twice must leave what one run leaves."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis

import rltf.buffer
from rltf.buffer.flow import Flow
from rltf.buffer.lua import Scripts
from rltf.buffer.online_buffer import BufferPosition, Consumed
from rltf.buffer.records import decode_program
from tests.support.buffer_programs import PASS, buffered, fates, group_of, places

SAME_ANSWER = {
    "admit",
    "claim",
    "close_evaluation",
    "draw",
    "ack",
    "ledger",
    "next_chunk",
    "next_visits",
    "position",
    "renew",
    "resume",
    "reject",
    "check_marker",
    "mark_malformed",
}
"""Scripts whose caller needs the answer: a retry must give the same. The others only tell whether something was new."""


def contents(client: redis.Redis, run: str) -> dict[bytes, Any]:
    """Everything under the run's prefix; of claims the owner, not the age; not the times that a retry may renew: the
    end of a chunk's lease, the last look for forsaken claims."""
    everything: dict[bytes, Any] = {}
    for key in client.scan_iter(f"rltf:{{{run}}}:*", count=1000):
        kind = client.type(key)
        if kind == b"hash":
            everything[key] = {name: value for name, value in client.hgetall(key).items() if name != b"scanned"}
        elif kind == b"set":
            everything[key] = client.smembers(key)
        elif kind == b"string":
            everything[key] = client.get(key)
        elif kind == b"list":
            everything[key] = client.lrange(key, 0, -1)
        elif kind == b"zset":
            everything[key] = client.zrange(key, 0, -1, withscores=not key.endswith(b":held"))
        else:
            groups = client.xinfo_groups(key)
            pending = client.xpending_range(key, "executors", "-", "+", 1000) if groups else []
            everything[key] = (
                client.xrange(key),
                groups,
                [(claim["message_id"], claim["consumer"]) for claim in pending],
            )
    return everything


@pytest.fixture
def doubled(make_flow, monkeypatch):
    """A flow whose every script runs twice; the second run must change nothing."""
    flow = make_flow(
        lease_s=0.3, capacity=10, work_capacity=20, archive_capacity=8, refresh_steps=3, max_staleness=1, token="t"
    )
    flow.marker.take_over(1, "this test")
    ran: set[str] = set()
    once = Scripts.run_many

    def twice(self, calls):
        answers = []
        for call in calls:
            ran.add(call.name)
            answers += once(self, [call])
            before = contents(flow.client, flow.address.run)
            again = once(self, [call])[0]
            assert contents(flow.client, flow.address.run) == before, f"{call.name} is not safe under retry"
            if call.name in SAME_ANSWER:
                assert again == answers[-1], call.name
        return answers

    monkeypatch.setattr(Scripts, "run_many", twice)
    return flow, ran


def test_every_script_may_run_twice(doubled):
    flow, ran = doubled
    flow.marker.check(beat=True)
    flow.online.admit("actor-0", 2)
    flow.online.admit("actor-0", 3)
    for name in "abc":
        assert flow.work.push(group_of(name, 2, greedy=name == "a"), "actor-0")
    assert not flow.work.push(group_of("too many", 20))
    claims = flow.work.claim("executor-0", 4)
    assert len(claims) == 4
    flow.work.renew("executor-0", claims)
    assert flow.work.ack_many("executor-0", [(claim, PASS) for claim in claims[:2]]) == [True, True]
    flow.work.nack("executor-0", claims[2], "no sandbox")
    flow.work.nack("executor-0", claims[3], "stopping", tried=False)
    flow.work.claim("executor-1", 2)
    flow.work.requeue_consumer("executor-1")
    flow.work.claim("dying", 1)
    time.sleep(0.35)
    flow.client.hset(flow.work._keys.group("c"), "source:c.0", b"garbage")
    flow.client.xadd(flow.work._keys.work, {"foreign": "entry"})
    while claims := flow.work.claim("executor-2", 2):
        flow.work.ack_many("executor-2", [(claim, PASS) for claim in claims])
    assert places(flow) == {"generated": 8, "buffered": 6, "malformed": 2}
    for _ in range(3):
        flow.work.push(group_of("dead", 1))
        (claim,) = flow.work.claim("executor-2", 1)
        flow.work.nack("executor-2", claim, "no sandbox")
    buffered(flow, "d", "e", "f")
    assert places(flow)["evicted"] > 0
    flow.client.hset(flow.work._keys.group("f"), "feedback:f.0", b"garbage")
    for step in (1, 2, 3):
        drawn = flow.online.draw(step, 1, 0)
        flow.online.finish(step, fates(drawn))
    assert flow.online.draw(4, 1, 0) is not None
    assert [consumed.step for consumed in flow.online.position().consumed if consumed.step > 1] == [2, 3]
    flow.online.confirm_checkpoint(BufferPosition(step=2))
    flow.online.resume(BufferPosition(step=2, consumed=[Consumed(1, 1, ["g"])]))
    flow.online.resume(BufferPosition(step=3))
    flow.resume()
    drawn = flow.online.draw(4, 1, 0)
    flow.online.finish(4, dict(list(fates(drawn).items())[:1]))
    flow.online.finish(4, fates(drawn))
    assert flow.online.draw(5, 1, 7) is None
    position = flow.telemetry.archived().position
    flow.telemetry.archived(position)
    flow.telemetry.append([{"a": 1}])
    assert len(flow.telemetry.rows().items) == 1
    assert flow.control.next_visits(2, "actor-0") == [0, 1]
    assert flow.control.next_visits(3, "actor-0") == [0, 1, 2]
    flow.online.release("actor-0")
    assert flow.control.next_visits(2, "actor-1") == [0, 1]
    flow.evaluations.request("step-000000", 0, [["p"]])
    chunk = flow.evaluations.next_chunk("actor-0")
    flow.evaluation_work.push(group_of("p", 1, purpose="evaluation", label=chunk.label, problem_id="p"))
    flow.evaluations.finish_chunk(chunk)
    (claim,) = flow.evaluation_work.claim("executor-0", 3)
    flow.evaluation_work.ack("executor-0", claim, PASS)
    assert flow.evaluations.is_complete("step-000000") and len(flow.evaluations.results("step-000000")) == 1
    flow.evaluations.close("step-000000")
    assert flow.ledger.check() is None
    scripts = {file.stem for file in (Path(rltf.buffer.__file__).parent / "scripts").glob("*.lua")} - {"common"}
    assert ran == scripts


def test_a_server_that_forgot_the_scripts_gets_them_again(flow):
    flow.work.push(group_of("a"))
    flow.client.script_flush()
    assert flow.work.push_many([group_of("b"), group_of("c"), group_of("a")]) == [True] * 3
    assert places(flow) == {"generated": 6, "queued": 6}


class LossyProxy:
    """A TCP proxy that now and then cuts the connection after the server has worked, before its answer is passed on."""

    def __init__(self, port: int) -> None:
        import random
        import socket

        self._random, self._socket = random.Random(0), socket
        self._target = port
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: Any, sink: Any, answers: bool) -> None:
        try:
            while data := source.recv(1 << 20):
                if answers and self._random.random() < 0.1:
                    self.cuts += 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(self._socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()


def test_answers_lost_on_the_way_lose_and_double_nothing(make_flow, redis_server):
    import dataclasses

    direct = make_flow(capacity=1000)
    port = int(redis_server.url.rsplit(":", 1)[1].split("/")[0])
    proxy = LossyProxy(port)
    lossy = Flow(dataclasses.replace(direct.address, url=redis_server.url.replace(f":{port}/", f":{proxy.port}/")))
    trained: list[str] = []
    visits = []
    for step in range(12):
        visits.append(lossy.control.next_visits(2, f"actor-{step}"))
        assert lossy.work.push_many([group_of(f"g{step}.{n}") for n in range(2)]) == [True, True]
        while claims := lossy.work.claim("executor-0", 3):
            lossy.work.ack_many("executor-0", [(claim, PASS) for claim in claims])
            lossy.telemetry.append([{"n": len(claims)}])
        drawn = lossy.online.draw(step, 2, 0)
        lossy.online.finish(step, fates(drawn))
        trained += fates(drawn)
    lossy.close()
    proxy.close()
    assert proxy.cuts > 5
    assert visits == [[visit, visit + 1] for visit in range(0, 24, 2)]
    assert len(trained) == len(set(trained)) == 48
    assert places(direct) == {"generated": 48, "trained": 48}
    assert sum(row["n"] for row in direct.telemetry.rows().items) == 48
    assert all(decode_program(row.program).id == row.id for row in direct.telemetry.archived().items)
