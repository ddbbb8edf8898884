"""A whole run in which every step is both reinforced and supervised, held to a reference policy, with every guard on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rltf.buffer.server import EmbeddedRedis
from tests.support.declared import undeclared
from tests.support.learner_run import Run


def test_a_run_with_the_supervised_term_in_every_step(redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    run = Run(
        redis_server,
        tmp_path,
        warm_start={"steps": 10},
        learner={
            "objective": "ppo_clip",
            "steps": 3,
            "supervised_ratio": 0.5,
            "supervised_mixing": "micro_batch",
            "warm_start_threads": 1,
            "learning_rate": 1e-2,
            "warmup_steps": 0,
        },
        evaluation={"every": 0, "tasks": 1},
        ppo_clip={
            "fine": True,
            "reward": "adaptive",
            "baseline": "best",
            "kl": 0.1,
            "log_prob_floor": -8,
            "importance_cap": 2,
        },
    )
    with run.others():
        run.learner.run(threading.Event())
    rows = run.rows()
    run.flow.close()
    assert [row["objective"] for row in rows] == ["ppo_clip"] * 3 and not undeclared("step", rows)
    for row in rows:
        assert (
            set(row["loss_terms"]) == {"policy", "fine", "supervised", "kl"}
            and row["supervised_programs"] == 8
            and row["samples"] == 8
        )
        assert sum(row["loss_terms"].values()) == pytest.approx(row["loss"], abs=1e-5)
        assert row["loss_terms"]["supervised"] > 0 and 0 <= row["zero_advantage_share"] <= 1
        assert (
            0 <= row["truncated_share"] <= 1
            and 0 <= row["capped_share"] <= 1
            and row["floor_share"] >= 0
            and row["kl_to_sampler"] >= 0
        )
    # The reference is the policy that began to train: at the first step nothing has moved.
    assert rows[0]["kl_to_reference"] < 1e-4 < rows[2]["kl_to_reference"]
