"""Loss and gradient of every objective against `equations.py`, an independent implementation in float64, on five model
families.

Programs with padding between them, cut off at the length limit (inside a character, too), with characters of several
bytes, repeated lines, errors on the first and the last line and past it, an empty text, and no token at all.
"""

from __future__ import annotations

import copy
import functools
import statistics
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import torch

from rltf.buffer.records import Group, Sample
from rltf.config import GrpoConfig, Guards, PpoClipConfig, ReinforceConfig, RlooConfig, RltfConfig
from rltf.learner.batching import plan, tensors
from rltf.learner.objectives import Mixed
from rltf.learner.objectives.base import Objective, Totals, TrainItem
from rltf.learner.objectives.grpo import Grpo
from rltf.learner.objectives.ppo_clip import PpoClip
from rltf.learner.objectives.reinforce import Reinforce
from rltf.learner.objectives.rloo import Rloo
from rltf.learner.objectives.rltf import Rltf
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.reference import Reference
from rltf.policy.encoding import decode_with_offsets, encode_program
from rltf.policy.log_probs import token_log_probs
from rltf.policy.policy import Policy
from rltf.policy.tree_attention import patch_attention
from tests.support import equations as eq
from tests.support.learner_parts import characters, feedback, group, policy

FAMILIES = ["t5", "gpt2", "codegen", "llama", "qwen2"]
LIMIT = 48
TOLERANCE = 1e-6

A, B = [5, 6, 7], [9, 10, 11, 12, 13, 14, 15, 16]
REPEATED = "def f(xs):\n    y = xs[9]\n    y = xs[9]\n    return y\n"
# problem, visit, prompt, text, outcome, error type, line, message, passed of 5, finish reason, what the paper blames,
# the released code
PROGRAMS: list[tuple[Any, ...]] = [
    ("a", 0, A, REPEATED, "runtime_error", "IndexError", 3, "", 2, "stop", 3, b"y = xs[9]"),
    ("a", 0, A, "größe = ü\n", "runtime_error", "NameError", 1, "name", 0, "stop", 1, "größe = ü".encode()),
    ("a", 0, A, "x = '" + "é日" * 40, "compile_error", "SyntaxError", 1, "unterminated string literal", 0,
     "length", "all", None),
    ("a", 0, A, "x = 1\ny = = 2", "compile_error", "SyntaxError", 2, "invalid syntax", 0, "stop", 2, "all"),
    ("a", 0, A, "x = 1\ny = = 2\n\n", "compile_error", "SyntaxError", 9, "invalid syntax", 0, "stop", 2, "all"),
    ("a", 0, A, "x = 1\n  y = 2\n", "compile_error", "IndentationError", 2, "unexpected indent", 0, "stop",
     "ignore", b"  y = 2"),
    ("a", 0, A, "x = '''\nab", "compile_error", "SyntaxError", 1, "unterminated triple-quoted string", 0,
     "stop", "ignore", b"x = '''"),
    ("a", 0, A, "while 1: pass\n", "runtime_error", "TimeLimit", 1, "", 3, "stop", "all", "ignore"),
    ("a", 0, A, "raise RuntimeError\n", "runtime_error", "RuntimeError", 1, "", 0, "stop", 1, "ignore"),
    ("a", 0, A, "f = lambda: f()\nf()\n", "runtime_error", "RecursionError", 1, "", 0, "stop", "all", "all"),
    ("a", 0, A, "", "failure", None, None, "", 1, "stop", None, None),
    ("a", 0, A, None, "failure", None, None, "", 0, "length", None, None),
    ("a", 0, A, "print(2)\n", "failure", None, None, "", 2, "greedy", None, None),
    ("b", 1, B, "print(1)\n", "pass", None, None, "", 5, "stop", None, None),
    ("b", 1, B, "print('3 日本')\n", "failure", None, None, "", 3, "stop", None, None),
    ("b", 1, B, "print(4)\n", "failure", None, None, "", 0, "stop", None, None),
    ("b", 1, B, "1 / 0\n", "runtime_error", "ZeroDivisionError", 1, "", 0, "greedy", 1, b"1 / 0"),
    ("b", 2, B, "print(5)\n", "failure", None, None, "", 4, "stop", None, None),
    ("b", 2, B, "int('x')", "runtime_error", "ValueError", 1, "", 0, "stop", 1, b"int('x')"),
    ("b", 2, B, "x\ny\n", "failure", None, None, "", 3, "greedy", None, None),
]  # fmt: skip


