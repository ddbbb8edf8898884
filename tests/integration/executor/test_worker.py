"""The executor's loop on a real Redis."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rltf.buffer.columns import Ints
from rltf.buffer.connection import ServerLost
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.records import Feedback
from rltf.buffer.server import EmbeddedRedis
from rltf.config import BufferConfig, ExecutorConfig, workers
from rltf.executor.judges import JUDGES
from rltf.executor.worker import ExecutorWorker
from rltf.telemetry.recorder import Recorder, Row
from tests.support.buffer_programs import group_of, program
from tests.support.executor_suites import HONEST_SUMS, SUM, assert_suite, stdin_suite
from tests.support.judges import UNJUDGED, InProcessJudge

RIGHT = HONEST_SUMS["input"]
SLOW = "import time\nend = time.process_time() + 0.7\nwhile time.process_time() < end: pass\n"


def _until(reached: Callable[[], object], bound_s: float = 60.0) -> None:
    deadline = time.monotonic() + bound_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def _working(
    flow: Flow, name: str = "executor-0", rows: list[Row] | None = None, judge: str = "sandbox"
) -> Iterator[ExecutorWorker]:
    recorder = Recorder(name, (rows if rows is not None else []).extend, period_s=0)
    worker = ExecutorWorker(name, flow, ExecutorConfig(lanes=1, time_limit_s=2.0, judge=judge), recorder)
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
        recorder.close()


@contextmanager
def _failing(
    flow: Flow, recorder: Recorder, kind: type[Exception]
) -> Iterator[tuple[threading.Thread, list[Exception]]]:
    """A worker's thread, and the error of this kind that ended its loop, once there is one."""
    worker, stop, failures = (
        ExecutorWorker("executor-0", flow, ExecutorConfig(lanes=1), recorder),
        threading.Event(),
        list[Exception](),
    )

    def work() -> None:
        try:
            worker.run(stop)
        except kind as failure:
            failures.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread, failures
    finally:
        stop.set()
        thread.join(60)
        recorder.close()


def _store(flow: Flow) -> None:
    flow.problems.put("sum", SUM.to_json(), SUM.content_hash)


def test_programs_are_graded_and_handed_over(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=2)
    _store(flow)
    rows: list[Row] = []
    for number in range(10):
        first, second = group_of(f"g{number}", problem_id="sum", text=RIGHT)
        assert flow.work.push([first, type(second)(**{**_fields(second), "text": f"print({number})"})])
    with _working(flow, rows=rows):
        _until(lambda: flow.ledger.counts()["buffered"] == 20 and any(row.get("name") == "wait" for row in list(rows)))
    groups = flow.online.draw(1, 10, 0)
    assert groups is not None and flow.ledger.check() is None
    feedbacks = [sample.feedback for group in groups for sample in group.samples]
    assert sorted(feedback.outcome for feedback in feedbacks) == ["failure"] * 10 + ["pass"] * 10
    assert {feedback.executor for feedback in feedbacks} == {"executor-0"}
    assert {row["name"] for row in rows if row["kind"] == "phase"} == {"grade", "wait"}
    assert {row["waits_for"] for row in rows if row["kind"] == "phase" and row["name"] == "wait"} == {"actor"}
    assert sum(row["value"] for row in rows if row["kind"] == "count" and row["name"] == "programs") == 20


