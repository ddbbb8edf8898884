import functools
import itertools

import pytest
import torch

from rltf.actors.decoding import similar
from rltf.actors.engine import Completion
from rltf.actors.sampling import PLAIN, SamplingParams
from rltf.actors.sampling_engine import SamplingEngine
from rltf.policy.log_probs import token_log_probs
from rltf.policy.policy import Policy, build_policy
from rltf.weights.packing import pack
from rltf.weights.unpacking import load_into
from tests.support.batches import collate
from tests.support.logits_processors import processors
from tests.support.policies import FAMILIES, policy_of, spec_of, with_end_likely

WAYS = [{}, {"fuse": False}, {"share_prefix": False}]
HOW = [PLAIN, SamplingParams(0.7, 0.8), SamplingParams(0.9, top_k=9, min_p=0.02, repetition_penalty=1.3)]
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [20], [21, 22]]


def _flat(prompts: list[list[int]], groups: list[list[Completion]]) -> list[tuple[list[int], Completion]]:
    return [(prompt, completion) for prompt, group in zip(prompts, groups, strict=True) for completion in group]


def _generate(policy: Policy, prompt: list[int]) -> list[int]:
    output = policy.model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=policy.spec.max_program_tokens,
        pad_token_id=policy.pad_id,
        eos_token_id=policy.eos_id,
    )
    return output[0, 1:].tolist() if policy.is_encoder_decoder else output[0, len(prompt) :].tolist()


@functools.cache
def _ending_policy(family: str) -> Policy:
    """A policy whose greedy programs end at different lengths, so that rows are dropped at different steps."""
    policy = policy_of(family, max_program_tokens=16)
    written = [token for prompt in PROMPTS for token in _generate(policy, prompt)[3:]]
    return with_end_likely(policy, max(set(written), key=written.count))


@functools.cache
def _reference(family: str) -> Policy:
    """The same weights, which nothing was sampled with."""
    return policy_of(family, max_program_tokens=16)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_programs_are_those_of_generate(family: str) -> None:
    policy = _ending_policy(family)
    expected = [_generate(policy, prompt) for prompt in PROMPTS]
    for way in WAYS:
        groups = SamplingEngine(policy, **way).sample(PROMPTS, 0, True)
        assert [group[0].token_ids for group in groups] == expected
        assert all(group[0].greedy for group in groups)
        alone = [SamplingEngine(policy, **way).sample([prompt], 0, True)[0][0].token_ids for prompt in PROMPTS]
        assert alone == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_of_different_lengths_are_read_in_several_passes_and_give_the_same_programs(family: str) -> None:
    policy = policy_of(family, max_program_tokens=16)
    long = [5 + place % 20 for place in range(90)]
    prompts = [[5, 6, 7], long, [20], [9, *long[:85]], [21, 22]]
    expected = [_generate(policy, prompt) for prompt in prompts]
    for way in WAYS:
        passes: list[tuple[int, ...]] = []
        hook = policy.model.get_input_embeddings().register_forward_hook(
            lambda _, arguments, __, passes=passes: passes.append(tuple(arguments[0].shape))
        )
        groups = SamplingEngine(policy, **way).sample(prompts, 0, True)
        hook.remove()
        assert [group[0].token_ids for group in groups] == expected
        if family == "llama" and "share_prefix" not in way:
            assert passes[:2] == [(2, 90), (3, 3)]


@pytest.mark.parametrize("lengths", [[4], [7, 7, 7], [1, 90, 2, 85, 3], [10, 20, 30, 40, 50, 60], [5, 5, 300]])
@pytest.mark.parametrize("overhead", [0, 10, 64, 10_000])
def test_batches_of_similar_lengths_compute_the_fewest_positions(lengths: list[int], overhead: int) -> None:
    def cost(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[number] for number in batch) + overhead for batch in batches)

    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    every = []
    for cuts in itertools.product([False, True], repeat=len(lengths) - 1):
        edges = [0, *(place + 1 for place, cut in enumerate(cuts) if cut), len(lengths)]
        every.append([order[start:end] for start, end in itertools.pairwise(edges)])
    found = similar(lengths, overhead)
    assert sorted(itertools.chain(*found)) == list(range(len(lengths)))
    assert cost(found) == min(map(cost, every))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_log_probs_are_the_teacher_forced_ones(family: str, way: dict[str, bool]) -> None:
    policy = _ending_policy(family)
    reference = _reference(family)
    engine = SamplingEngine(policy, **way)
    for how in HOW:
        groups = engine.sample(PROMPTS, 6, True, how, torch.Generator().manual_seed(0))
        flat = _flat(PROMPTS, groups)
        assert len({len(completion.token_ids) for _, completion in flat}) > 1, (
            "all programs have one length: nothing was dropped"
        )
        batch = collate(reference, [prompt for prompt, _ in flat], [completion.token_ids for _, completion in flat])
        values = token_log_probs(reference.model, batch).values.detach()
        for row, (_, completion) in enumerate(flat):
            length = len(completion.token_ids)
            torch.testing.assert_close(torch.tensor(completion.log_probs), values[row, :length], atol=1e-4, rtol=1e-4)
            ended = completion.token_ids[-1] == policy.eos_id
            assert policy.eos_id not in completion.token_ids[:-1]
            assert completion.finish_reason == ("stop" if ended else "length") and (ended or length == 16)
        prompt, drawn = flat[0]  # of the greedy ones each token was certain
        expected = _drawn_from(reference, prompt, drawn.token_ids, how)
        torch.testing.assert_close(
            torch.tensor(drawn.sampled_log_probs or drawn.log_probs), expected, atol=2e-4, rtol=0
        )
        assert bool(drawn.sampled_log_probs) == (how != PLAIN)
        assert not any(flat[6][1].sampled_log_probs)


