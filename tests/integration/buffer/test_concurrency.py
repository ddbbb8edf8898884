"""Many workers at once, with give-backs, abandoned claims and a random order of everything: nothing lost, nothing drawn
twice.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from typing import Any

import pytest

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.online_buffer import BufferPosition
from tests.support.buffer_programs import PASS, fates, group_of, places

GROUPS_PER_ACTOR = 60
ACTORS = 3


def act(address: FlowAddress, name: str) -> None:
    flow = Flow(address)
    for number in range(GROUPS_PER_ACTOR):
        while not flow.online.admit(name, 1).granted:
            time.sleep(0.002)
        group = group_of(f"{name}.{number}", 4, greedy=True)
        while not flow.work.push(group, name):
            time.sleep(0.002)
    flow.online.release(name)
    flow.close()


def execute(address: FlowAddress, name: str, seed: int, stop: Any) -> None:
    """Grades; now and then fails, or forgets what it claimed and comes back under another name."""
    flow = Flow(address)
    rng = random.Random(seed)
    life = 0
    while not stop.is_set():
        consumer = f"{name}.{life}"
        claims = flow.work.claim(consumer, rng.randint(1, 8), block_s=0.05)
        if rng.random() < 0.03:
            life += 1
            continue
        rng.shuffle(claims)
        failed = [claim for claim in claims if rng.random() < 0.05]
        for claim in failed:
            flow.work.nack(consumer, claim, "bad luck")
        flow.work.renew(consumer, claims)
        verdicts = [(claim, PASS) for claim in claims if claim not in failed]
        flow.work.ack_many(consumer, verdicts)
        if rng.random() < 0.1:
            flow.work.ack_many(consumer, verdicts)
    flow.close()


@pytest.mark.parametrize("when_stale", ["wait", "drop"])
def test_many_workers_lose_and_double_nothing(make_flow, when_stale):
    flow = make_flow(
        when_full={"wait": "wait", "drop": "evict"}[when_stale],
        when_stale=when_stale,
        max_staleness=2,
        capacity=100,
        work_capacity=60,
        lease_s=0.3,
        refresh_steps=1 if when_stale == "wait" else 5,
        groups_per_step=4,
        groups_per_version=4,
        group_size=5,
    )
    total = ACTORS * GROUPS_PER_ACTOR * 5
    spawn = multiprocessing.get_context("spawn")
    stop_processes, stop_threads = spawn.Event(), threading.Event()
    process = spawn.Process(target=execute, args=(flow.address, "process", 1, stop_processes))
    process.start()
    threads = [threading.Thread(target=act, args=(flow.address, f"actor-{n}"), daemon=True) for n in range(ACTORS)]
    threads += [
        threading.Thread(target=execute, args=(flow.address, f"thread-{n}", 2 + n, stop_threads), daemon=True)
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    drawn: Counter[str] = Counter()
    step, checks = 0, 0
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            groups = flow.online.draw(step, 4, 0, block_s=0.05)
            assert flow.ledger.check() is None
            checks += 1
            counts = flow.ledger.counts()
            assert counts["buffered"] <= 100
            if groups is None:
                if counts["generated"] == total and not any(
                    counts[place] for place in ("queued", "executing", "waiting")
                ):
                    break
                continue
            drawn.update(fates(groups).keys())
            flow.online.finish(step, fates(groups, random.Random(step).choice(["trained", "no_signal"])))
            step += 1
    finally:
        stop_processes.set()
        stop_threads.set()
        process.join(10)
        for thread in threads:
            thread.join(10)
    assert time.monotonic() < deadline, places(flow)
    while rest := flow.online.draw(step, 1, 0):
        drawn.update(fates(rest).keys())
        flow.online.finish(step, fates(rest))
        step += 1
    counts = places(flow)
    assert max(drawn.values()) == 1
    assert len(drawn) == counts["trained"] + counts.get("no_signal", 0) + counts["baseline"]
    assert counts["generated"] == total == sum(counts.values()) - total
    assert not {"queued", "executing", "waiting", "buffered"} & set(counts)
    if when_stale == "wait":
        assert "evicted" not in counts
    archived = flow.telemetry.archived(count=100_000)
    assert Counter(row.fate for row in archived.items) == {
        name: value for name, value in counts.items() if name != "generated"
    }


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_moves_keeps_the_ledger_exact(make_flow, seed):
    rng = random.Random(seed)
    flow = make_flow(
        capacity=rng.choice([12, 30]),
        work_capacity=24,
        lease_s=0.01,
        refresh_steps=rng.choice([1, 3]),
        max_staleness=rng.choice([None, 1]),
        when_stale="drop",
        archive_capacity=rng.choice([10, 1000]),
        max_uses=(uses := rng.choice([1, 1, 3])),
        group_size=4,
        seed=seed,
    )
    held: dict[str, list[Any]] = {"executor-0": [], "executor-1": []}
    drawn: dict[int, list[Any]] = {}
    used: Counter[str] = Counter()
    step, version, made = 0, 0, 0
    for _ in range(250):
        move = rng.choice(
            [
                "push",
                "push",
                "claim",
                "claim",
                "ack",
                "ack",
                "ack",
                "nack",
                "requeue_consumer",
                "draw",
                "finish",
                "mark_malformed",
                "resume",
            ]
        )
        consumer = rng.choice(list(held))
        if move == "push":
            made += flow.work.push(group_of(f"g{made}", rng.randint(1, 4), version, greedy=rng.random() < 0.5))
        elif move == "claim":
            held[consumer] += flow.work.claim(consumer, rng.randint(1, 5))
        elif move == "ack" and held[consumer]:
            claims = rng.sample(held[consumer], rng.randint(1, len(held[consumer])))
            flow.work.ack_many(consumer, [(claim, PASS) for claim in claims])
        elif move == "nack" and held[consumer]:
            flow.work.nack(consumer, rng.choice(held[consumer]), "why not", tried=rng.random() < 0.7)
        elif move == "requeue_consumer" and rng.random() < 0.2:
            flow.work.requeue_consumer(consumer)
        elif move == "draw" and len(drawn) < 2:
            groups = flow.online.draw(step, rng.randint(1, 2), version)
            if groups:
                drawn[step], step = groups, step + 1
        elif move == "finish" and drawn:
            number = rng.choice(list(drawn))
            given = fates(drawn.pop(number))
            assert flow.online.finish(number, given) == len(given)
            used.update(given.keys())
            version += rng.random() < 0.5
        elif move == "mark_malformed" and rng.random() < 0.3 and made:
            key = flow.work._keys.group(f"g{rng.randrange(made)}")
            name = next(
                (name for name in flow.client.hkeys(key) if name.startswith((b"source:", b"feedback:", b"traces"))),
                None,
            )
            if name and not any(key.endswith(f":{group.id}") for groups in drawn.values() for group in groups):
                flow.client.hset(key, name, b"\xc1")
        elif move == "resume" and rng.random() < 0.2 and not (drawn and min(drawn) < step - len(drawn)):
            step -= len(drawn)
            flow.online.resume(BufferPosition(step=step - 1))
            drawn.clear()
        assert flow.ledger.check() is None, move
    assert max(used.values(), default=1) <= uses
    assert flow.ledger.counts()["generated"] > 50