def test_the_program_in_a_response_is_judged_and_one_without_has_a_verdict_of_its_own(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(group_size=2)
    _store(flow)
    words = f"Sure:\n```\n{RIGHT}```\n"
    begin = words.index(RIGHT)
    inside, without = (
        program("g", number, problem_id="sum", text=words, **fields)
        for number, fields in enumerate([{"spans": Ints([begin, begin + len(RIGHT)])}, {"has_program": False}])
    )
    with _working(flow):
        assert flow.work.push([inside, without])
        _until(lambda: flow.ledger.counts()["buffered"] == 2)
    groups = flow.online.draw(1, 1, 0)
    assert groups is not None
    (group,) = groups
    first, second = (sample.feedback for sample in group.samples)
    assert first.outcome == "pass" and first.passed == SUM.count
    assert (second.outcome, second.error_type, second.line, second.run) == ("compile_error", "NoProgram", None, 0)
    assert [test.outcome for test in second.tests] == ["compile_error"] * SUM.count
    assert second.problem_hash == first.problem_hash and second.time_limit_s == first.time_limit_s == SUM.time_limit_s
    assert second.executor == first.executor == "executor-0"


def test_a_worker_judges_by_whatever_judge_is_named(
    make_flow: Callable[..., Flow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(workers.JUDGES, "in_process", "the test's own process")
    monkeypatch.setitem(JUDGES, "in_process", InProcessJudge)
    flow = make_flow(group_size=2)
    _store(flow)
    for name, text in {"right": RIGHT, "wrong": "print(3)", "unjudged": UNJUDGED}.items():
        flow.work.push(group_of(name, problem_id="sum", text=text))
    with _working(flow, judge="in_process") as worker:
        _until(lambda: flow.ledger.counts()["buffered"] == 4 and flow.ledger.counts()["dead_letter"] == 2)
        assert worker.layers == {"process": "off: programs run in the judge's own"}
    groups = flow.online.draw(1, 2, 0)
    assert groups is not None and flow.ledger.check() is None
    feedbacks = [sample.feedback for group in groups for sample in group.samples]
    assert sorted(feedback.outcome for feedback in feedbacks) == ["failure"] * 2 + ["pass"] * 2
    assert {feedback.executor_version for feedback in feedbacks} == {"in process"}
    assert all("it is out of order" in letter.reason for letter in flow.work.dead_letters())


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_an_evaluation_does_not_wait_for_all_that_is_queued_for_training(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=2)
    _store(flow)
    for number in range(30):
        flow.work.push(group_of(f"t{number}", problem_id="sum", text=f"{SLOW}# {number}"))
    flow.evaluations.request("step-000000", 0, [["sum"]])
    flow.evaluation_work.push(
        group_of("e", size=1, problem_id="sum", text=RIGHT, purpose="evaluation", label="step-000000")
    )
    with _working(flow):
        _until(lambda: flow.evaluations.results("step-000000"))
        assert flow.work.length() > 0
    assert flow.ledger.check() is None
    assert flow.ledger.counts()["executing"] == 0  # what a stopping worker had not begun is back in the queue


def test_training_and_evaluations_are_judged_in_turn(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=20)
    flow.evaluations.request("step-000000", 0, [["a", "b"]], 20)
    for name in "ab":
        flow.work.push(group_of(f"t{name}", size=20, problem_id="sum"))
        evaluated = group_of(f"e{name}", size=20, problem_id=name, purpose="evaluation", label="step-000000")
        flow.evaluation_work.push(evaluated)
    worker, judged = ExecutorWorker("executor-0", flow, ExecutorConfig(lanes=1), Recorder("executor-0")), []
    while sum(flow.ledger.counts(purpose)["queued"] for purpose in ("train", "evaluation")):
        work, claims = worker._claim()
        work.ack_many("executor-0", [(claim, Feedback(outcome="failure")) for claim in claims])
        judged.append(claims[0].program.purpose)
    assert judged == ["evaluation", "train"] * 3 and len(flow.evaluations.results("step-000000")) == 40


def test_what_cannot_be_graded_goes_back_and_ends_as_a_dead_letter(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=2)
    _store(flow)
    flow.work.push(group_of("unknown", problem_id="nobody stored it"))
    flow.problems.put("changed", SUM.to_json(), "0" * 32)
    flow.work.push(group_of("changed", problem_id="changed", text=RIGHT))
    flow.work.push(group_of("known", problem_id="sum", text=RIGHT))
    with _working(flow):
        _until(lambda: flow.ledger.counts()["dead_letter"] == 4 and flow.ledger.counts()["buffered"] == 2)
    words = {"unknown": "nobody stored it", "changed": "their content is not that of 0000"}
    assert all(words[letter.group_id] in letter.reason for letter in flow.work.dead_letters())
    assert flow.ledger.check() is None


def test_a_lease_is_kept_while_a_long_program_runs(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=2, lease_s=1.5)
    suite = stdin_suite(("", "done\n"), time_limit_s=10.0)
    flow.problems.put("slow", suite.to_json(), suite.content_hash)
    flow.work.push(group_of("slow", problem_id="slow", text=f"{SLOW * 3}print('done')\n"))
    with _working(flow):
        _until(lambda: flow.ledger.counts()["executing"] == 2)
        while flow.ledger.counts()["executing"]:
            assert not flow.work.claim("another", 16, 0.05)
        _until(lambda: flow.ledger.counts()["buffered"] == 2)


def test_verdicts_do_not_wait_for_a_slow_program(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=1)
    suite = stdin_suite(("", "done\n"), time_limit_s=10.0)
    flow.problems.put("slow", suite.to_json(), suite.content_hash)
    texts = [*(f"print('done')  # {number}\n" for number in range(7)), f"{SLOW * 3}print('done')\n"]
    flow.work.push_many(
        [group_of(f"g{number}", size=1, problem_id="slow", text=text) for number, text in enumerate(texts)]
    )
    with _working(flow):
        _until(lambda: flow.ledger.counts()["buffered"] >= 7)
        assert flow.ledger.counts()["executing"] == 1
        _until(lambda: flow.ledger.counts()["buffered"] == 8)


def test_verdicts_that_are_ready_outlive_a_loop_that_fails(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=1)
    _store(flow)
    broken = assert_suite("assert f(1) ==")
    flow.problems.put("broken", broken.to_json(), broken.content_hash)
    flow.work.push(group_of("first", size=1, problem_id="sum", text=RIGHT))

    def full(rows: list[Row]) -> None:
        if any(row.get("name") == "infrastructure_failures" for row in rows):
            raise OSError("no space left")

    with _failing(flow, Recorder("executor-0", full, period_s=0), OSError) as (thread, failures):
        _until(lambda: flow.ledger.counts()["buffered"] == 1)
        known = group_of("known", size=1, problem_id="sum", text=RIGHT)  # its verdict is there at once
        flow.work.push_many([known, group_of("broken", size=1, problem_id="broken")])
        thread.join(60)
        assert len(failures) == 1 and flow.ledger.counts()["buffered"] == 2


def test_a_lease_that_could_not_be_kept_ends_the_loop(tmp_path: Path) -> None:
    server = EmbeddedRedis.start(tmp_path)
    address = FlowAddress(
        server.url, "leases", BufferConfig(lease_s=0.3), 1, 1, group_size=1, timeout_s=0.5, outage_s=0.5
    )
    flow = Flow(address)
    suite = stdin_suite(("", "done\n"), time_limit_s=5.0)
    flow.problems.put("slow", suite.to_json(), suite.content_hash)
    flow.work.push(group_of("quick", size=1, problem_id="slow", text="print('done')\n"))
    try:
        with _failing(flow, Recorder("executor-0", lambda rows: None), ServerLost) as (thread, failures):
            _until(
                lambda: flow.ledger.counts()["buffered"] == 1
            )  # the tests are with the worker, which reads them once
            flow.work.push(group_of("slow", size=1, problem_id="slow", text=f"{SLOW * 4}print('done')\n"))
            _until(lambda: flow.ledger.counts()["executing"] == 1)
            time.sleep(0.3)
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(1.5)  # the program runs meanwhile, and nobody but the lease's thread asks for Redis
            os.kill(server.pid, signal.SIGCONT)
            _until(lambda: flow.ledger.counts()["buffered"] == 2)
            thread.join(20)
            assert len(failures) == 1
    finally:
        flow.close()
        server.stop()


def test_a_worker_takes_over_what_its_dead_predecessor_held(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(group_size=2)
    _store(flow)
    flow.work.push(group_of("g", problem_id="sum", text=RIGHT))
    assert len(flow.work.claim("executor-0", 2)) == 2
    with _working(flow):
        _until(lambda: flow.ledger.counts()["buffered"] == 2)