def _drawn_from(policy: Policy, prompt: list[int], ids: list[int], how: SamplingParams) -> torch.Tensor:
    """(T,): log-probabilities of `ids` under what `transformers` would sample from, the whole text computed anew for
    each of them."""
    found = []
    start = [policy.decoder_start_id] if policy.is_encoder_decoder else prompt
    for index, token in enumerate(ids):
        before = torch.tensor([start + ids[:index]])
        if policy.is_encoder_decoder:
            logits = policy.model(input_ids=torch.tensor([prompt]), decoder_input_ids=before).logits[:, -1]
        else:
            logits = policy.model(input_ids=before).logits[:, -1]
        found.append(torch.log_softmax(processors(how)(before, logits.detach().float()), -1)[0, token])
    return torch.stack(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_float16_samples_nearly_as_float32(family: str) -> None:
    full, half = policy_of(family, 16), build_policy(spec_of(family, 16), dtype="float16", weights=False)
    load_into(half.model, *pack(full.model, 0, torch.float16))
    expected, found = (SamplingEngine(policy).sample(PROMPTS, 0, True) for policy in (full, half))
    for (one,), (other,) in zip(expected, found, strict=True):
        assert one.token_ids == other.token_ids and one.log_probs == pytest.approx(other.log_probs, abs=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropping_finished_rows_changes_no_program(family: str) -> None:
    policy = _ending_policy(family)
    never_ending = with_end_likely(policy, -1)
    for way in WAYS:
        dropped = SamplingEngine(policy, **way).sample(PROMPTS, 6, False, generator=torch.Generator().manual_seed(5))
        kept = SamplingEngine(never_ending, **way).sample(PROMPTS, 6, False, generator=torch.Generator().manual_seed(5))
        for (_, short), (_, long) in zip(_flat(PROMPTS, dropped), _flat(PROMPTS, kept), strict=True):
            assert short.token_ids == long.token_ids[: len(short.token_ids)]
            assert long.finish_reason == "length" and len(long.token_ids) == 16


def test_both_ways_of_decoding_draw_the_same_programs_and_an_engine_can_be_used_again() -> None:
    policy = _ending_policy("llama")
    other = with_end_likely(policy_of("llama", max_program_tokens=16), policy.eos_id)
    shared, plain = SamplingEngine(policy), SamplingEngine(other, share_prefix=False)
    assert shared._fuses and not plain._fuses
    for seed, count in ((1, 5), (2, 2), (3, 9)):
        first = shared.sample(PROMPTS, count, True, generator=torch.Generator().manual_seed(seed))
        second = plain.sample(PROMPTS, count, True, generator=torch.Generator().manual_seed(seed))
        assert [c.token_ids for _, c in _flat(PROMPTS, first)] == [c.token_ids for _, c in _flat(PROMPTS, second)]


def test_grouped_query_attention_shares_a_prefix_too() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    policy = policy_of("llama", max_program_tokens=16)
    config = LlamaConfig(**{**policy.model.config.to_dict(), "num_key_value_heads": 2})
    torch.manual_seed(0)
    grouped = policy.__class__(**{**policy.__dict__, "model": LlamaForCausalLM(config).eval()})
    expected = [_generate(grouped, prompt) for prompt in PROMPTS]
    for way in WAYS:
        assert [group[0].token_ids for group in SamplingEngine(grouped, **way).sample(PROMPTS, 0, True)] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_new_weights_are_sampled_with_from_the_next_batch_on(family: str) -> None:
    policy, other = policy_of(family, 16), policy_of(family, 16, seed=2)
    engine = SamplingEngine(policy)
    first = engine.sample(PROMPTS, 1, True, generator=torch.Generator().manual_seed(0))
    load_into(policy.model, *pack(other.model, 1))
    second = engine.sample(PROMPTS, 1, True, generator=torch.Generator().manual_seed(0))
    assert second == SamplingEngine(other).sample(PROMPTS, 1, True, generator=torch.Generator().manual_seed(0)) != first


def test_programs_longer_than_one_block_of_memory_are_whole() -> None:
    policy = policy_of("llama", max_program_tokens=80)
    [group] = SamplingEngine(policy).sample(
        [[5, 6, 7]], 2, True, generator=torch.Generator().manual_seed(0), max_tokens=80
    )
    greedy = group[-1].token_ids
    assert len(greedy) == 80 or greedy[-1] == policy.eos_id
    assert greedy == _generate(policy, [5, 6, 7])


def test_training_on_the_same_model_after_sampling_is_not_disturbed() -> None:
    policy, untouched = policy_of("llama", max_program_tokens=16), _reference("llama")
    SamplingEngine(policy).sample(PROMPTS, 2, False)
    programs = [[30, 31], [32], [33, 34, 35], [36]]
    ours = token_log_probs(policy.model, collate(policy, PROMPTS, programs)).values
    torch.testing.assert_close(ours, token_log_probs(untouched.model, collate(untouched, PROMPTS, programs)).values)
    ours.sum().backward()


def test_the_same_generator_gives_the_same_programs_and_nothing_to_sample_is_refused() -> None:
    engine = SamplingEngine(policy_of("llama", max_program_tokens=16))
    first, second = (engine.sample(PROMPTS, 3, False, generator=torch.Generator().manual_seed(9)) for _ in range(2))
    assert first == second
    for prompts, samples, limit in (([], 1, 4), ([[]], 1, 4), (PROMPTS, 0, 4), (PROMPTS, 1, 0)):
        with pytest.raises(ValueError, match="nothing to sample"):
            engine.sample(prompts, samples, False, max_tokens=limit)