@dataclass
class World:
    toy: Policy
    groups: list[Group]
    cases: list[list[eq.Case]]
    """Sampled programs of each group."""
    greedy: list[eq.Case]
    log_p: list[torch.Tensor]
    """Of the sampled programs in order, with gradients to `exact`."""
    behaviour: list[torch.Tensor]
    reference: list[torch.Tensor]
    exact: Any
    reference_policy: Policy

    @property
    def flat(self) -> list[eq.Case]:
        return [case for row in self.cases for case in row]


@functools.cache
def world(family: str) -> World:
    toy = policy(family, max_program_tokens=LIMIT)
    toy.model.double()
    exact = copy.deepcopy(toy.model)
    other = policy(family, seed=5, max_program_tokens=LIMIT)
    other.model.double()
    start = toy.decoder_start_id if toy.is_encoder_decoder else None
    noise = torch.Generator().manual_seed(3)
    visits: dict[int, list[Any]] = {}
    log_p, behaviour, reference = [], [], []
    for problem, visit, prompt, text, outcome, kind, line, message, passed, finish, paper, released in PROGRAMS:
        tokens = encode_program(toy, text) if text is not None else []
        assert (finish == "length") == (not tokens or tokens[-1] != toy.eos_id)
        pieces = eq.byte_pieces(toy.tokenizer, tokens)
        if released is None and finish == "length" and tokens:  # the line is the whole text, as far as it was written
            released = b"".join(pieces)
        case = eq.Case(prompt, tokens, pieces, outcome, passed, 5, paper, released, finish == "greedy")
        if isinstance(case.released, bytes) and not toy.is_encoder_decoder:
            case.released = None  # D5
        decoded, offsets = decode_with_offsets(toy, tokens)
        values = eq.log_probs(exact, start, case)
        # Where sampling policy and reference are, as the records hold it: float32.
        sampled = (
            (values.detach() + 0.25 * torch.randn(len(tokens), generator=noise, dtype=torch.float64)).float().double()
        )
        if not case.greedy:
            log_p.append(values)
            behaviour.append(sampled)
            with torch.no_grad():
                reference.append(eq.log_probs(other.model, start, case))
        program = characters(
            decoded, "length" if finish == "length" else "stop", prompt_ids=prompt, token_ids=tokens, offsets=offsets,
            log_probs=sampled.tolist(), problem_id=problem, greedy=case.greedy,
        )  # fmt: skip
        verdict = msgspec.structs.replace(feedback(outcome, kind, line, passed=passed), message=message)
        visits.setdefault(visit, []).append((problem, case, Sample(program=program, feedback=verdict)))
    groups, cases, greedy = [], [], []
    for rows in visits.values():
        greedy += [(case, sample) for _, case, sample in rows if case.greedy]
        cases.append([case for _, case, _ in rows if not case.greedy])
        groups.append(group([sample for _, case, sample in rows if not case.greedy], greedy[-1][1], rows[0][0]))
    return World(toy, groups, cases, [case for case, _ in greedy], log_p, behaviour, reference, exact, other)


