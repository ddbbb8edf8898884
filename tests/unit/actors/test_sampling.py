import pytest
import torch

from rltf.actors.sampling import PLAIN, SamplingParams, choose, draw
from tests.support.logits_processors import processors


def _frequencies(logits: torch.Tensor, draws: int, how: SamplingParams = PLAIN) -> torch.Tensor:
    uniforms = torch.rand(draws, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = choose(logits.expand(draws, -1), uniforms, how, None).tokens
    return torch.bincount(tokens, minlength=logits.shape[-1]) / draws


def _chi_square(found: torch.Tensor, expected: torch.Tensor, draws: int) -> float:
    likely = expected > 0
    assert not found[~likely].any(), "a token of probability zero was drawn"
    return float(draws * ((found - expected)[likely] ** 2 / expected[likely]).sum())


def test_tokens_are_drawn_with_the_models_probabilities() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0, float("-inf"), 0.5])
    # 99.9% quantile of chi square with 4 degrees of freedom: 18.5
    assert _chi_square(_frequencies(logits, 40_000), torch.softmax(logits, -1), 40_000) < 18.5


def test_what_only_a_high_temperature_draws_has_a_finite_log_prob() -> None:
    first = torch.tensor([0.0], dtype=torch.float64)
    chosen = choose(torch.tensor([[0.0, 120.0]]), first, SamplingParams(temperature=60.0), None)
    assert chosen.tokens.tolist() == [0] and chosen.log_probs.tolist() == [-120.0]
    torch.testing.assert_close(chosen.sampled_log_probs, torch.log_softmax(torch.tensor([0.0, 2.0]), -1)[:1])


def test_temperature_and_nucleus_change_what_is_drawn_but_not_the_log_probs() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0, 0.5])
    cold = torch.softmax(logits / 0.5, -1)
    assert _chi_square(_frequencies(logits, 40_000, SamplingParams(temperature=0.5)), cold, 40_000) < 18.5
    # At temperature 1 the probabilities are .54, .20, .12, .07, .03 in order of tokens 0, 3, 4, 1, 2: three make up
    # 0.8.
    plain = torch.softmax(logits, -1)
    nucleus = torch.where(torch.tensor([True, False, False, True, True]), plain, 0.0)
    assert _chi_square(_frequencies(logits, 40_000, SamplingParams(top_p=0.8)), nucleus / nucleus.sum(), 40_000) < 18.5
    assert _frequencies(logits, 1000, SamplingParams(top_p=1e-6))[0] == 1.0
    chosen = choose(logits[None], torch.tensor([0.99], dtype=torch.float64), SamplingParams(0.5, 0.9), None)
    torch.testing.assert_close(chosen.log_probs, torch.log_softmax(logits, -1)[chosen.tokens])


def test_greedy_rows_take_the_most_probable_token_whatever_the_draw() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]]).expand(2, -1)
    last = torch.tensor([0.999, 0.999], dtype=torch.float64)
    for how in (SamplingParams(), SamplingParams(min_p=0.01)):
        chosen = choose(logits, last, how, torch.tensor([True, False]))
        assert chosen.tokens.tolist() == [1, 2]
    assert chosen.sampled_log_probs[0] == 0.0 and chosen.sampled_log_probs[1] < -1


HOW = [
    SamplingParams(temperature=0.6),
    SamplingParams(top_p=0.9),
    SamplingParams(top_k=3),
    SamplingParams(min_p=0.1),
    SamplingParams(temperature=1.3, top_p=0.8, top_k=12, min_p=0.05, repetition_penalty=1.4),
    SamplingParams(temperature=0.7, repetition_penalty=0.8),
]


@pytest.mark.parametrize("how", HOW, ids=str)
def test_the_distribution_is_the_one_that_transformers_samples_from(how: SamplingParams) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(1, 40, generator=generator)
    ids = torch.tensor([[4, 7, 7, 31]])
    expected = torch.log_softmax(processors(how)(ids, logits.clone()), -1)[0]
    seen = torch.zeros(1, 40, dtype=torch.bool)
    seen[0, ids[0]] = True
    uniforms = torch.rand(4000, generator=generator, dtype=torch.float64)
    chosen = choose(logits.expand(4000, -1), uniforms, how, None, seen.expand(4000, -1))
    torch.testing.assert_close(chosen.sampled_log_probs, expected[chosen.tokens])
    torch.testing.assert_close(chosen.log_probs, torch.log_softmax(logits, -1)[0, chosen.tokens])
    likely = int((expected > -5).sum())  # each of these is drawn in 4,000 with all but certainty
    assert len(set(chosen.tokens.tolist())) >= likely > 2


def test_a_large_vocabulary_is_drawn_from_in_two_steps_with_the_same_probabilities() -> None:
    size = 8_000
    weights = torch.rand(size, generator=torch.Generator().manual_seed(1)) ** 8
    weights[::3] = 0
    uniforms = torch.linspace(0, 1, 2001, dtype=torch.float64)[:-1]
    exact = torch.searchsorted(weights.double().cumsum(0), uniforms * weights.double().sum(), right=True)
    drawn = torch.cat([draw(weights.expand(len(part), -1), part) for part in uniforms.split(500)])
    assert (drawn - exact).abs().float().mean() < 0.5 and (drawn == exact).float().mean() > 0.999
    assert (weights[drawn] > 0).all()
    edges = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert (weights[draw(weights.expand(2, -1), edges)] > 0).all()
