"""Losses and gradients of the objectives against float64 computations written here from the equations, one program at a time."""

from __future__ import annotations

import copy
import math
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from learner_parts import characters, feedback, group, policy, written

from buffer.records import Group, Sample
from config import GrpoConfig, RltfConfig
from learner.baselines import Baseline
from learner.batching import plan, tensors
from learner.objectives.base import Totals
from learner.objectives.grpo import Grpo, advantages
from learner.objectives.rltf import Rltf
from learner.objectives.supervised import Supervised, totals_of_items
from learner.rewards import fine_feedback
from policy.log_probs import token_log_probs
from policy.policy import Policy

PROGRAM = "def f(xs):\n    y = xs[9]\n    y = xs[9]\n    return y\n"


def groups_of(toy: Policy) -> list[Group]:
    """Every outcome, spans at the first and last line and past the end, repeated lines, multi-byte text, a cut-off program."""
    prompt, other = [5, 6, 7], [9, 10, 11, 12, 13, 14]

    def sample(text: str, verdict: Any, prompt_ids: list[int], **fields: Any) -> Sample:
        return Sample(program=written(toy, text, prompt_ids, **fields), feedback=verdict)

    first = group(
        [
            sample(PROGRAM, feedback("runtime_error", "IndexError", 3), prompt),
            sample("größe = ü\n", feedback("runtime_error", "NameError", 1), prompt),
            sample("x = (1,", feedback("compile_error", "SyntaxError", 1, run=0), prompt, finish_reason="length"),
            sample("x = 1\ny = = 2", feedback("compile_error", "SyntaxError", 9, run=0), prompt),
            sample("def f(xs):\nreturn 1\n", feedback("compile_error", "IndentationError", 2, run=0), prompt),
            sample("while True: pass\n", feedback("runtime_error", "TimeLimit", 1), prompt),
        ],
        greedy=sample("print(2)\n", feedback("failure", passed=1), prompt),
    )
    second = group(
        [
            sample("print(1)\n", feedback("pass", passed=5), other),
            sample("print(3)\n", feedback("failure", passed=3), other),
            sample("print(4)\n", feedback("failure", passed=0), other),
        ],
        greedy=sample("1 / 0\n", feedback("runtime_error", "ZeroDivisionError", 1), other),
        problem_id="b",
    )
    third = group([sample("print(5)\n", feedback("failure", passed=4), other)], greedy=second.greedy, problem_id="b")
    return [first, second, third]


def exact_log_probs(toy: Policy, model: Any, prompt_ids: list[int], token_ids: list[int]) -> torch.Tensor:
    """log p(w_t | D, w_1..t-1) of one program, alone and unpadded, in the model's own (float64) numbers."""
    if toy.is_encoder_decoder:
        inputs = {"input_ids": torch.tensor([prompt_ids]), "decoder_input_ids": torch.tensor([[toy.decoder_start_id, *token_ids[:-1]]])}
        logits = model(**inputs).logits[0]
    else:
        logits = model(input_ids=torch.tensor([prompt_ids + token_ids])).logits[0, len(prompt_ids) - 1 : -1]
    return torch.log_softmax(logits, -1)[range(len(token_ids)), token_ids]


def ours(
    toy: Policy, objective: Any, groups: list[Group], micro_batch_size: int = 4
) -> tuple[float, dict[str, torch.Tensor], dict[str, float]]:
    prepared = objective.prepare(groups)
    toy.model.zero_grad()
    total, shares = 0.0, {}
    for micro_batch in plan(prepared.items, micro_batch_size).micro_batches:
        batch, signal = tensors(toy, micro_batch)
        result = token_log_probs(toy.model, batch)
        part = objective.loss(result.values, result.mask, signal, prepared.totals)
        part.loss.backward()
        total += float(part.loss.detach())
        shares = {name: shares.get(name, 0.0) + float(value) for name, value in part.sums.items()}
    return total, {name: value.grad.clone() for name, value in toy.model.named_parameters()}, shares