def ours(
    found: World, objective: Objective, reference: bool = False, micro_batch_tokens: int = 120
) -> tuple[float, dict[str, torch.Tensor], dict[str, float]]:
    """Loss, gradients and the terms' shares by the learner's own way, in micro-batches of unlike programs that share
    their beginnings.
    """
    toy = found.toy
    prepared = objective.prepare(found.groups)
    patch_attention(toy.model, "cpu")
    mine = plan(toy, prepared.items, micro_batch_tokens, share=True)
    assert mine.shared_share > 0
    if reference:
        mine = Reference(found.reference_policy).annotate(mine)
    toy.model.zero_grad()
    loss, shares = 0.0, {}
    for micro_batch in mine.micro_batches:
        batch, signal = tensors(toy, micro_batch)
        result = token_log_probs(toy.model, batch, entropy=False)
        part = objective.loss(result.values, result.mask, signal, prepared.totals)
        part.loss.backward()
        loss += float(part.loss.detach())
        for name, value in part.sums.items():
            shares[name] = shares.get(name, 0.0) + float(value)
    return (
        loss,
        {name: value.grad.clone() for name, value in toy.model.named_parameters() if value.grad is not None},
        shares,
    )


def assert_exact(found: World, expected: torch.Tensor, objective: Objective, reference: bool = False) -> None:
    found.exact.zero_grad()
    expected.backward(retain_graph=True)
    loss, gradients, shares = ours(found, objective, reference)
    value = float(expected.detach())
    assert loss == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE)
    assert sum(share for name, share in shares.items() if name.startswith("loss/")) == pytest.approx(
        value, rel=TOLERANCE, abs=TOLERANCE
    )
    largest = max(float(parameter.grad.abs().max()) for parameter in found.exact.parameters())
    assert largest > 1e-4
    for name, parameter in found.exact.named_parameters():
        difference = float((gradients[name] - parameter.grad).abs().max())
        assert difference <= TOLERANCE * largest, f"{name}: {difference:.2e} of {largest:.2e}"


def best_of(found: World) -> list[eq.Case | None]:
    """The historical best of each sampled program's visit: greedy, greedy, and then the best of the second visit, which
    passed.
    """
    best = [found.greedy[0], found.greedy[1], next(case for case in found.cases[1] if case.outcome == "pass")]
    return [base for base, row in zip(best, found.cases, strict=True) for _ in row]


def latest(found: World) -> list[eq.Case | None]:
    return [base for base, row in zip(found.greedy, found.cases, strict=True) for _ in row]


