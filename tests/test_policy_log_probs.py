import pytest
import torch
from policies import FAMILIES, policy_of

from policy.log_probs import collate, token_log_probs

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [20]]
PROGRAMS = [[30, 31, 32, 33, 2], [40, 2], [50, 51, 52]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_says_the_same_as_each_program_alone_without_padding(family: str) -> None:
    policy = policy_of(family)
    batch = token_log_probs(policy.model, collate(policy, PROMPTS, PROGRAMS))
    for row, (prompt, program) in enumerate(zip(PROMPTS, PROGRAMS, strict=True)):
        if policy.is_encoder_decoder:
            logits = policy.model(
                input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[policy.decoder_start_id, *program[:-1]]])
            ).logits[0]
        else:
            logits = policy.model(input_ids=torch.tensor([prompt + program])).logits[0, len(prompt) - 1 : -1]
        log_p = torch.log_softmax(logits, dim=-1)
        expected = log_p[torch.arange(len(program)), torch.tensor(program)]
        length = len(program)
        torch.testing.assert_close(batch.values[row, :length], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(batch.entropy[row, :length], -(log_p.exp() * log_p).sum(-1), atol=1e-4, rtol=1e-4, check_stride=False)
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
    assert seen == [(2, 2)]


def test_nothing_to_train_on_is_refused() -> None:
    policy = policy_of("llama")
    for prompts, programs in (([], []), ([[1]], []), ([[1]], [[]]), ([[]], [[1]])):
        with pytest.raises(ValueError, match="as many prompts as programs"):
            collate(policy, prompts, programs)
