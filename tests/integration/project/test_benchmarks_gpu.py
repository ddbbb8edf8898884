"""The GPU benchmark's way through the engine, on the CPU; and what it says where it cannot be run."""

from __future__ import annotations

import argparse

import pytest
import torch

from benchmarks import gpu
from rltf.config import UserError
from rltf.learner.engine import TrainingEngine
from rltf.learner.world import World


def test_a_machine_without_a_gpu_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith("error: --device cpu goes with --quick alone")
    if not torch.cuda.is_available():
        assert gpu.main([]) == 2
        assert capsys.readouterr().err.startswith("error: no GPU answers")
    with pytest.raises(UserError, match="are at least 1"):
        gpu.measure(argparse.Namespace(quick=True, device="cpu", steps=0, batch=1, micro_batch_tokens=1))


def test_the_operations_of_a_step_are_those_of_its_products() -> None:
    config = gpu.settings(gpu.QUICK, "cpu", 512, False)
    policy = gpu.policy_of(gpu.QUICK, config)
    engine = TrainingEngine(policy, config.learner, World())
    engine.reset_optimizer(config.learner.betas, 0.0)
    found = gpu.measure_steps(engine, gpu.QUICK, 4, 1)
    engine.close()
    width, inner, layers = 64, 128, 2
    prompts, programs = 4 * 40, 4 * 24
    attention, feed = 4 * width * width, 2 * width * inner
    encoder = prompts * layers * (attention + feed)
    # Queries and outputs of the attention to the prompt belong to the program's tokens, keys and values to the
    # prompt's.
    decoder = programs * layers * (attention + 2 * width * width + feed) + prompts * layers * 2 * width * width
    head = programs * width * gpu.QUICK.vocab_size
    scores = 4 * layers * 2 * width * (40 * 40 + 24 * 24 + 24 * 40)
    # Two operations each, and twice as many in the backward pass.
    assert found["operations"] == pytest.approx(3 * 2 * (encoder + decoder + head + scores), rel=0.05)
    assert found["step_s"] > 0 and found["program_tokens_per_s"] * found["step_s"] == pytest.approx(programs)
