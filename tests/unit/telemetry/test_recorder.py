import time

import pytest

from rltf.telemetry.recorder import Recorder, Row


def test_flush_sends_phases_counts_and_gauges() -> None:
    rows: list[Row] = []
    recorder = Recorder("actor-0", rows.extend, period_s=60)
    with recorder.phase("generate"):
        recorder.count("programs", 2)
        recorder.count("programs", 3)
        recorder.gauge("version", 4)
        recorder.gauge("version", 5)
    recorder.flush()
    by_kind = {row["kind"]: row for row in rows}
    assert set(by_kind) == {"phase", "count", "gauge"} and len(rows) == 3
    assert by_kind["count"]["value"] == 5 and by_kind["gauge"]["value"] == 5
    assert by_kind["phase"]["name"] == "generate" and by_kind["phase"]["start"] <= by_kind["phase"]["end"]
    recorder.close()


def test_a_wait_is_reported_while_it_lasts() -> None:
    rows: list[Row] = []
    recorder = Recorder("learner-0", rows.extend, period_s=0.01)
    with recorder.phase("step"), recorder.phase("wait", waits_for="actor"):
        until = time.monotonic() + 20
        while not any(row["kind"] == "now" for row in rows) and time.monotonic() < until:
            time.sleep(0.01)
        now = next(row for row in rows if row["kind"] == "now" and row["name"] == "wait")
    assert now["waits_for"] == "actor" and now["start"] <= now["time"]
    recorder.close()


def test_a_failing_sink_is_raised_in_the_worker() -> None:
    def sink(rows: list[Row]) -> None:
        raise ConnectionError("the server is gone")

    recorder = Recorder("executor-1", sink, period_s=0.01)
    until = time.monotonic() + 20
    with pytest.raises(ConnectionError, match="the server is gone"):
        while time.monotonic() < until:
            recorder.count("programs")
            time.sleep(0.01)


def test_without_a_sink_nothing_piles_up() -> None:
    recorder = Recorder("actor-0")
    for _ in range(1000):
        with recorder.phase("generate"):
            recorder.count("programs")
    assert not recorder._rows
