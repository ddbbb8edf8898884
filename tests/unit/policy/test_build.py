import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import ViTConfig

from rltf.config import PolicyConfig, UserError
from rltf.policy.encoding import encode_prompt
from rltf.policy.lora import LoraSettings
from rltf.policy.policy import build_policy, build_shape, make_spec
from rltf.problems import Prompt
from tests.support.policies import FAMILIES, TEXTS, policy_of, spec_of


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_policy_is_the_same_everywhere_and_starts_no_training_of_its_own(family: str) -> None:
    spec = pickle.loads(pickle.dumps(spec_of(family)))
    state = torch.random.get_rng_state()
    first, second, other = (build_policy(spec, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.random.get_rng_state())
    weights = dict(first.model.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in second.model.named_parameters())
    assert any(not torch.equal(weights[name], value) for name, value in other.model.named_parameters())
    assert type(first.model).__module__.startswith("transformers.models.")
    assert not first.model.training
    assert first.is_encoder_decoder == (family == "t5")


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "t5"])
def test_narrow_models_begin_with_larger_weights(family: str) -> None:
    policy = build_policy(spec_of(family))
    for name, weight in policy.model.named_parameters():
        if "embed_tokens" in name or "wte" in name:
            assert float(weight.detach()[3:].std()) == pytest.approx((2 / (5 * 32)) ** 0.5, rel=0.05)
            return
    pytest.fail("no token embedding was found")


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_saved_policy_comes_back_from_its_folder(family: str, tmp_path: Path) -> None:
    policy = policy_of(family)
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    spec = make_spec(PolicyConfig(model=str(tmp_path), max_program_tokens=128), [])
    again = build_policy(spec)
    weights = dict(policy.model.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in again.model.named_parameters())
    assert (again.pad_id, again.bos_id, again.eos_id, again.decoder_start_id) == (0, 1, 2, 0)
    assert build_policy(spec, weights=False).parameters == policy.parameters
    assert build_policy(spec, dtype="bfloat16").model.dtype == torch.bfloat16


@pytest.mark.parametrize("lora_rank", [0, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_has_the_names_shapes_and_prompts_of_the_policy_and_no_weights(family: str, lora_rank: int) -> None:
    if lora_rank:
        pytest.importorskip("peft", reason="adapters need peft, which is not installed here")
    plain = spec_of(family)
    spec = replace(plain, lora=LoraSettings(lora_rank, 6.0, ()) if lora_rank else None)
    policy, shape = build_policy(spec), build_shape(spec)
    assert {name: value.shape for name, value in shape.model.state_dict().items()} == {
        name: value.shape for name, value in policy.model.state_dict().items()
    }
    assert shape.parameters == policy.parameters, "tied weights count once in both"
    assert {value.device.type for value in shape.model.parameters()} == {"meta"}
    prompt = Prompt("", "a question", "\n")
    assert encode_prompt(shape, prompt) == encode_prompt(policy, prompt)


def _folder(path: Path, files: dict[str, str]) -> str:
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / name).write_text(content)
    return str(path)


def test_a_model_folder_that_is_none_is_refused_in_one_sentence(tmp_path: Path) -> None:
    cases = {
        str(tmp_path / "absent"): "does not exist",
        _folder(tmp_path / "empty", {}): "no config.json",
        _folder(tmp_path / "broken", {"config.json": "{"}): "no model",
        _folder(tmp_path / "unknown", {"config.json": '{"model_type": "abacus"}', "model.safetensors": ""}): "no model",
        _folder(tmp_path / "bare", {"config.json": '{"model_type": "gpt2"}'}): "no weights",
    }
    for folder, reason in cases.items():
        with pytest.raises(UserError, match=reason) as caught:
            make_spec(PolicyConfig(model=folder), TEXTS)
        assert folder in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_do_not_load_are_refused_in_one_sentence(tmp_path: Path) -> None:
    policy = policy_of("llama")
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not a safetensors file")
    spec = make_spec(PolicyConfig(model=str(tmp_path), max_program_tokens=128), [])
    with pytest.raises(UserError, match="No weights could be loaded"):
        build_policy(spec)


def test_a_tokenizer_folder_that_is_none_and_a_shape_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no tokenizer"):
        make_spec(PolicyConfig(tokenizer=str(tmp_path)), TEXTS)
    with pytest.raises(UserError, match="does not exist"):
        make_spec(PolicyConfig(tokenizer=str(tmp_path / "absent")), TEXTS)
    with pytest.raises(UserError, match="heads"):
        make_spec(PolicyConfig(d_model=30, heads=4), TEXTS)
    with pytest.raises(UserError, match="multiple of 4"):
        make_spec(PolicyConfig(family="codegen", d_model=32, heads=2), TEXTS)


def test_a_model_that_writes_no_text_is_named(tmp_path: Path) -> None:
    ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    policy_of("llama").tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a vit model: a causal or sequence-to-sequence language model is needed"):
        build_policy(make_spec(PolicyConfig(model=str(tmp_path)), []), weights=False)
