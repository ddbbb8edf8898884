"""The critic: what it computes, that it learns, that its factor is the released code's, and the command that makes one
from a run.
"""

from __future__ import annotations

import copy
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rltf import config as configuration
from rltf import launch
from rltf.buffer.records import Archived, Outcome, Sample, encode
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, RltfConfig, UserError
from rltf.driver.inputs import Inputs
from rltf.learner.batching import plan
from rltf.learner.critic import OUTCOME_CLASSES, Critic, items_of, load_critic, train_critic
from rltf.learner.engine import TrainingEngine
from rltf.learner.export import save_model
from rltf.learner.objectives.rltf import Rltf
from rltf.learner.world import World
from rltf.monitor.run_folder import RunFolder
from rltf.policy.policy import Policy, build_policy
from rltf.program import DONE, FAILED, WRONG_INPUT
from tests.support.learner_parts import CRITIC_TOKENS, characters, feedback, group, policy
from tests.support.learner_run import Run


def samples_of(number: int, seed: int = 0) -> list[Sample]:
    """Programs whose outcome shows in one of their tokens."""
    rng = random.Random(seed)
    found = []
    for _ in range(number):
        outcome: Outcome = rng.choice(OUTCOME_CLASSES)
        ids = [rng.randrange(20, 200) for _ in range(rng.randrange(2, 9))]
        ids[rng.randrange(len(ids))] = 4 + OUTCOME_CLASSES.index(outcome)
        error = {"compile_error": "SyntaxError", "runtime_error": "NameError"}.get(outcome)
        verdict = feedback(outcome, error, 1 if error else None, 2 if outcome == "failure" else 0)
        length = len(ids) + 1
        columns: dict[str, Any] = {"token_ids": [*ids, 2], "log_probs": [-1.0] * length, "offsets": [*range(length)]}
        found.append(Sample(program=characters("x" * len(ids), **columns), feedback=verdict))
    return found


def probabilities(toy: Policy, model: Any, head: Any, sample: Sample) -> torch.Tensor:
    """(T, 4) softmax(h_t), one program alone in float64; h_t from the state that has read everything before token t."""
    prompt, ids = sample.program.prompt_ids, sample.program.token_ids
    if toy.is_encoder_decoder:
        decoder = torch.tensor([[toy.decoder_start_id, *ids[:-1]]])
        states = model(
            input_ids=torch.tensor([prompt]), decoder_input_ids=decoder, output_hidden_states=True
        ).decoder_hidden_states[-1][0]
        states = states * toy.model.config.d_model**-0.5
    else:
        hidden = model(input_ids=torch.tensor([prompt + ids[:-1]]), output_hidden_states=True).hidden_states[-1][0]
        states = hidden[len(prompt) - 1 :]
    first, _, last = head
    values = (
        torch.relu(states @ first.weight.T.double() + first.bias.double()) @ last.weight.T.double() + last.bias.double()
    )
    return torch.softmax(values, dim=-1)


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("kind", [0, 1])
def test_the_factor_is_the_probability_of_the_true_outcome(family: str, kind: int) -> None:
    toy = policy(family)
    language_model = copy.deepcopy(toy.model).double()
    critic = Critic(toy, CRITIC_TOKENS)
    members = samples_of(12)
    own = policy(family)
    objective = Rltf(
        RltfConfig(preset="released_code", baseline="none", decoder_only_lines=True), own.is_encoder_decoder, 64
    )
    prepared = objective.prepare([group(members)])
    mine = critic.weigh(plan(own, prepared.items, CRITIC_TOKENS), (True, kind == 1, True))
    weighed = {item.id: item.weights.sum(0) for batch in mine.micro_batches for item in batch.items}
    assert len(weighed) == 12
    rewards = {"pass": 1.0, "failure": -0.3 + 1.3 * 2 / 5, "runtime_error": -0.6, "compile_error": -1.0}
    head = toy.model.get_output_embeddings()
    for sample in members:
        outcome, length = sample.feedback.outcome, len(sample.program.token_ids)
        with torch.no_grad():
            q = probabilities(toy, language_model, head, sample)[:, OUTCOME_CLASSES.index(outcome)].numpy()
        # The line's text is the whole program but for the end of sequence, which has none.
        mask = np.array([1.0] * (length - 1) + [0.0]) if outcome.endswith("error") else np.zeros(length)
        expected = q * (rewards[outcome] - 0.3 * mask) if kind == 1 else q * rewards[outcome] - 0.3 * mask
        np.testing.assert_allclose(weighed[sample.program.id], expected, atol=1e-5)
    assert not np.allclose(q, 0.25, atol=1e-3)


