"""Objective, engine and sampling together: what is rewarded becomes more likely."""

from __future__ import annotations

import itertools

import pytest
import torch

from rltf.actors.sampling_engine import SamplingEngine
from rltf.buffer.records import Group, Sample
from rltf.config import Config
from rltf.learner.engine import TrainingEngine
from rltf.learner.objectives import make_objective
from rltf.learner.world import World
from tests.support.learner_parts import characters, feedback, group, learner_config, policy

PROMPTS = [[5, 6, 7], [9, 8]]
GOOD = range(4, 70)
"""A program passes if its first token is one of these: a quarter of all."""


@pytest.mark.parametrize("name", ["grpo", "rltf", "reinforce", "rloo", "ppo_clip"])
def test_a_rewarded_program_becomes_likely(name: str) -> None:
    config = Config.model_validate(
        {"learner": {"objective": name}, "actors": {"greedy": True}, "policy": {"max_program_tokens": 4}}
    )
    objective = make_objective(config, encoder_decoder=False)
    assert objective is not None
    toy = policy(max_program_tokens=4)
    sampler = SamplingEngine(toy, "cpu")
    generator = torch.Generator().manual_seed(0)
    numbers = itertools.count()
    engine = TrainingEngine(toy, learner_config(), World())
    engine.reset_optimizer((0.9, 0.95), 0.0)

    def draw() -> list[Group]:
        groups = []
        for index, (prompt, completions) in enumerate(
            zip(PROMPTS, sampler.sample(PROMPTS, 48, True, generator=generator), strict=True)
        ):
            samples, greedy = [], None
            for completion in completions:
                passed = completion.token_ids[0] in GOOD
                program = characters(
                    "x" * len(completion.token_ids), id=f"s{next(numbers)}", prompt_ids=prompt, token_ids=completion.token_ids,
                    log_probs=completion.log_probs, finish_reason=completion.finish_reason, greedy=completion.greedy,
                )  # fmt: skip
                verdict = feedback("pass", passed=5) if passed else feedback("runtime_error", "NameError", 1)
                sample = Sample(program=program, feedback=verdict)
                if completion.greedy:
                    greedy = sample
                else:
                    samples.append(sample)
            groups.append(group(samples, greedy, problem_id=f"p{index}"))
        return groups

    rates = []
    for _ in range(30):
        groups = draw()
        samples = [sample for found in groups for sample in found.samples]
        rates.append(sum(sample.feedback.outcome == "pass" for sample in samples) / len(samples))
        prepared = objective.prepare(groups)
        mine = engine.plan(prepared.items)
        if mine.micro_batches:
            engine.step(mine.micro_batches, objective.loss, prepared.totals, 1e-2)
    engine.close()
    assert rates[0] < 0.5 and sum(rates[-3:]) / 3 > 0.75
