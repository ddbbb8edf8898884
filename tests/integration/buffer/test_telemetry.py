"""Telemetry, archive, control and the problem store."""

from __future__ import annotations

import pickle
import threading

import msgspec
import pytest

from rltf.buffer.flow import Flow, FlowAddress
from rltf.config import Config
from tests.support.buffer_programs import buffered, fates


def test_rows_are_read_by_position_by_any_number_of_readers(flow):
    rows = [
        {"kind": "count", "role": "actor-0", "name": "programs", "value": number, "time": 0.5} for number in range(5)
    ]
    flow.telemetry.append(rows[:2])
    flow.telemetry.append([])
    read = flow.telemetry.rows()
    assert (read.items, read.position, read.lost) == (rows[:2], 2, 0)
    flow.telemetry.append(rows[2:])
    assert flow.telemetry.rows(read.position).items == rows[2:]
    assert flow.telemetry.rows().items == rows
    assert flow.telemetry.rows(1).items == rows[1:]
    assert flow.telemetry.rows(5).position == 5
    flow.telemetry.append_step({"step": 1, "loss": None})
    assert flow.telemetry.steps().items == [{"step": 1, "loss": None}]


def test_what_a_reader_missed_is_counted(flow, monkeypatch):
    monkeypatch.setattr("rltf.buffer.telemetry_stream.MAX_ROWS", 10)
    for number in range(7):
        flow.telemetry.append([{"n": number}] * 4)
    read = flow.telemetry.rows()
    assert (len(read.items), read.position, read.lost) == (8, 28, 20)
    assert flow.telemetry.rows(18).lost == 2


def test_rows_that_do_not_decode_are_counted_as_lost(flow):
    flow.telemetry.append([{"n": 1}])
    for data in (b"\xff", b"\x91\x01", msgspec.msgpack.encode([{"n": 2}])):
        flow.client.xadd(
            flow.telemetry._keys.rows,
            {"n": 2, "data": data},
            id=f"{flow.client.xlen(flow.telemetry._keys.rows) * 2 + 1}-0",
        )
    read = flow.telemetry.rows()
    assert (read.items, read.position, read.lost) == ([{"n": 1}], 7, 6)


def test_the_archive_frees_what_the_driver_has_and_counts_what_it_missed(make_flow):
    flow = make_flow(archive_capacity=5)
    position, seen = 0, []
    assert flow.telemetry.archive_length() == 0
    for step, name in enumerate("abc"):
        buffered(flow, name)
        flow.online.finish(step, fates(flow.online.draw(step, 1, 0)))
        if name == "a":
            read = flow.telemetry.archived(position)
            position, seen = read.position, read.items
            assert flow.telemetry.archived(0).items == seen, "until it is confirmed, a driver that died gets it again"
            assert flow.telemetry.archived(position).items == []
            assert flow.client.exists(flow.work._keys.group("a")) == 0
    read = flow.telemetry.archived(position)
    assert [(row.id, row.fate, row.step, row.problem_id) for row in read.items[:1]] == [
        ("b.0", "trained", 1, "problem of b")
    ]
    assert [row.group_id for row in read.items] == ["b", "b", "c", "c"] and read.lost == 0
    buffered(flow, "d", "e")
    for step in (3, 4):
        flow.online.finish(step, fates(flow.online.draw(step, 1, 0)))
    read = flow.telemetry.archived(2)
    assert [row.group_id for row in read.items] == ["d", "d", "e", "e"] and read.lost == 4
    assert flow.telemetry.archive_length() == 4
    flow.client.hset(flow.work._keys.group("d"), "members", b"\xc1")
    read = flow.telemetry.archived(2)
    assert [row.group_id for row in read.items] == ["e", "e"] and read.lost == 6, (
        "what cannot be read is lost, and the rest is read"
    )
    assert flow.client.exists(flow.work._keys.group("b")) == 0
    assert flow.ledger.check() is None


def test_visits_are_shared_out_without_overlap(flow):
    other = Flow(flow.address)
    taken: list[int] = []

    def take(who, name):
        for number in range(20):
            taken.extend(who.control.next_visits(3, f"{name}, life {number}"))

    threads = [
        threading.Thread(target=take, args=(who, name)) for who, name in ((flow, "a"), (flow, "b"), (other, "c"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(taken) == list(range(180))


def test_phase_version_and_life(flow):
    assert flow.control.phase() is None and flow.control.heartbeats("learner", "driver") == (0, 0)
    flow.control.set_phase("training")
    flow.control.heartbeat("driver")
    assert flow.control.phase() == "training" and flow.control.heartbeats("learner", "driver") == (0, 1)
    assert flow.control.version() == -1
    flow.control.set_version(0)
    flow.control.resume()
    assert flow.control.phase() is None
    assert flow.control.version() == 0


def test_tests_are_stored_once_by_content(flow):
    flow.problems.put_many((f"p{number}", b"tests", "hash") for number in range(300))
    flow.problems.put("q", b"other tests", "other")
    assert flow.problems.suite("p299") == ("hash", b"tests") and flow.problems.suite("q") == ("other", b"other tests")
    assert len(flow.problems) == 301 and flow.client.hlen(flow.problems._keys.suites) == 2
    with pytest.raises(KeyError, match="unknown"):
        flow.problems.suite("unknown")


def test_an_address_travels_and_hides_its_password(redis_server):
    address = FlowAddress.from_config(Config(), redis_server.url, "travel")
    again = pickle.loads(pickle.dumps(address))
    assert again == address and (again.groups_per_version, again.group_size) == (24, 8)
    assert redis_server.url not in repr(address)
    Flow(again).close()