def test_it_learns_and_is_the_same_when_loaded(tmp_path: Path) -> None:
    toy = policy()
    critic = Critic(toy, CRITIC_TOKENS * 4)
    items = items_of(samples_of(300))
    report = train_critic(critic, items, steps=120, batch_size=32, learning_rate=1e-2, seed=0)
    assert report.accuracy > 0.8 > 0.5 > report.majority and report.loss < 0.5 and report.programs == 300
    critic.save(tmp_path / "critic", {"run": "test"})
    loaded = load_critic(tmp_path / "critic", policy(), CRITIC_TOKENS)
    for ours, theirs in zip(loaded.logits(items[:20]), critic.logits(items[:20]), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in loaded.policy.model.parameters())
    with pytest.raises(UserError, match="its tokenizer is not the policy's"):
        load_critic(tmp_path / "critic", policy(vocab_size=261), CRITIC_TOKENS)
    with pytest.raises(UserError, match="there is no critic in this folder"):
        load_critic(tmp_path, policy(), CRITIC_TOKENS)
    with pytest.raises(UserError, match="at least 20 programs"):
        train_critic(critic, items[:5], steps=1, batch_size=1, learning_rate=1e-2, seed=0)


def test_a_critic_from_the_samples_of_a_run_weighs_another_run(
    redis_server: EmbeddedRedis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = {"policy": {"max_prompt_tokens": 64, "max_program_tokens": 24}, "warm_start": {"steps": 1}}
    folder = RunFolder.create(Config.model_validate({"run": {"folder": str(tmp_path), "name": "earlier"}} | shape))
    run = Run(
        redis_server,
        tmp_path,
        warm_start={"steps": 10},
        learner={
            "objective": "rltf",
            "steps": 2,
            "supervised_ratio": 1,
            "supervised_mixing": "micro_batch",
            "warm_start_threads": 1,
        },
        evaluation={"every": 0, "tasks": 1},
        rltf={"preset": "released_code", "critic": str(tmp_path / "critic"), "kl": 0.1},
    )
    toy = build_policy(run.spec)
    engine = TrainingEngine(toy, run.config.learner, World())
    save_model(engine, toy, folder.path / "warm_start")
    engine.close()
    folder.add_samples(
        Archived(
            id=sample.program.id,
            group_id="g",
            problem_id="a",
            fate="trained",
            program=encode(sample.program),
            feedback=encode(sample.feedback),
        )  # fmt: skip
        for sample in samples_of(30)
    )
    folder.flush()
    arguments = ["train-critic", str(folder.path), "--out", str(tmp_path / "critic"), "--steps", "3"]
    (tmp_path / "file").write_text("")
    assert launch.main([*arguments[:3], str(tmp_path / "file" / "below"), "--steps", "9999"]) == WRONG_INPUT
    assert "cannot be written: Not a directory" in capsys.readouterr().err
    assert launch.main([*arguments, "--learning-rate", "1e30"]) == FAILED
    assert (
        "train-critic failed: the critic's loss of step" in capsys.readouterr().err
        and not (tmp_path / "critic").exists()
    )
    assert launch.main(arguments) == DONE
    assert launch.main(arguments) == WRONG_INPUT, "the folder is there now"
    with run.others():
        run.learner.run(threading.Event())
    rows = run.rows()
    run.flow.close()
    assert len(rows) == 2 and all(row["seconds"]["frozen"] > 0 for row in rows)
    assert set(rows[0]["loss_terms"]) == {"coarse", "fine", "adaptive", "kl", "supervised"}


def test_weighting_without_a_critic_is_refused() -> None:
    with pytest.raises(UserError, match=r"set rltf\.critic, or rltf\.critic_weighting false"):
        configuration.load(None, {"learner.objective": "rltf", "actors.greedy": "true", "rltf.preset": "released_code"})


def test_a_critic_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    overrides = {
        "learner.objective": "rltf",
        "actors.greedy": "true",
        "rltf.preset": "released_code",
        "rltf.critic": str(tmp_path),
    }
    with pytest.raises(UserError, match="there is no critic in this folder"):
        Inputs.from_config(configuration.load(None, overrides))