def assert_same(toy: Policy, model: Any, loss: torch.Tensor, found: tuple[float, dict[str, torch.Tensor], Any]) -> None:
    loss.backward()
    assert found[0] == pytest.approx(float(loss.detach()), rel=1e-5)
    scale = max(float(value.grad.abs().max()) for value in model.parameters())
    for name, value in model.named_parameters():
        np.testing.assert_allclose(found[1][name].double(), value.grad, rtol=1e-4, atol=2e-6 * scale, err_msg=name)


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("normalise", ["sequence_sum", "token_mean"])
def test_rltf_is_the_papers_equations(family: str, normalise: Any) -> None:
    toy = policy(family)
    groups = groups_of(toy)
    model = copy.deepcopy(toy.model).double()
    # (R_coarse, R_fine, line of the fine term or "all", R_adaptive or None) by hand, Eq. 3-5 and Table 2
    by_hand: list[list[tuple[float, float, Any, float | None]]] = [
        [
            (-0.6, -0.3, "    y = xs[9]\n    return", None),  # the second of two equal lines: found by what follows it
            (-0.6, -0.3, "größe = ü\n", None),
            (-1.0, -0.3, "all", None),
            (-1.0, -0.3, "y = = 2", None),
            (-1.0, 0.0, "all", None),
            (-0.6, -0.3, "all", None),
        ],
        [(1.0, 0.0, None, None), (-0.3, 0.0, None, -0.3 + 1.3 * 3 / 5), (-0.3, 0.0, None, -0.3)],
        [(-0.3, 0.0, None, -0.3 + 1.3 * 4 / 5)],
    ]
    # (R_coarse, R_adaptive) of the baselines: greedy, greedy, and the best of the second visit, which passed
    baselines = [(-0.3, -0.3 + 1.3 / 5), (-0.6, -0.6), (1.0, 1.0)]
    expected = torch.zeros((), dtype=torch.float64)
    terms = dict.fromkeys(("coarse", "fine", "adaptive"), 0.0)
    number = tokens = 0
    for found, rewards, (base_coarse, base_adaptive) in zip(groups, by_hand, baselines, strict=True):
        for sample, (coarse, fine, line, adaptive) in zip(found.samples, rewards, strict=True):
            ids = sample.program.token_ids
            log_p = exact_log_probs(toy, model, sample.program.prompt_ids, ids)
            length = len(ids)
            parts = {"coarse": -(coarse - base_coarse) * log_p.sum()}
            if fine:
                start, end = (0, length) if line == "all" else tokens_of(toy, sample, line)
                parts["fine"] = -length / (end - start) * fine * log_p[start:end].sum()
            if adaptive is not None:
                parts["adaptive"] = -(adaptive - base_adaptive) * log_p.sum()
            for name, part in parts.items():
                terms[name] += float(part.detach())
                expected = expected + part
            number, tokens = number + 1, tokens + length
    divisor = number if normalise == "sequence_sum" else tokens
    found_values = ours(toy, Rltf(RltfConfig(normalise=normalise)), groups)
    assert_same(toy, model, expected / divisor, found_values)
    for name, value in terms.items():
        assert found_values[2][f"loss/{name}"] == pytest.approx(value / divisor, rel=1e-5)


def tokens_of(toy: Policy, sample: Sample, line: str) -> tuple[int, int]:
    """Tokens of the first line of `line`, found by decoding every prefix."""
    begin = sample.program.text.index(line)
    end = begin + len(line.split("\n")[0] + ("\n" if "\n" in line else ""))
    inside = []
    for index in range(len(sample.program.token_ids)):
        before = toy.tokenizer.decode(sample.program.token_ids[:index], skip_special_tokens=True).replace("\ufffd", "")
        after = toy.tokenizer.decode(sample.program.token_ids[: index + 1], skip_special_tokens=True)
        if len(before) < end and len(after) > begin and sample.program.token_ids[index] != toy.eos_id:
            inside.append(index)
    return inside[0], inside[-1] + 1


def test_rltf_terms_can_be_switched_off() -> None:
    toy = policy()
    groups = groups_of(toy)
    broken, failed = groups[0].samples[0], groups[1].samples[1]

    def weights(sample: Sample, **fields: Any) -> Any:
        config = RltfConfig(**fields)
        return Rltf(config).weights(sample, Baseline(-0.3, -0.04), fine_feedback(sample.program, sample.feedback, config.fine_reward))

    full = weights(broken)
    assert full[0].any() and full[1].any() and not full[2].any()
    assert not weights(broken, coarse=False)[0].any()
    assert not weights(broken, fine=False)[1].any()
    assert weights(failed)[2].any() and not weights(failed, adaptive=False)[2].any()
    np.testing.assert_allclose(weights(broken, fine_reward=-0.6)[1], 2 * full[1])


