"""Evaluations: requested once, written in chunks under a lease, graded through their own queue, with a ledger of their
own.
"""

from __future__ import annotations

import time

import pytest

from rltf.buffer.flow import Flow, FlowAddress
from rltf.config import Config
from tests.support.buffer_programs import PASS, buffered, fates, group_of, program


def write(flow, chunk, actor):
    """What an actor does with a chunk; its group ids are its own."""
    for problem in chunk.problem_ids:
        name = f"{chunk.label}/{problem}/{actor}"
        assert flow.evaluation_work.push(
            group_of(name, 2, problem_id=problem, purpose="evaluation", label=chunk.label), actor
        )


def grade(flow):
    while claims := flow.evaluation_work.claim("executor-0", 8):
        flow.evaluation_work.ack_many("executor-0", [(claim, PASS) for claim in claims])


def test_an_evaluation_from_request_to_archive(flow):
    for _ in range(2):
        flow.evaluations.request("step-000000", 0, [["p", "q"], ["r"]], programs_per_problem=2)
    assert flow.evaluations.expected("step-000000") == 6 and not flow.evaluations.is_complete("step-000000")
    first, second = flow.evaluations.next_chunk("actor-0"), flow.evaluations.next_chunk("actor-1")
    assert (first.label, first.version, first.problem_ids) == ("step-000000", 0, ["p", "q"]) and second.problem_ids == [
        "r"
    ]
    assert flow.evaluations.next_chunk("actor-2") is None
    assert flow.evaluations.next_chunk("actor-0") == first, "an actor keeps its chunk, restarted too"
    for chunk, actor in ((first, "actor-0"), (second, "actor-1")):
        write(flow, chunk, actor)
        flow.evaluations.finish_chunk(chunk)
        flow.evaluations.finish_chunk(chunk)
    assert not flow.evaluations.is_complete("step-000000")
    assert flow.work.claim("executor-0", 8) == [], "training has a queue of its own"
    grade(flow)
    assert flow.evaluations.is_complete("step-000000")
    results = flow.evaluations.results("step-000000")
    assert sorted(sample.program.problem_id for sample in results) == ["p", "p", "q", "q", "r", "r"]
    assert flow.ledger.check() is None
    assert flow.ledger.counts("evaluation")["evaluated"] == 6 and flow.ledger.counts()["generated"] == 0
    flow.evaluations.close("step-000000")
    assert flow.evaluations.results("step-000000") == [] and flow.evaluations.is_complete("step-000000")
    archived = flow.telemetry.archived()
    assert [row.fate for row in archived.items] == ["evaluated"] * 6 and archived.items[
        0
    ].sample.program.label == "step-000000"


def test_an_evaluation_larger_than_the_archive_loses_nothing(redis_server):
    settings = {
        "actors": {"samples_per_problem": 2},
        "buffer": {"archive_capacity": 2},
        "evaluation": {"tasks": 3, "samples": 2},
    }
    flow = Flow(FlowAddress.from_config(Config.model_validate(settings), redis_server.url, "large"))
    buffered(flow, "a")
    flow.online.finish(1, fates(flow.online.draw(1, 1, 0)))
    flow.evaluations.request("step-000000", 0, [["p", "q", "r"]], programs_per_problem=2)
    write(flow, flow.evaluations.next_chunk("actor-0"), "actor-0")
    grade(flow)
    flow.evaluations.close("step-000000")
    archived = flow.telemetry.archived()
    assert archived.lost == 0 and [row.fate for row in archived.items] == ["trained"] * 2 + ["evaluated"] * 6
    flow.close()


def test_a_chunk_of_a_later_version_waits_for_an_actor_that_has_it(flow):
    flow.evaluations.request("step-000020", 20, [["p"]])
    assert flow.evaluations.next_chunk("actor-0", version=19) is None
    assert flow.evaluations.next_chunk("actor-0", version=20).version == 20


def test_a_chunk_of_a_dead_actor_is_offered_again_and_counts_once(make_flow):
    flow = make_flow(lease_s=2.0)
    flow.evaluations.request("step-000000", 0, [["p", "q"]], programs_per_problem=2)
    chunk = flow.evaluations.next_chunk("dying")
    flow.evaluation_work.push(group_of("half", 2, problem_id="p", purpose="evaluation", label=chunk.label), "dying")
    assert flow.evaluations.next_chunk("actor-0") is None
    time.sleep(2.1)
    assert flow.evaluations.next_chunk("actor-0") == chunk
    write(flow, chunk, "actor-0")
    flow.evaluations.finish_chunk(chunk)
    write(flow, chunk, "dying")
    flow.evaluations.finish_chunk(chunk)
    grade(flow)
    progress = flow.evaluations.progress("step-000000")
    assert progress.complete and progress.expected == progress.pushed == progress.finished == 4
    assert flow.evaluations.next_chunk("actor-0") is None
    assert flow.ledger.check() is None


def test_what_is_given_up_completes_the_evaluation_and_is_counted(flow):
    flow.evaluations.request("step-000000", 0, [["p", "q"]])
    chunk = flow.evaluations.next_chunk("actor-0")
    for problem in chunk.problem_ids:
        flow.evaluation_work.push([program(problem, 0, problem_id=problem, purpose="evaluation", label=chunk.label)])
    flow.evaluations.finish_chunk(chunk)
    for _ in range(3):
        for claim in flow.evaluation_work.claim("executor-0", 8):
            if claim.program.problem_id == "p":
                flow.evaluation_work.nack("executor-0", claim, "no sandbox")
            else:
                flow.evaluation_work.ack("executor-0", claim, PASS)
    progress = flow.evaluations.progress("step-000000")
    assert progress.complete and (progress.finished, progress.lost) == (2, 1)
    assert [sample.program.problem_id for sample in flow.evaluations.results("step-000000")] == ["q"]
    assert flow.ledger.check() is None
    flow.evaluations.close("step-000000")
    assert sorted(row.fate for row in flow.telemetry.archived().items) == ["dead_letter", "evaluated"]


def test_a_problem_named_twice_and_an_unknown_label_are_refused(flow):
    with pytest.raises(ValueError):
        flow.evaluations.request("x", 0, [["p"], ["p"]])
    with pytest.raises(KeyError):
        flow.evaluations.is_complete("x")


def test_a_label_that_other_weights_used_is_not_used_again(flow):
    assert flow.evaluations.fresh_label("step-000002", 4) == "step-000002"
    flow.evaluations.request("step-000002", 4, [["p"]])
    assert flow.evaluations.fresh_label("step-000002", 4) == "step-000002"
    assert flow.evaluations.fresh_label("step-000002", 5) == "step-000002-2"
    flow.evaluations.request("step-000002-2", 5, [["p"]])
    assert flow.evaluations.fresh_label("step-000002", 6) == "step-000002-3"
