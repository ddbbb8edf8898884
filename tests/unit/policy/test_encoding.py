import random

import pytest

from rltf.config import PolicyConfig
from rltf.policy.encoding import PromptTooLong, decode_with_offsets, encode_program, encode_prompt, too_long
from rltf.policy.policy import Policy, build_policy, make_spec
from tests.support.policies import TEXTS, TOKENIZERS, Prompt, policy_of

ODD_TEXTS = [
    "def f(xs):\n\treturn [x  for x in xs]\n\n\n",
    "s = 'naïve café — 日本語 👍🏽 𝔘'  # ünïcode\nprint(s , end = ' . ')\n",
    " leading, don 't ' s ,  trailing   ",
    "x\r\ny\u00a0z\u200b\x00\x7f",
    "",
]


def _tokenizer_policy(name: str) -> Policy:
    if not TOKENIZERS.is_dir():
        pytest.skip("../shared/data/tokenizers is absent")
    family = "t5" if name == "codet5" else "gpt2"
    shape = PolicyConfig(family=family, d_model=8, layers=1, heads=2, d_ff=8, tokenizer=str(TOKENIZERS / name))
    return build_policy(make_spec(shape, []))


@pytest.fixture(scope="module", params=["trained", "gpt2", "codet5"])
def policy(request: pytest.FixtureRequest) -> Policy:
    return policy_of("llama") if request.param == "trained" else _tokenizer_policy(request.param)


def _check(policy: Policy, ids: list[int]) -> None:
    text, offsets = decode_with_offsets(policy, ids)
    assert text == policy.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert len(offsets) == len(ids)
    with_text = [offset for offset in offsets if offset < len(text)]
    assert with_text == sorted(with_text)
    for index, offset in enumerate(offsets):
        if offset == len(text):
            assert ids[index] >= len(policy.tokenizer) or ids[index] in policy.tokenizer.all_special_ids
            continue
        # What the tokens before say for certain is exactly the text up to the offset; they may have begun the character
        # at it.
        before = policy.tokenizer.decode(ids[:index], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert before[:offset] == text[:offset] or "\ufffd" in text
        assert len(before) - offset in (0, 1, 2, 3)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_any_text_survives_and_its_offsets_are_exact(policy: Policy, text: str) -> None:
    ids = encode_program(policy, text)
    assert ids[-1] == policy.eos_id
    decoded, offsets = decode_with_offsets(policy, ids)
    assert decoded == text
    assert offsets[-1] == len(text), "the end token has no text"
    _check(policy, ids)


def test_offsets_of_random_tokens_agree_with_the_tokenizer_even_where_bytes_are_no_utf8(policy: Policy) -> None:
    rng = random.Random(0)
    for _ in range(60):
        _check(policy, [rng.randrange(len(policy.tokenizer)) for _ in range(rng.randrange(1, 30))])


def test_tokens_that_share_a_character_have_its_offset() -> None:
    policy = policy_of("llama")
    ids = encode_program(policy, "a👍b")[:-1]
    text, offsets = decode_with_offsets(policy, ids)
    assert text == "a👍b"
    assert offsets == [0, 1, 1, 1, 1, 2]


def test_a_token_without_text_has_the_length_of_the_text_wherever_it_stands(policy: Policy) -> None:
    """CodeT5's embedding has 32,100 rows and its vocabulary file 32,000 tokens: the rest, `<extra_id_*>`, has no part
    in a program.
    """
    for written in ("ab", "x = 1\nÿé👍 = 2\n"):
        ids = encode_program(policy, written)[:-1]
        plain, plain_offsets = decode_with_offsets(policy, ids)
        for strange in (policy.eos_id, policy.pad_id, len(policy.tokenizer) + 7):
            for at in range(len(ids) + 1):
                text, offsets = decode_with_offsets(policy, [*ids[:at], strange, *ids[at:]])
                assert text == plain == written
                assert offsets == [*plain_offsets[:at], len(text), *plain_offsets[at:]]


def test_a_text_that_spells_a_special_token_is_text(policy: Policy) -> None:
    text = "x = '</s><pad><|endoftext|>'"
    ids = encode_program(policy, text)
    assert policy.eos_id not in ids[:-1]
    assert decode_with_offsets(policy, ids)[0] == text


def test_a_sentencepiece_like_tokenizer_decodes_as_transformers_does() -> None:
    from tokenizers import Tokenizer, decoders, normalizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    from rltf.policy.offset_decoder import OffsetDecoder

    inner = Tokenizer(BPE(byte_fallback=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>", *byte_tokens], show_progress=False
    )
    inner.train_from_iterator(TEXTS, trainer)
    # Byte tokens were listed as special only to get them into the vocabulary.
    vocabulary = inner.get_vocab()
    settings = __import__("json").loads(inner.to_str())
    settings["added_tokens"] = [token for token in settings["added_tokens"] if not token["content"].startswith("<0x")]
    inner = Tokenizer.from_str(__import__("json").dumps(settings))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    pieces = OffsetDecoder.from_tokenizer(tokenizer)
    assert pieces.kind == "metaspace" and pieces.beginning == "strip_one" and len(vocabulary) >= 259
    ids = tokenizer("def f(xs):  return 'é👍'", add_special_tokens=False)["input_ids"]
    text, offsets = pieces.decode(ids)
    assert text == tokenizer.decode(ids, clean_up_tokenization_spaces=False) == "def f(xs):  return 'é👍'"
    assert offsets == sorted(offsets) and offsets[0] == 0


def test_a_long_question_is_cut_and_what_follows_survives(policy: Policy) -> None:
    prompt = Prompt("\nQUESTION:\n", "count the words " * 200, "\nUse Standard Input format\n\nANSWER:\n")
    ids = encode_prompt(policy, prompt)
    assert len(ids) == policy.spec.max_prompt_tokens
    text = decode_with_offsets(policy, ids)[0]
    assert text.startswith("\nQUESTION:\ncount the words") and text.endswith(prompt.after)
    short = Prompt("Q: ", "one", "\nA: ")
    assert decode_with_offsets(policy, encode_prompt(policy, short))[0] == "Q: one\nA: "


def test_a_prompt_whose_tail_cannot_fit_is_refused_with_the_length_it_needs(policy: Policy) -> None:
    prompt = Prompt("", "question", "assert f(1) == 2\n" * 200)
    with pytest.raises(PromptTooLong, match="policy.max_prompt_tokens"):
        encode_prompt(policy, prompt)
    assert list(too_long(policy, {"long": prompt, "short": Prompt("", "q", "\n")})) == ["long"]


def test_special_tokens_frame_a_prompt_by_the_tokenizers_convention() -> None:
    ids = encode_prompt(policy_of("llama"), Prompt("", "x", "\n"))
    assert ids[0] == 1 and 2 not in ids
    assert encode_prompt(policy_of("t5"), Prompt("", "x", "\n"))[-1] == 2
    codet5 = _tokenizer_policy("codet5")
    framed = encode_prompt(codet5, Prompt("", "x", "\n"))
    assert (framed[0], framed[-1]) == (1, 2) and codet5.pad_id == 0 and codet5.decoder_start_id == 0


def test_a_program_longer_than_allowed_is_cut_and_not_ended() -> None:
    policy = policy_of("llama")
    ids = encode_program(policy, "x = 1\n" * 50)
    assert len(ids) == policy.spec.max_program_tokens and policy.eos_id not in ids
