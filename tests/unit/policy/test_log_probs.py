import pytest
import torch

from rltf.policy.log_probs import collate_rows, rows_of, token_log_probs
from rltf.policy.tree_attention import FAMILIES as TREE_FAMILIES
from rltf.policy.tree_attention import patch_attention, supports_trees
from tests.support.batches import collate
from tests.support.policies import FAMILIES, policy_of

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [20]]
PROGRAMS = [[30, 31, 32, 33, 2], [40, 2], [50, 51, 52]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_says_the_same_as_each_program_alone_without_padding(family: str) -> None:
    policy = policy_of(family)
    batch = token_log_probs(policy.model, collate(policy, PROMPTS, PROGRAMS))
    for row, (prompt, program) in enumerate(zip(PROMPTS, PROGRAMS, strict=True)):
        if policy.is_encoder_decoder:
            logits = policy.model(
                input_ids=torch.tensor([prompt]),
                decoder_input_ids=torch.tensor([[policy.decoder_start_id, *program[:-1]]]),
            ).logits[0]
        else:
            logits = policy.model(input_ids=torch.tensor([prompt + program])).logits[0, len(prompt) - 1 : -1]
        log_p = torch.log_softmax(logits, dim=-1)
        expected = log_p[torch.arange(len(program)), torch.tensor(program)]
        length = len(program)
        torch.testing.assert_close(batch.values[row, :length], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            batch.entropy[row, :length], -(log_p.exp() * log_p).sum(-1), atol=1e-4, rtol=1e-4, check_stride=False
        )
        assert not batch.values[row, length:].any() and not batch.entropy[row, length:].any()
        assert batch.mask[row].tolist() == [column < length for column in range(5)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_reaches_every_weight_and_padding_has_none(family: str) -> None:
    policy = policy_of(family)
    result = token_log_probs(policy.model, collate(policy, PROMPTS, PROGRAMS))
    assert not result.entropy.requires_grad
    result.values.sum().backward()
    together = {name: parameter.grad.clone() for name, parameter in policy.model.named_parameters()}
    policy.model.zero_grad()
    for prompt, program in zip(PROMPTS, PROGRAMS, strict=True):
        token_log_probs(policy.model, collate(policy, [prompt], [program]), entropy=False).values.sum().backward()
    for name, parameter in policy.model.named_parameters():
        torch.testing.assert_close(together[name], parameter.grad, atol=2e-4, rtol=1e-3, msg=name)
    assert all(gradient.abs().sum() > 0 for gradient in together.values())


def test_only_program_positions_go_through_the_language_model_head() -> None:
    policy = policy_of("llama")
    seen = []
    policy.model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[:2])))
    token_log_probs(policy.model, collate(policy, [[5] * 100, [6] * 90], [[7, 2], [8, 9]]))
    assert seen == [(1, 4)]


# Two prompts; of the first's programs two begin alike, one is twice there and one is the beginning of another.
TREE_PROMPTS = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 8], [5, 6, 7, 8], [5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 8]]
TREE_PROGRAMS = [
    [30, 31, 32, 33, 2],
    [40, 2],
    [30, 31, 50, 2],
    [30, 31, 32, 33, 2],
    [30, 31, 32],
    [40, 41, 42, 43, 44, 2],
    [60],
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_tokens", [100, 8])
def test_shared_beginnings_change_neither_log_probs_nor_gradients(family: str, max_tokens: int) -> None:
    assert family in TREE_FAMILIES
    plain, shared = policy_of(family), policy_of(family)
    assert supports_trees(shared.model)
    patch_attention(shared.model, "cpu")
    rows = rows_of(shared, TREE_PROMPTS, TREE_PROGRAMS, max_tokens, share=True)
    assert len(rows) == 2 if max_tokens == 100 else len(rows) > 2
    assert all(
        row.tokens <= max_tokens or len({tuple(TREE_PROGRAMS[number]) for number in members}) == 1
        for members, row in rows
    )
    weights = torch.randn(len(TREE_PROGRAMS), 6, generator=torch.Generator().manual_seed(0))
    found = token_log_probs(shared.model, collate_rows(shared, rows, TREE_PROGRAMS))
    expected = token_log_probs(plain.model, collate(plain, TREE_PROMPTS, TREE_PROGRAMS))
    assert found.mask.equal(expected.mask)
    torch.testing.assert_close(found.values, expected.values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.entropy, expected.entropy, atol=1e-5, rtol=1e-5)
    (found.values * weights).sum().backward()
    (expected.values * weights).sum().backward()
    for (name, ours), theirs in zip(shared.model.named_parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(
            ours.grad, theirs.grad, atol=1e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("elements", [1, 700, 1 << 22])
def test_log_probs_and_entropies_do_not_depend_on_the_slices_they_are_computed_in(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of("llama")
    expected = token_log_probs(policy.model, collate(policy, TREE_PROMPTS, TREE_PROGRAMS))
    expected.values.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in policy.model.parameters()]
    policy.model.zero_grad()
    monkeypatch.setattr("rltf.policy.log_probs._SLICE_ELEMENTS", elements)
    found = token_log_probs(policy.model, collate(policy, TREE_PROMPTS, TREE_PROGRAMS))
    found.values.square().sum().backward()
    torch.testing.assert_close((found.values, found.entropy), (expected.values, expected.entropy))
    for parameter, gradient in zip(policy.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_nothing_to_train_on_is_refused() -> None:
    policy = policy_of("llama")
    for prompts, programs in (([], []), ([[1]], []), ([[1]], [[]]), ([[]], [[1]])):
        with pytest.raises(ValueError, match="as many prompts as programs"):
            collate(policy, prompts, programs)


def test_trees_are_refused_where_relative_positions_would_be_counted_wrong() -> None:
    policy = policy_of("t5")
    with pytest.raises(ValueError, match="patch_attention"):
        collate_rows(policy, rows_of(policy, TREE_PROMPTS, TREE_PROGRAMS, 100, share=True), TREE_PROGRAMS)
