"""What the objectives make of groups: who is trained on, what is counted, what is kept.

Their equations: test_learner_equations.py.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from rltf import config as configuration
from rltf.buffer.records import Group, Sample
from rltf.config import Config, GrpoConfig, PpoClipConfig, ReinforceConfig, RltfConfig, UserError
from rltf.learner.batching import plan, tensors
from rltf.learner.objectives import OBJECTIVES, make_objective, with_supervised
from rltf.learner.objectives.base import LossInputs, Totals, not_finite, totals_of
from rltf.learner.objectives.grpo import Grpo, advantages
from rltf.learner.objectives.ppo_clip import PpoClip, whitened
from rltf.learner.objectives.reinforce import Reinforce
from rltf.learner.objectives.rloo import leave_one_out
from rltf.learner.objectives.rltf import Rltf
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.rewards import fine_feedback
from rltf.policy.log_probs import token_log_probs
from rltf.policy.policy import Policy
from tests.support.learner_parts import characters, feedback, group, policy, written

LIMIT = 64


def groups_of(toy: Policy) -> list[Group]:
    """Every class of error; a second and third visit of another problem."""
    prompt, other = [5, 6, 7], [9, 10, 11, 12, 13, 14]

    def sample(text: str, verdict: Any, prompt_ids: list[int], **fields: Any) -> Sample:
        return Sample(program=written(toy, text, prompt_ids, **fields), feedback=verdict)

    first = group(
        [
            sample("def f(xs):\n    y = xs[9]\n    return y\n", feedback("runtime_error", "IndexError", 2), prompt),
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


def rltf(**fields: Any) -> Rltf:
    return Rltf(RltfConfig(**fields), False, LIMIT)


def test_rltf_terms_can_be_switched_off() -> None:
    toy = policy()
    groups = groups_of(toy)
    broken, failed = groups[0].samples[0], groups[1].samples[1]

    def weights(sample: Sample, **fields: Any) -> Any:
        config = RltfConfig(**fields)
        return rltf(**fields).weights(
            sample, (-0.3, -0.04), fine_feedback(sample.program, sample.feedback, config, False)
        )

    full = weights(broken)
    assert full[0].any() and full[1].any() and not full[2].any()
    assert not weights(broken, coarse=False)[0].any()
    assert not weights(broken, fine=False)[1].any()
    assert weights(failed)[2].any() and not weights(failed, adaptive=False)[2].any()
    np.testing.assert_allclose(weights(broken, fine_reward=-0.6)[1], 2 * full[1])


def test_rltf_adaptive_reward_is_added_or_stands_in_the_coarse_ones_place() -> None:
    toy = policy()
    failed, errs = groups_of(toy)[1].samples[1], groups_of(toy)[0].samples[0]
    ratio = -0.3 + 1.3 * 3 / 5
    np.testing.assert_allclose(rltf().weights(failed, (-0.6, -0.6), None)[:, 0], [0.3, 0, ratio + 0.6], rtol=1e-6)
    np.testing.assert_allclose(
        rltf(adaptive_mode="replace").weights(failed, (-0.3, 0.2), None)[:, 0], [0, 0, ratio - 0.2], rtol=1e-6
    )
    # A baseline that failed counts by its tests for an error, too; without the adaptive term it does not.
    np.testing.assert_allclose(
        rltf(adaptive_mode="replace").weights(errs, (-0.3, 0.2), None)[:, 0], [-0.8, 0, 0], rtol=1e-6
    )
    without = rltf(adaptive_mode="replace", adaptive=False)
    np.testing.assert_allclose(without.weights(failed, (-0.6, -0.6), None)[:, 0], [0.3, 0, 0], rtol=1e-6)


def test_rltf_fates_and_row() -> None:
    toy = policy()
    groups = groups_of(toy)
    same = group([Sample(program=characters("a"), feedback=feedback("pass", passed=5))], problem_id="b")
    objective = rltf()
    objective.prepare(groups)
    prepared = objective.prepare([same])
    assert (
        prepared.items == []
        and prepared.fates == {same.samples[0].program.id: "no_signal"}
        and prepared.totals.sequences == 1
    )
    assert prepared.row["zero_advantage_share"] == 1.0
    prepared = rltf().prepare(groups)
    assert list(prepared.fates.values()).count("baseline") == 2  # the third visit shares the second's greedy program
    assert prepared.row["fine"] == {"U_line": 3, "U_global": 2, "U_ignore": 1, "no_error": 4}
    assert prepared.row["baselines"][groups[2].id] == [1.0, 1.0]
    assert prepared.row["zero_advantage_share"] == 0.0


@pytest.mark.parametrize(
    "make", [rltf, lambda **fields: Reinforce(ReinforceConfig(baseline="best", **fields), RltfConfig(), False, LIMIT)]
)
def test_baselines_outlive_a_restart(make: Any) -> None:
    groups = groups_of(policy())
    objective, restored = make(), make()
    objective.prepare(groups[:2])
    restored.load_state_dict(objective.state_dict())
    again = restored.prepare(groups[2:])
    assert [item.weights.tolist() for item in again.items] == [
        item.weights.tolist() for item in objective.prepare(groups[2:]).items
    ]
    assert [item.weights.tolist() for item in again.items] != [
        item.weights.tolist() for item in make().prepare(groups[2:]).items
    ]


def test_grpo_forwards_only_what_has_an_advantage() -> None:
    groups = groups_of(policy())
    prepared = Grpo(GrpoConfig(), RltfConfig(), False, LIMIT).prepare(groups)
    assert [item.id for item in prepared.items] == [sample.program.id for sample in groups[1].samples]
    assert set(prepared.fates.values()) == {"trained", "no_signal", "baseline"}
    assert (
        prepared.totals.sequences == 10
    )  # what is not forwarded still counts in the mean: the gradient is that of all programs
    assert prepared.row["zero_advantage_share"] == 0.7
    ratio = Grpo(GrpoConfig(reward="pass_ratio"), RltfConfig(), False, LIMIT).prepare(groups)
    assert len(ratio.items) == 3 and ratio.rewards[6:9] == pytest.approx([1.0, 0.6, 0.0])


def test_credit_by_line_trains_on_errors_of_a_group_without_advantage() -> None:
    groups = groups_of(policy())
    prepared = Grpo(GrpoConfig(fine=True), RltfConfig(), False, LIMIT).prepare(groups)
    blamed = [groups[0].samples[index].program.id for index in (0, 1, 2, 3, 5)]
    assert [item.id for item in prepared.items] == blamed + [sample.program.id for sample in groups[1].samples]
    line = next(item for item in prepared.items if item.id == blamed[0])
    assert not line.weights[0].any() and line.weights[1].min() < 0 and (line.weights[1] == 0).any()


def test_with_a_reference_every_program_counts() -> None:
    groups = groups_of(policy())
    prepared = Grpo(GrpoConfig(kl=0.1), RltfConfig(), False, LIMIT).prepare(groups)
    assert len(prepared.items) == 10 and "no_signal" not in prepared.fates.values()
    assert prepared.row["zero_advantage_share"] == 0.7
    assert len(rltf(kl=0.1, baseline="none", coarse=False, fine=False, adaptive=False).prepare(groups).items) == 10


def test_advantages() -> None:
    assert advantages([1.0]) == [0.0] and advantages([0.5, 0.5]) == [0.0, 0.0]
    assert advantages([1.0, 0.0]) == pytest.approx([0.5 / (math.sqrt(0.5) + 1e-4), -0.5 / (math.sqrt(0.5) + 1e-4)])
    assert advantages([1.0, 0.0, 0.5], scale=False) == pytest.approx([0.5, -0.5, 0.0])
    assert leave_one_out([1.0, 0.0, 0.5]) == pytest.approx([0.75, -0.75, 0.0])
    assert leave_one_out([0.1]) == [0.0] and leave_one_out([0.1] * 3) == [0.0] * 3
    assert whitened([[1.0], [0.0, 0.5]]) == [[pytest.approx(1.224745)], [pytest.approx(-1.224745), pytest.approx(0.0)]]
    assert whitened([[0.1], [0.1]]) == [[0.0], [0.0]] and whitened([[]]) == [[]]


def test_ratios_need_the_log_probabilities_that_programs_were_sampled_with() -> None:
    values, mask, signal = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), LossInputs(torch.ones(3, 1, 2))
    with pytest.raises(ValueError, match="sampled with"):
        PpoClip(PpoClipConfig(), RltfConfig(), False, LIMIT).loss(values, mask, signal, Totals(1, 2))
    with pytest.raises(ValueError, match="reference"):
        rltf(kl=0.5).loss(values, mask, signal, Totals(1, 2))


def test_the_floor_stops_only_what_pushes_down() -> None:
    log_probs = torch.tensor([[-12.0, -12.0, -1.0, -1.0]], requires_grad=True)
    signal = LossInputs(torch.tensor([[[1.0, -1.0, 1.0, -1.0]], [[0.0] * 4], [[0.0] * 4]]))
    mask = torch.ones(1, 4, dtype=torch.bool)
    result = rltf(log_prob_floor=-10.0).loss(log_probs, mask, signal, Totals(1, 4))
    result.loss.backward()
    assert log_probs.grad is not None and log_probs.grad.tolist() == [[-1.0, 0.0, -1.0, 1.0]]
    assert float(result.sums["per_token/floor_share"]) == 1


def test_rows_that_are_not_finite_are_found() -> None:
    log_probs = torch.tensor([[-1.0, -1.0], [-1.0, math.nan], [-1.0, 0.0], [-1.0, -1.0]])
    weights = torch.ones(1, 4, 2)
    weights[0, 3, 1] = math.inf
    mask = torch.tensor([[True, True], [True, True], [True, False], [True, True]])
    assert not_finite(Supervised().loss, log_probs, mask, LossInputs(weights), Totals(4, 7)) == [1, 3]


@pytest.mark.parametrize("normalise", ["sequence_sum", "sequence_mean", "token_mean", "constant"])
def test_supervised_is_cross_entropy(normalise: Any) -> None:
    toy = policy("t5")
    model = copy.deepcopy(toy.model).double()
    pairs = [([5, 6, 7], [8, 9, 10, 1]), ([5], [11, 1]), ([7, 8, 9, 10, 11], [12])]
    supervised = Supervised(normalise, token_limit=10)
    items = supervised.items(pairs, "c")
    totals = totals_of(items)
    expected = torch.zeros((), dtype=torch.float64)
    for prompt, program in pairs:
        start = torch.tensor([[toy.decoder_start_id, *program[:-1]]])
        log_p = torch.log_softmax(model(input_ids=torch.tensor([prompt]), decoder_input_ids=start).logits[0], -1)
        total = -log_p[range(len(program)), program].sum()
        expected += (
            total / {"sequence_sum": 3, "sequence_mean": 3 * len(program), "token_mean": 7, "constant": 30}[normalise]
        )
    loss = torch.zeros(())
    for micro_batch in plan(toy, items, 12).micro_batches:
        batch, signal = tensors(toy, micro_batch)
        result = token_log_probs(toy.model, batch)
        loss = loss + supervised.loss(result.values, result.mask, signal, totals).loss
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert totals == Totals(3, 7)


@pytest.mark.parametrize("name", [name for name, kind in OBJECTIVES.items() if kind is not None])
def test_every_objective_can_be_configured_made_and_mixed(name: str) -> None:
    config = Config.model_validate({"learner": {"objective": name, "supervised_ratio": 1}, "actors": {"greedy": True}})
    objective = make_objective(config, encoder_decoder=False)
    assert objective is not None and objective.name == name and config.objective is getattr(config, name)
    assert config.objective.supervised_normalise == ("sequence_sum" if name == "rltf" else "token_mean")

    class Stream:
        def next(self) -> Any:
            items = Supervised().items([([5], [6, 7])], "c")
            return items, totals_of(items)

    mixed = with_supervised(objective, Stream(), config)
    assert mixed.terms == (*objective.terms, "supervised")
    prepared = mixed.prepare(groups_of(policy()))
    assert prepared.items[-1].id == "c:0" and {item.weights.shape[0] for item in prepared.items} == {len(mixed.terms)}
    assert "c:0" not in prepared.fates and prepared.row["supervised_programs"] == 1
    restored = make_objective(config, encoder_decoder=False)
    assert restored is not None
    restored.load_state_dict(mixed.state_dict())
    restored.load_state_dict({})  # of a supervised run that goes on with this objective
    assert make_objective(Config.model_validate({"learner": {"objective": "supervised"}}), False) is None


def test_an_objective_without_an_entry_is_refused_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {name: kind for name, kind in OBJECTIVES.items() if name != "grpo"}
    monkeypatch.setattr("rltf.learner.objectives.OBJECTIVES", without)
    with pytest.raises(UserError, match=r"^learner\.objective 'grpo' is unknown; "):
        make_objective(Config(), encoder_decoder=False)


def test_presets_are_filled_in_and_given_fields_win() -> None:
    released = RltfConfig(preset="released_code", alpha="span_ratio")
    assert (released.alpha, released.adaptive_mode, released.baseline, released.normalise) == (
        "span_ratio", "replace", "latest_greedy", "token_mean",
    )  # fmt: skip
    assert RltfConfig.model_validate(released.model_dump()) == released, "a resolved configuration says the same again"
    assert (GrpoConfig(variant="dr").scale, GrpoConfig(variant="dr").normalise) == ("none", "constant")
    assert GrpoConfig(variant="dr", scale="deviation").scale == "deviation"
    loaded = configuration.load(None, {"rltf.preset": "released_code", "rltf.lines": "offsets"})
    assert (loaded.rltf.timeouts, loaded.rltf.lines) == ("ignore", "offsets")
    with pytest.raises(UserError, match=r"rltf\.preset"):
        configuration.load(None, {"rltf.preset": "released"})


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            {"learner.objective": "reinforce", "reinforce.baseline": "best"},
            "set actors.greedy true or reinforce.baseline none",
        ),
        ({"learner.objective": "rloo", "actors.samples_per_problem": "1"}, "rloo compares programs of one visit"),
        (
            {"learner.objective": "ppo_clip", "actors.samples_per_problem": "1"},
            "ppo_clip compares programs of one visit",
        ),
    ],
)
def test_a_baseline_that_cannot_be_had_is_refused(overrides: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        configuration.load(None, overrides)
    assert sentence in str(caught.value)
