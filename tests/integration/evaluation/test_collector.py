"""Held-out evaluations on a real Redis, asked for as the learner does, written and graded as actors and executors do."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rltf.buffer.evaluations import label_of
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.records import Feedback
from rltf.buffer.server import EmbeddedRedis
from rltf.config import EvaluationConfig, EvaluationSet
from rltf.driver.held_out_tracker import HeldOutTracker
from rltf.evaluation.collector import HeldOutCollector
from rltf.evaluation.summary import Asked
from rltf.evaluation.tasks import HeldOutTasks
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.problems import Problem, Skipped, TestSuite
from tests.support.monitor_rows import config, sample

SUITE = TestSuite("stdin", None, ("1",), ("1",))
TASKS = HeldOutTasks(
    "own", 5, tuple(Problem(name, f"Question {name}.", "", SUITE, (), "unknown", "apps") for name in "ab")
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    redis = EmbeddedRedis.start(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.stop()


def write_and_grade(flow: Flow, passing: set[str]) -> None:
    while (chunk := flow.evaluations.next_chunk("actor-0")) is not None:
        for problem_id in chunk.problem_ids:
            group_id = f"{chunk.label}/{problem_id}"
            written = [
                sample(
                    problem_id,
                    "pass",
                    id=f"{group_id}/{number}",
                    group_id=group_id,
                    purpose="evaluation",
                    label=chunk.label,
                ).program
                for number in range(chunk.samples)
            ]
            assert flow.evaluation_work.push(written, "actor-0")
        flow.evaluations.finish_chunk(chunk)
    claims = flow.evaluation_work.claim("executor-0", 100)
    verdicts = [
        Feedback(outcome="pass" if claim.program.problem_id in passing else "failure", run=1) for claim in claims
    ]
    flow.evaluation_work.ack_many("executor-0", list(zip(claims, verdicts, strict=True)))


def test_evaluations_are_collected_once_and_when_complete(server: EmbeddedRedis, tmp_path: Path) -> None:
    flow = Flow(FlowAddress.from_config(config(tmp_path), server.url, "collected"))
    problems = ["a", "b", "c", "d"]
    collector = HeldOutCollector(flow, Asked(tuple(problems)))
    assert collector.collect() == [] and collector.pending == ()
    flow.evaluations.request(label_of(0), 0, [problems[:3], problems[3:]])
    assert collector.collect() == [] and collector.pending == ("step-000000",)
    write_and_grade(flow, {"a"})
    (first,) = collector.collect([1])
    assert (first.step, first.held_out.pass_at[1].value, first.held_out.tasks, len(first.samples)) == (0, 0.25, 4, 4)
    flow.evaluations.request(label_of(2), 2, [problems])
    assert collector.collect([2, 3]) == [] and collector.pending == ("step-000002",)
    write_and_grade(flow, {"a", "b", "c"})
    (second,) = collector.collect()
    assert (second.step, second.held_out.pass_at[1].value) == (2, 0.75)
    assert collector.collect([4]) == [] and collector.pending == ()
    flow.close()


def test_pass_at_k_is_told_of_evaluations_with_so_many_programs(server: EmbeddedRedis, tmp_path: Path) -> None:
    flow = Flow(FlowAddress.from_config(config(tmp_path), server.url, "pass-at-k"))
    collector = HeldOutCollector(flow, Asked(("a", "b"), ks=(1, 3)))
    for step, programs in ((0, 2), (1, 3)):
        flow.evaluations.request(label_of(step), step, [["a", "b"]], programs)
        write_and_grade(flow, {"a"})
    first, second = collector.collect([1])
    assert (first.held_out.samples, set(first.held_out.pass_at)) == (4, {1})
    assert (second.held_out.samples, second.held_out.pass_at[3].value) == (6, 0.5)
    flow.close()


def test_problems_without_prompt_and_programs_without_verdict_count_as_not_passed(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    """Neither leaves the denominator, and both are told: on the line, in held_out.jsonl, in result.json."""
    flow = Flow(FlowAddress.from_config(config(tmp_path), server.url, "denominator"))
    folder, tasks = (
        RunFolder.create(config(tmp_path)),
        replace(TASKS, too_long=(Skipped("c", "too long"), Skipped("d", "too long"))),
    )
    book = HeldOutTracker(flow, folder, RunState(), [tasks], EvaluationConfig(samples=2, k=(2,)))
    flow.evaluations.request(label_of(0), 0, [["a", "b"]], 2)
    while (chunk := flow.evaluations.next_chunk("actor-0")) is not None:
        for problem_id in chunk.problem_ids:
            names = {"group_id": f"{chunk.label}/{problem_id}", "purpose": "evaluation", "label": chunk.label}
            written = [sample(problem_id, "pass", id=f"{problem_id}/{number}", **names).program for number in range(2)]
            assert flow.evaluation_work.push(written, "actor-0")
        flow.evaluations.finish_chunk(chunk)
    for claim in flow.evaluation_work.claim("executor-0", 100):
        if claim.program.id == "b/1":
            tried = [claim]
            while tried:  # until it is given up
                flow.evaluation_work.nack("executor-0", tried[0], "no sandbox")
                tried = flow.evaluation_work.claim("executor-0", 1)
        else:
            flow.evaluation_work.ack_many("executor-0", [(claim, Feedback(outcome="pass", run=1))])
    (told,) = book.read([])
    assert "pass@1 0.375" in told and told.endswith("; 1 programs without a verdict count as not passed")
    (row,) = folder.held_out()
    assert (row["tasks"], row["samples"], row["lost"], row["not_asked"], row["missing"]) == (4, 3, 1, 2, 0)
    assert row["pass@1"] == 0.375 and row["pass@2"] == 0.5
    assert row["max@1"] == row["max@2"] == 0.0, "these verdicts name no test, and what was not asked passes none"
    assert tasks.to_ask((1, 2)).figures([], 2) == {"pass@1": 0.0, "pass@2": 0.0, "max@1": 0.0, "max@2": 0.0}
    result = book.result()
    assert (result["tasks"], result["of"], result["too_long"], result["before"]["lost"]) == (4, 5, 2, 1)
    assert result["about"] == "4 of 5 from own; 2 of them, whose prompt does not fit, count as not solved"
    flow.close()


def test_before_and_after_are_two_evaluations(server: EmbeddedRedis, tmp_path: Path) -> None:
    flow = Flow(FlowAddress.from_config(config(tmp_path), server.url, "booked"))
    state = RunState()
    book = HeldOutTracker(flow, RunFolder.create(config(tmp_path)), state, [TASKS])
    flow.evaluations.request(label_of(0), 0, [["a", "b"]])
    write_and_grade(flow, {"a"})
    book.read([])
    assert set(book.result()) == {"tasks", "of", "too_long", "problems", "about", "before"} and book.examples() == []
    flow.evaluations.request(label_of(1), 1, [["a", "b"]])
    write_and_grade(flow, {"a", "b"})
    state.fold_step({"step": 1, "time": 0.0})
    book.read([{"step": 1}])
    result = book.result()
    assert (result["before"]["pass@1"], result["after"]["pass@1"], result["after"]["step"]) == (0.5, 1.0, 1)
    # Programs leave the buffer when the learner has read them too, while the run goes on; what it has not read stays.
    assert flow.telemetry.archive_length() == 0
    flow.evaluations.close(label_of(0), "learner")
    assert {row.sample.program.label for row in flow.telemetry.archived().items} == {label_of(0)}
    assert flow.evaluations.results(label_of(0)) == [] and len(flow.evaluations.results(label_of(1))) == 2
    book.close()
    assert flow.evaluations.results(label_of(1)) == [] and flow.ledger.check() is None
    assert {example.problem_id for example in book.examples()} == {"a", "b"}
    flow.close()


def test_each_set_is_read_judged_and_told_apart(server: EmbeddedRedis, tmp_path: Path) -> None:
    """Two sets with the same problems, one of which is evaluated less often."""
    settings = config(tmp_path)
    flow = Flow(FlowAddress.from_config(settings, server.url, "sets"))
    folder, state = RunFolder.create(settings), RunState()
    sets = [EvaluationSet(name="more", problems="own", samples=2, k=(2,))]
    tasks = [TASKS, replace(TASKS, set="more")]
    book = HeldOutTracker(flow, folder, state, tasks, EvaluationConfig(sets=tuple(sets)))
    flow.evaluations.request(label_of(0), 0, [["a", "b"]])
    flow.evaluations.request(label_of(0, "more"), 0, [["a", "b"]], 2)
    assert book.read([]) == [] and book.pending and book.progress() == (0, 6)
    write_and_grade(flow, {"a"})
    told = book.read([])
    assert [sentence.partition(" ± ")[0] for sentence in told] == [
        "step 0: held-out pass@1 0.500",
        "step 0: held-out more pass@1 0.500",
    ]
    assert "pass@2 0.500" in told[1] and "pass@2" not in told[0] and not book.pending
    flow.evaluations.request(label_of(1), 1, [["a", "b"]])
    state.fold_step({"step": 1, "time": 0.0})
    write_and_grade(flow, {"a", "b"})
    book.read([{"step": 1}])
    result = book.result()
    assert (result["before"]["pass@1"], result["after"]["pass@1"], list(result["sets"])) == (0.5, 1.0, ["more"])
    assert result["sets"]["more"]["about"] == "2 of 5 from own" and set(result["sets"]["more"]) == set(result) - {
        "sets",
        "after",
    }
    assert {name: row["step"] for name, row in state.held_out.items()} == {"": 1, "more": 0}
    assert [row.get("set", "") for row in folder.held_out()] == ["", ""] and len(folder.held_out("more")) == 1
    again = HeldOutTracker(flow, RunFolder.open(folder.path), RunState(), tasks, EvaluationConfig(sets=tuple(sets)))
    assert again.read([]) == [] and again.result() == result and len(again.examples()) == 0
    book.close()
    labels = (label_of(0), label_of(1), label_of(0, "more"))
    assert [flow.evaluations.results(label) for label in labels] == [[]] * 3 and flow.ledger.check() is None
    flow.close()


def test_weights_that_were_lost_are_evaluated_again(server: EmbeddedRedis, tmp_path: Path) -> None:
    """The learner crashes after the evaluations of steps 0, 4 and 8, and goes back each time to weights that have other
    numbers then.
    """
    flow = Flow(FlowAddress.from_config(config(tmp_path), server.url, "lost"))
    folder, state = RunFolder.create(config(tmp_path)), RunState()
    book = HeldOutTracker(flow, folder, state, [TASKS])

    def steps(*numbers: int) -> list[str]:
        rows = [{"step": step, "time": float(step)} for step in numbers]
        for row in rows:
            state.fold_step(row)
        return book.read(rows)

    def ask(step: int, version: int) -> str:
        label = flow.evaluations.fresh_label(label_of(step), version)
        flow.evaluations.request(label, version, [["a", "b"]])
        return label

    def evaluated(step: int, version: int, passing: set[str]) -> None:
        ask(step, version)
        assert steps() == [] and book.pending
        write_and_grade(flow, passing)
        assert len(steps()) == 1 and not book.pending

    evaluated(0, 0, set())
    evaluated(0, 1, {"a"})  # back before the first checkpoint
    assert steps(1, 2, 3, 4) == []
    evaluated(4, 5, set())
    assert steps(5, 6) == []
    assert ask(4, 9) == "step-000004-2"  # back to the checkpoint of step 4, which was made before the evaluation
    assert steps(7, 5) == [] and book.pending, "rows of both lives at once"
    write_and_grade(flow, {"a"})
    assert len(steps(6)) == 1
    ask(6, 11)
    write_and_grade(flow, set())
    assert ask(6, 12) == "step-000006-2"  # back before the driver has looked
    assert steps(7, 7, 8) == [] and book.pending
    write_and_grade(flow, {"b"})
    assert len(steps()) == 1
    evaluated(8, 14, set())
    evaluated(8, 15, {"a", "b"})  # back to the last step, whose row does not come again
    found = {row["label"]: row["pass@1"] for row in folder.held_out()}
    assert found == {"step-000000-2": 0.5, "step-000004-2": 0.5, "step-000006-2": 0.5, "step-000008-2": 1.0}
    assert [point[0] for point in book.curve()] == [0, 4, 6, 8]
    book.close()
    labels = [f"{label_of(step)}{more}" for step in (0, 4, 6, 8) for more in ("", "-2")]
    assert [flow.evaluations.results(label) for label in labels] == [[]] * 8, (
        "those of lost weights leave the buffer too"
    )
    assert flow.ledger.check() is None
    assert {sample.program.label for sample in book._sets[0]._first} == {"step-000000-2"} and len(book.examples()) == 2
    flow.close()


def test_an_evaluation_whose_row_is_lost_is_none_of_zero(server: EmbeddedRedis, tmp_path: Path) -> None:
    settings = config(tmp_path)
    flow = Flow(FlowAddress.from_config(settings, server.url, "lost-row"))
    folder = RunFolder.create(settings)
    for step in (0, 2):
        flow.evaluations.request(label_of(step), step, [["a", "b"]])
        write_and_grade(flow, {"a"})
        folder.add_step({"step": step + 1})
    state = RunState()
    state.fold_step({"step": 2, "time": 0.0})
    book = HeldOutTracker(flow, folder, state, [TASKS])
    assert len(book.read([{"step": 1}, {"step": 2}])) == 2
    for step in (0, 2):
        flow.evaluations.close(label_of(step), "learner")
    book.close()
    lines = (folder.path / "held_out.jsonl").read_bytes().splitlines(keepends=True)
    (folder.path / "held_out.jsonl").write_bytes(lines[0][:40] + b"\xff\n" + lines[1])
    again = HeldOutTracker(flow, RunFolder.open(folder.path), RunState(), [TASKS])
    assert again.read([]) == [] and not again.pending
    assert [point[::2] for point in again.curve()] == [[2, 0.5]], "what cannot be read is missing, and not 0"
    flow.close()