def spread(found: World, advantages: list[float], fine: bool) -> list[list[float]]:
    """A_t of every token."""
    return [
        [advantage + extra for extra in (eq.fine(case, False, False) if fine else [0.0] * len(case.tokens))]
        for advantage, case in zip(advantages, found.flat, strict=True)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_rltf_paper(family: str) -> None:
    found = world(family)
    parts = eq.rltf_paper(found.flat, best_of(found), found.log_p)
    for normalise in ("sequence_sum", "sequence_mean", "token_mean", "constant"):
        config = RltfConfig(normalise=normalise)  # type: ignore[arg-type]
        assert_exact(found, eq.total(parts, normalise, LIMIT), Rltf(config, found.toy.is_encoder_decoder, LIMIT))


@pytest.mark.parametrize("family", FAMILIES)
def test_rltf_released_code(family: str) -> None:
    found = world(family)
    parts = eq.rltf_released(found.flat, latest(found), found.log_p)
    objective = Rltf(RltfConfig(preset="released_code"), found.toy.is_encoder_decoder, LIMIT)
    assert_exact(found, eq.total(parts, "token_mean", LIMIT), objective)


@pytest.mark.parametrize("family", FAMILIES)
def test_reinforce_with_every_guard(family: str) -> None:
    found = world(family)
    config = ReinforceConfig(
        reward="adaptive", fine=True, baseline="latest_greedy", importance_cap=1.1, log_prob_floor=-5.6, kl=0.2
    )
    advantages = [
        eq.adaptive(case) - eq.adaptive(base) for case, base in zip(found.flat, latest(found), strict=True) if base
    ]
    parts = eq.reinforce(spread(found, advantages, True), found.log_p, found.behaviour, 1.1, -5.6)
    apart = eq.divergence(found.log_p, found.reference)
    both = [part + 0.2 * other for part, other in zip(parts, apart, strict=True)]
    objective = Reinforce(config, RltfConfig(), found.toy.is_encoder_decoder, LIMIT)
    assert_exact(found, eq.total(both, "sequence_sum", LIMIT), objective, reference=True)
    shares = ours(found, objective, reference=True)[2]
    assert shares["per_token/floor_share"] > 0 and shares["per_token/capped_share"] > 0 and shares["loss/kl"] > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_rloo_with_credit_by_line(family: str) -> None:
    found = world(family)
    advantages = []
    for row in found.cases:
        rewards = [case.passed / 5 for case in row]
        for index, reward in enumerate(rewards):
            rest = rewards[:index] + rewards[index + 1 :]
            advantages.append(reward - sum(rest) / len(rest))
    parts = eq.reinforce(spread(found, advantages, True), found.log_p, found.behaviour, None, None)
    objective = Rloo(RlooConfig(reward="pass_ratio", fine=True), RltfConfig(), found.toy.is_encoder_decoder, LIMIT)
    assert_exact(found, eq.total(parts, "sequence_sum", LIMIT), objective)


@pytest.mark.parametrize("family", FAMILIES)
def test_grpo(family: str) -> None:
    found = world(family)
    plain, centred = [], []
    for row in found.cases:
        rewards = [1.0 if case.outcome == "pass" else 0.0 for case in row]
        mean = sum(rewards) / len(rewards)
        for reward in rewards:
            plain.append((reward - mean) / (statistics.stdev(rewards) + 1e-4))
            centred.append(reward - mean)
    decoder = found.toy.is_encoder_decoder
    parts = eq.clipped(spread(found, plain, False), found.log_p, found.behaviour, 0.2, 0.28)
    assert_exact(found, eq.total(parts, "token_mean", LIMIT), Grpo(GrpoConfig(), RltfConfig(), decoder, LIMIT))
    original = GrpoConfig(normalise="sequence_mean", clip_high=0.2, kl=0.04)
    parts = eq.clipped(spread(found, plain, False), found.log_p, found.behaviour, 0.2, 0.2)
    both = [part + 0.04 * other for part, other in zip(parts, eq.divergence(found.log_p, found.reference), strict=True)]
    assert_exact(
        found, eq.total(both, "sequence_mean", LIMIT), Grpo(original, RltfConfig(), decoder, LIMIT), reference=True
    )
    parts = eq.clipped(spread(found, centred, True), found.log_p, found.behaviour, 0.1, 0.1, cap=1.3)
    dr = GrpoConfig(variant="dr", fine=True, clip_low=0.1, clip_high=0.1, importance_cap=1.3)
    assert_exact(found, eq.total(parts, "constant", LIMIT), Grpo(dr, RltfConfig(), decoder, LIMIT))


@pytest.mark.parametrize("family", FAMILIES)
def test_ppo_clip(family: str) -> None:
    found = world(family)
    plain = [eq.coarse(case) - eq.coarse(base) for case, base in zip(found.flat, best_of(found), strict=True) if base]
    mean, deviation = statistics.mean(plain), statistics.pstdev(plain)
    white = [(value - mean) / (deviation + 1e-8) for value in plain]
    parts = eq.clipped(spread(found, white, True), found.log_p, found.behaviour, 0.2, 0.2)
    config = PpoClipConfig(reward="coarse", baseline="best", fine=True)
    assert_exact(
        found, eq.total(parts, "token_mean", LIMIT), PpoClip(config, RltfConfig(), found.toy.is_encoder_decoder, LIMIT)
    )


class OneBatch:
    """A corpus of three programs; the mean over a pool is what divides."""

    def __init__(self, supervised: Supervised) -> None:
        self._items = supervised.items([([5, 6], [7, 8, 9, 2]), ([5], [10, 2]), ([9, 9, 9], [11])], "c")

    def next(self) -> tuple[list[TrainItem], Totals]:
        return self._items, Totals(3, 8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["rltf", "grpo"])
def test_the_supervised_term_mixed_in(family: str, name: str) -> None:
    found = world(family)
    decoder, ratio = found.toy.is_encoder_decoder, 0.5
    start = found.toy.decoder_start_id if decoder else None
    corpus = [
        eq.Case(p, t, [], "pass", 0, 1, None, None)
        for p, t in (([5, 6], [7, 8, 9, 2]), ([5], [10, 2]), ([9, 9, 9], [11]))
    ]
    likelihoods = [eq.log_probs(found.exact, start, case) for case in corpus]
    objective: Objective
    if name == "rltf":
        objective = Rltf(RltfConfig(kl=0.1), decoder, LIMIT)
        parts = eq.rltf_paper(found.flat, best_of(found), found.log_p)
        parts = [
            part + 0.1 * other for part, other in zip(parts, eq.divergence(found.log_p, found.reference), strict=True)
        ]
        reinforcement = eq.total(parts, "sequence_sum", LIMIT)
        imitation = -torch.cat(likelihoods).sum() / 3
    else:
        objective = PpoClip(
            PpoClipConfig(reward="pass_ratio", baseline="none", whiten=False), RltfConfig(), decoder, LIMIT
        )
        advantages = [case.passed / 5 for case in found.flat]
        parts = eq.clipped(spread(found, advantages, False), found.log_p, found.behaviour, 0.2, 0.2)
        reinforcement = eq.total(parts, "token_mean", LIMIT)
        imitation = -torch.cat(likelihoods).sum() / 8
    mixed = Mixed(objective, OneBatch(Supervised()), ratio, "sequence_sum" if name == "rltf" else "token_mean", LIMIT)
    assert_exact(found, (reinforcement + ratio * imitation) / (1 + ratio), mixed, reference=name == "rltf")


def test_means_over_tokens_are_of_sampled_programs_alone() -> None:
    """`per_token/` sums are divided by all tokens that are forwarded; corpus programs must not change the result."""
    found = world("llama")
    objective = Grpo(GrpoConfig(), RltfConfig(), False, LIMIT)

    def mean(chosen: Objective) -> float:
        tokens = sum(len(item.token_ids) for item in chosen.prepare(found.groups).items)
        return ours(found, chosen)[2]["per_token/kl_to_sampler"] / tokens

    assert mean(Mixed(objective, OneBatch(Supervised()), 1.0, "token_mean", LIMIT)) == pytest.approx(
        mean(objective), rel=1e-9
    )
    assert mean(objective) == pytest.approx(0.25**2 / 2, rel=0.4)


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_is_as_exact_as_float32_can_be(family: str) -> None:
    found = world(family)
    expected = eq.total(eq.rltf_paper(found.flat, best_of(found), found.log_p), "sequence_sum", LIMIT)
    found.exact.zero_grad()
    expected.backward(retain_graph=True)
    single = policy(family, max_program_tokens=LIMIT)
    objective = Rltf(RltfConfig(), single.is_encoder_decoder, LIMIT)
    exact = World(single, found.groups, [], [], [], [], [], None, found.reference_policy)
    loss, gradients, _ = ours(exact, objective)
    assert loss == pytest.approx(float(expected.detach()), rel=2e-6)
    theirs = torch.cat([value.grad.flatten() for value in found.exact.parameters()])
    mine = torch.cat([gradients[name].double().flatten() for name, _ in found.exact.named_parameters()])
    assert float((mine - theirs).norm() / theirs.norm()) < 5e-6


def test_guards_are_off_in_the_paper_preset() -> None:
    assert RltfConfig(preset="paper") == RltfConfig()
    for preset in ("paper", "released_code"):
        config = RltfConfig(preset=preset)  # type: ignore[arg-type]
        assert {name: getattr(config, name) for name in Guards.model_fields} == Guards().model_dump()
