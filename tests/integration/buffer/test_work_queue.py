"""The work queue: bounded, claimed under a lease, three tries, groups whole, malformed set aside."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest

from rltf.buffer.flow import Flow
from rltf.buffer.records import decode_program, source_of
from tests.support.buffer_programs import PASS, fates, grade_all, group_of, names, places, program, whole


def test_a_group_travels_from_push_to_its_fate(flow):
    pushed = group_of("g", 2, greedy=True)
    assert flow.work.push(pushed)
    assert places(flow) == {"generated": 3, "queued": 3}
    claims = flow.work.claim("executor-0", 10)
    assert [claim.program for claim in claims] == [source_of(each) for each in pushed], "an executor is given no tokens"
    assert whole(flow, claims) == pushed and flow.work.length() == 0 and flow.ledger.counts()["executing"] == 3
    assert flow.work.ack("executor-0", claims[0], PASS)
    assert places(flow) == {"generated": 3, "executing": 2, "waiting": 1}
    assert flow.online.draw(1, 1, 0) is None
    assert flow.work.ack_many("executor-0", [(claim, PASS) for claim in claims[1:]]) == [True, True]
    assert places(flow) == {"generated": 3, "buffered": 3}
    (group,) = flow.online.draw(1, 1, 0)
    assert [sample.program for sample in group.samples] == pushed[:2] and group.greedy.program == pushed[2]
    assert group.samples[0].feedback.executor == "executor-0" and group.problem_id == "problem of g"
    assert places(flow) == {"generated": 3, "buffered": 3}
    flow.online.finish(1, fates([group], "no_signal"))
    assert places(flow) == {"generated": 3, "no_signal": 2, "baseline": 1}


def test_a_group_that_does_not_fit_is_refused_whole_and_a_known_one_ignored(make_flow):
    flow = make_flow(work_capacity=5)
    assert flow.work.push(group_of("a", 3))
    assert not flow.work.push(group_of("b", 3))
    assert flow.work.push(group_of("a", 3))
    assert places(flow) == {"generated": 3, "queued": 3}
    flow.work.claim("executor-0", 1)
    assert flow.work.push(group_of("b", 3)), "claimed programs do not count against the bound"
    assert grade_all(flow) == 5
    assert flow.work.push(group_of("b", 3)), "known after it has left the queue too"
    assert places(flow)["generated"] == 6


@pytest.mark.parametrize(
    "group",
    [
        [],
        [program("g", 0), program("h", 0)],
        [program("g", 0), program("g", 0)],
        [program("g", 0, purpose="evaluation")],
    ],
)
def test_what_is_no_group_is_not_pushed(flow, group):
    with pytest.raises(ValueError):
        flow.work.push(group)
    assert places(flow) == {}


def test_a_claim_waits_for_the_first_program_and_not_for_all(flow):
    assert flow.work.claim("executor-0", 4, block_s=0.05) == []
    patient = Flow(dataclasses.replace(flow.address, timeout_s=3600.0))

    def claim(claimed):
        claimed.append(patient.work.claim("executor-0", 4, block_s=3600))

    for name in "gh":
        claimed = []
        waiting = threading.Thread(target=claim, args=(claimed,), daemon=True)
        waiting.start()
        time.sleep(0.1)
        flow.work.push(group_of(name))
        waiting.join(60)
        assert [len(claims) for claims in claimed] == [2], (
            "the push rings: without it the claim would look again after half an hour"
        )
    patient.close()


def test_a_claim_may_wait_longer_than_the_time_limit_of_an_answer(flow):
    hasty = Flow(dataclasses.replace(flow.address, timeout_s=0.2))
    pushing = threading.Timer(0.6, lambda: flow.work.push(group_of("g")))
    pushing.start()
    assert len(hasty.work.claim("executor-0", 1, block_s=60)) == 1
    pushing.join()
    hasty.close()


def test_what_is_not_refreshed_is_claimed_by_another_and_the_first_verdict_counts(make_flow):
    flow = make_flow(lease_s=3.0)
    flow.work.push(group_of("g"))
    slow = flow.work.claim("slow", 2)
    for _ in range(4):
        time.sleep(0.8)
        assert flow.work.renew("slow", slow) == slow
        assert flow.work.claim("other", 2) == []
    time.sleep(3.1)
    taken = flow.work.claim("other", 2)
    assert [claim.entry for claim in taken] == [claim.entry for claim in slow] and taken[0].tries == 1
    assert flow.work.renew("slow", slow) == []
    flow.work.nack("slow", slow[0], "no longer its own")
    assert flow.ledger.counts()["executing"] == 2
    assert flow.work.ack("slow", slow[0], PASS)
    assert flow.work.ack_many("other", [(claim, PASS) for claim in taken]) == [False, True]
    assert places(flow) == {"generated": 2, "buffered": 2}
    assert flow.ledger.events()["reclaimed"] == 2


def test_refreshed_claims_at_the_front_do_not_hide_forsaken_ones(make_flow):
    flow = make_flow(lease_s=3.0, work_capacity=1000)
    for number in range(40):
        flow.work.push(group_of(f"g{number}"))
    held = flow.work.claim("slow", 60)
    lost = flow.work.claim("dead", 20)
    time.sleep(3.1)
    flow.work.renew("slow", held)
    found = [claim.program.id for _ in range(40) for claim in flow.work.claim("other", 1)]
    assert sorted(found) == sorted(claim.program.id for claim in lost)


def test_three_failed_tries_make_a_dead_letter_and_the_group_goes_on_without_it(flow):
    flow.work.push(group_of("g", 3))
    for attempt in range(3):
        claims = flow.work.claim("executor-0", 10)
        bad = next(claim for claim in claims if claim.program.id == "g.1")
        assert bad.tries == attempt
        flow.work.ack_many("executor-0", [(claim, PASS) for claim in claims if claim is not bad])
        flow.work.nack("executor-0", bad, "the sandbox could not be made")
    assert places(flow) == {"generated": 3, "buffered": 2, "dead_letter": 1}
    (letter,) = flow.work.dead_letters()
    assert (letter.program_id, letter.reason, letter.fate) == ("g.1", "the sandbox could not be made", "dead_letter")
    (group,) = flow.online.draw(1, 1, 0)
    assert [sample.program.id for sample in group.samples] == ["g.0", "g.2"]
    with pytest.raises(KeyError):
        flow.online.finish(1, {"g.1": "trained"})


def test_a_group_of_dead_letters_never_enters_the_buffer(make_flow):
    flow = make_flow(lease_s=0.05)
    flow.work.push(group_of("g"))
    for _ in range(3):
        assert len(flow.work.claim("dying", 10)) == 2
        time.sleep(0.06)
    assert flow.work.claim("other", 10) == []
    assert places(flow) == {"generated": 2, "dead_letter": 2}
    assert flow.online.draw(1, 1, 0) is None
    assert [(row.fate, row.sample) for row in flow.telemetry.archived().items] == [("dead_letter", None)] * 2


def test_giving_back_what_was_not_started_is_no_try(flow):
    flow.work.push(group_of("g"))
    for _ in range(5):
        for claim in flow.work.claim("executor-0", 10):
            assert claim.tries == 0
            flow.work.nack("executor-0", claim, "stopping", tried=False)
    assert places(flow) == {"generated": 2, "queued": 2}


def test_a_restarted_worker_gives_back_what_it_held_at_once(flow):
    flow.work.push(group_of("g"))
    flow.work.claim("executor-0", 10)
    assert flow.work.requeue_consumer("executor-1") == 0
    assert flow.work.requeue_consumer("executor-0") == 2
    assert [claim.tries for claim in flow.work.claim("executor-0", 10)] == [1, 1]


def test_malformed_programs_are_set_aside_and_counted(flow):
    flow.work.push(group_of("g", 3))
    key = flow.work._keys.group("g")
    flow.client.hset(key, "source:g.0", b"\xc1 no msgpack")
    newer = flow.client.hget(key, "source:g.1").replace(b"schema\x02", b"schema\x63")
    assert newer != flow.client.hget(key, "source:g.1")
    flow.client.hset(key, "source:g.1", newer)
    flow.client.xadd(flow.work._keys.work, {"something": "else"})
    assert [claim.program.id for claim in flow.work.claim("executor-0", 10)] == ["g.2"]
    counts = flow.ledger.counts()
    assert (counts["generated"], counts["malformed"], counts["executing"]) == (4, 3, 1)
    assert flow.ledger.check() is None
    flow.work.requeue_consumer("executor-0")
    grade_all(flow)
    assert names(flow.online.draw(1, 1, 0)) == ["g"]


def test_a_malformed_verdict_is_found_at_the_draw(flow):
    flow.work.push(group_of("g", 3))
    grade_all(flow)
    flow.client.hset(flow.work._keys.group("g"), "feedback:g.1", b"{}")
    for _ in range(2):
        (group,) = flow.online.draw(1, 1, 0)
        assert [sample.program.id for sample in group.samples] == ["g.0", "g.2"]
        assert places(flow) == {"generated": 3, "buffered": 2, "malformed": 1}
    flow.online.finish(1, fates([group]))
    assert places(flow) == {"generated": 3, "trained": 2, "malformed": 1}
    archived = flow.telemetry.archived().items
    assert [row.fate for row in archived] == ["trained", "malformed", "trained"] and archived[1].sample is None
    assert decode_program(archived[1].program).id == "g.1"


def test_the_ledger_says_when_it_does_not_balance(flow):
    flow.work.push(group_of("g"))
    flow.client.hincrby(flow.work._keys.counts, "queued", -1)
    assert "2 programs were generated, but 1 are accounted for" in flow.ledger.check()
    flow.client.hincrby(flow.work._keys.counts, "executing", 1)
    assert "1 are counted as queued, but there are 2 unclaimed entries" in flow.ledger.check()
    flow.client.hincrby(flow.work._keys.counts, "queued", 1)
    flow.client.hincrby(flow.work._keys.counts, "executing", -1)
    assert flow.ledger.check() is None
    grade_all(flow)
    flow.client.delete(flow.work._keys.group("g"))
    assert "2 are counted as buffered, but there are 0" in flow.ledger.check()