def test_rltf_fates_and_row() -> None:
    toy = policy()
    groups = groups_of(toy)
    same = group([Sample(program=characters("a"), feedback=feedback("pass", passed=5))], problem_id="b")
    objective = Rltf(RltfConfig())
    objective.prepare(groups)
    prepared = objective.prepare([same])
    assert prepared.items == [] and prepared.fates == {same.samples[0].program.id: "no_signal"} and prepared.totals.sequences == 1
    prepared = Rltf(RltfConfig()).prepare(groups)
    assert list(prepared.fates.values()).count("baseline") == 2  # the third visit shares the second's greedy program
    assert prepared.row["fine"] == {"U_line": 3, "U_global": 2, "U_ignore": 1, "no_error": 4}
    assert prepared.row["baselines"][groups[2].id] == [1.0, 1.0]


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_grpo_is_the_clipped_surrogate(family: str) -> None:
    toy = policy(family)
    groups = groups_of(toy)
    model = copy.deepcopy(toy.model).double()
    low, high = 0.1, 0.15
    rng = np.random.default_rng(0)
    expected = torch.zeros((), dtype=torch.float64)
    tokens = clipped_tokens = forwarded = 0
    drawn = []
    for found in groups:
        rewards = [1.0 if sample.feedback.outcome == "pass" else 0.0 for sample in found.samples]
        mean = sum(rewards) / len(rewards)
        deviation = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1)) if len(rewards) > 1 else 0.0
        samples = []
        for sample, reward in zip(found.samples, rewards, strict=True):
            ids = sample.program.token_ids
            log_p = exact_log_probs(toy, model, sample.program.prompt_ids, ids)
            behaviour = (log_p.detach().numpy() + rng.normal(0, 0.2, len(ids))).astype(np.float32)
            program = msgspec.structs.replace(sample.program, log_probs=behaviour.tolist())
            samples.append(Sample(program=program, feedback=sample.feedback))
            tokens += len(ids)
            if not deviation:
                continue
            advantage = (reward - mean) / (deviation + 1e-4)
            for t in range(len(ids)):
                ratio = torch.exp(log_p[t] - float(behaviour[t]))
                bound = torch.clamp(ratio, 1 - low, 1 + high) * advantage
                clipped_tokens += bool(bound < ratio * advantage)
                expected = expected - torch.minimum(ratio * advantage, bound)
            forwarded += len(ids)
        drawn.append(group(samples))
    found_values = ours(toy, Grpo(GrpoConfig(clip_low=low, clip_high=high)), drawn)
    assert_same(toy, model, expected / tokens, found_values)
    assert 0 < found_values[2]["per_token/clip_share"] == clipped_tokens < forwarded
    assert found_values[2]["per_token/kl_to_sampler"] / forwarded == pytest.approx(0.02, rel=0.5)  # half the variance of 0.2


def test_grpo_forwards_only_what_has_an_advantage() -> None:
    toy = policy()
    groups = groups_of(toy)
    prepared = Grpo(GrpoConfig()).prepare(groups)
    assert [item.id for item in prepared.items] == [sample.program.id for sample in groups[1].samples]
    assert set(prepared.fates.values()) == {"trained", "no_signal", "baseline"}
    assert prepared.totals.sequences == 10  # what is not forwarded still counts in the mean: the gradient is that of all programs
    ratio = Grpo(GrpoConfig(reward="pass_ratio")).prepare(groups)
    assert len(ratio.items) == 3 and ratio.rewards[6:9] == pytest.approx([1.0, 0.6, 0.0])
    assert advantages([1.0]) == [0.0] and advantages([0.5, 0.5]) == [0.0, 0.0]
    assert advantages([1.0, 0.0]) == pytest.approx([0.5 / (math.sqrt(0.5) + 1e-4), -0.5 / (math.sqrt(0.5) + 1e-4)])


@pytest.mark.parametrize("normalise", ["sequence_sum", "token_mean"])
def test_supervised_is_cross_entropy(normalise: Any) -> None:
    toy = policy("t5")
    model = copy.deepcopy(toy.model).double()
    pairs = [([5, 6, 7], [8, 9, 10, 1]), ([5], [11, 1]), ([7, 8, 9, 10, 11], [12])]
    supervised = Supervised(normalise)
    items = supervised.items(pairs, "c")
    totals = totals_of_items(items)
    expected = -sum(exact_log_probs(toy, model, *pair).sum() for pair in pairs) / (3 if normalise == "sequence_sum" else 7)
    loss = torch.zeros(())
    for micro_batch in plan(items, 2).micro_batches:
        batch, signal = tensors(toy, micro_batch)
        result = token_log_probs(toy.model, batch)
        loss = loss + supervised.loss(result.values, result.mask, signal, totals).loss
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert totals == Totals(3, 7)
