"""Redis's memory with everything full, beside the bound that the plan states."""

from __future__ import annotations

import random

from benchmarks.buffer import program
from rltf.config import Config
from rltf.monitor.memory import sample_bytes
from tests.support.buffer_programs import fates, grade_all, places


def test_a_full_flow_takes_no_more_memory_than_its_bound(make_flow):
    config = Config(policy={"max_prompt_tokens": 800, "max_program_tokens": 700})
    flow = make_flow(
        capacity=64, work_capacity=32, archive_capacity=64, max_staleness=None, group_size=8, groups_per_step=8
    )
    rng = random.Random(0)

    def push(*names: str) -> None:
        assert all(flow.work.push_many([[program(name, number, rng) for number in range(8)] for name in names]))

    push("warm", "up")  # the server loads its scripts
    grade_all(flow)
    flow.online.finish(0, fates(flow.online.draw(0, 2, 0)))
    flow.telemetry.archived(flow.telemetry.archived().position)
    before = flow.client.info("memory")["used_memory"]
    for step in (1, 2, 3):
        for half in ("abcd", "efgh"):
            push(*(f"{step}{name}" for name in half))
            grade_all(flow)
        if step < 3:
            flow.online.finish(step, fates(flow.online.draw(step, 8, 0)))
    push(*"wxyz")
    assert places(flow) == {"generated": 240, "queued": 32, "buffered": 64, "trained": 144}
    grown = flow.client.info("memory")["used_memory"] - before
    bound = sample_bytes(config) * (64 + 32 + 64)
    assert 0.6 * bound < grown < bound
