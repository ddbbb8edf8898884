"""Texts, offsets and spans of lines for tokenizers of every make, against the bytes of their tokens and against
`transformers`' decoder.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE, Unigram, WordPiece
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from rltf.buffer.records import Program
from rltf.learner.spans import line_span
from rltf.policy.offset_decoder import OffsetDecoder
from rltf.policy.tokenizers import from_files, read_tokenizer, to_files
from tests.support.equations import byte_pieces
from tests.support.learner_parts import characters
from tests.support.policies import TOKENIZERS

CORPUS = [
    "def f(xs):\n    return [x  for x in xs]\n\n\tif a:\n\t\tb = 'naïve – 日本 👍'\n        y = 1\n",
    "for i in range(n):\n    print(i , end = ' . ')\nx = [ ]\n",
] * 20
TEXTS = [
    "def f(xs):\n    y = xs[9]\n    y = xs[9]\n\t\treturn  y\n",
    "s = 'é日本語 👍🏽 𝔘'  # ünïcode ▁ \nprint(s , end = ' . ')",
    "   x = 1\n\n\n        y  =  2   \n日\n本",
    "don 't , a n't . <x> ! \n </s> [UNK]\n",
]


def _fast(inner: Tokenizer, **roles: str) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, clean_up_tokenization_spaces=False, **(roles or {"eos_token": "</s>"})
    )


def _qwen() -> Any:
    inner = Tokenizer(BPE())
    inner.normalizer = normalizers.NFC()
    words = Regex(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    split, byte_level = pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=380, initial_alphabet=alphabet, show_progress=False)
    )
    inner.add_special_tokens([AddedToken("</s>", special=True)])
    inner.add_tokens([AddedToken("<tool>", special=False), AddedToken("日本", special=False)])
    return _fast(inner)


def _codegen() -> Any:
    """GPT-2's with runs of 31 to 2 blanks and of 9 to 2 tabs added, as CodeGen has it."""
    tokenizer = read_tokenizer(str(TOKENIZERS / "gpt2"))
    runs = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]
    tokenizer.add_tokens([AddedToken(run, normalized=True, special=False) for run in runs])
    assert len(tokenizer) == 50_295
    return tokenizer


def _codet5() -> Any:
    tokenizer = read_tokenizer(str(TOKENIZERS / "codet5"))
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<extra_id_{n}>" for n in range(99, -1, -1)]})
    assert len(tokenizer) == 32_100
    return tokenizer


def _sentencepiece(prefix: bool) -> Any:
    """Byte fallback as Llama has it, or as Gemma has it, without a blank put before the text."""
    inner = Tokenizer(BPE(byte_fallback=True, unk_token="<unk>"))
    steps = [normalizers.Prepend("▁")] if prefix else []
    inner.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    letters = sorted(set("".join(CORPUS)) - set("日👍é– \n"))
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<unk>", "<s>", "</s>", *fallback],
        initial_alphabet=letters,
        limit_alphabet=90,
        show_progress=False,
    )
    inner.train_from_iterator([text.replace("日", "").replace("👍", "").replace("\n", "") for text in CORPUS], trainer)
    settings = json.loads(inner.to_str())  # byte tokens were called special only to get them into the vocabulary
    settings["added_tokens"] = [token for token in settings["added_tokens"] if not token["content"].startswith("<0x")]
    return _fast(Tokenizer.from_str(json.dumps(settings)), unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def _unigram() -> Any:
    inner = Tokenizer(Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    return _fast(inner, unk_token="<unk>", eos_token="</s>")


def _wordpiece() -> Any:
    inner = Tokenizer(WordPiece(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.decoder = decoders.WordPiece(cleanup=False)
    inner.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=160, special_tokens=["[UNK]", "</s>"], show_progress=False)
    )
    return _fast(inner, unk_token="[UNK]", eos_token="</s>")


MAKES: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: read_tokenizer(str(TOKENIZERS / "gpt2")),
    "codegen": _codegen,
    "codet5": _codet5,
    "qwen2": _qwen,
    "llama": lambda: _sentencepiece(True),
    "gemma": lambda: _sentencepiece(False),
    "unigram": _unigram,
    "wordpiece": _wordpiece,
    "byt5": ByT5Tokenizer,
}
FROM_FILES = ("gpt2", "codegen", "codet5")
EVERY_TEXT = ("gpt2", "codegen", "codet5", "qwen2", "llama", "gemma", "byt5")
"""Tokenizers that lose nothing of a text."""


@pytest.fixture(scope="module", params=MAKES)
def make(request: pytest.FixtureRequest) -> tuple[str, Any, OffsetDecoder]:
    if request.param in FROM_FILES and not TOKENIZERS.is_dir():
        pytest.skip("../shared/data/tokenizers is absent")
    tokenizer = MAKES[request.param]()
    return request.param, tokenizer, OffsetDecoder.from_tokenizer(tokenizer)


def decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def encoded(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def test_kinds(make: tuple[str, Any, OffsetDecoder]) -> None:
    name, _, pieces = make
    kinds = {
        "llama": "metaspace",
        "gemma": "metaspace",
        "unigram": "metaspace",
        "wordpiece": "opaque",
        "byt5": "opaque",
    }
    assert pieces.kind == kinds.get(name, "byte_level")


def test_random_tokens_decode_as_transformers_does(make: tuple[str, Any, OffsetDecoder]) -> None:
    _, tokenizer, pieces = make
    rng = random.Random(7)
    for _ in range(60):
        ids = [rng.randrange(len(tokenizer)) for _ in range(rng.randrange(1, 25))]
        text, offsets = pieces.decode(ids)
        assert text == decoded(tokenizer, ids)
        with_text = [offset for offset in offsets if offset != len(text)]
        assert (
            len(offsets) == len(ids)
            and with_text == sorted(with_text)
            and 0 <= min(offsets) <= max(offsets) <= len(text)
        )


@pytest.mark.parametrize("text", TEXTS)
def test_lines_have_exactly_the_tokens_that_hold_bytes_of_them(make: tuple[str, Any, OffsetDecoder], text: str) -> None:
    name, tokenizer, pieces = make
    ids = [*encoded(tokenizer, text), tokenizer.eos_token_id]
    found, offsets = pieces.decode(ids)
    assert found == decoded(tokenizer, ids)
    if name not in EVERY_TEXT:
        return
    if name in ("llama", "gemma"):
        text = text.replace("▁", " ")  # they cannot tell the two apart
    assert found == text
    _check_lines(text, characters(text, token_ids=ids, offsets=offsets), _bytes_of(name, tokenizer, ids))


def _check_lines(text: str, program: Program, parts: list[bytes]) -> None:
    """Each line's span against the bytes that each token holds."""
    assert b"".join(parts).decode() == text
    begin = 0
    for number, line in enumerate(re.findall(b"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text.encode()), start=1):
        end, position, touched = begin + len(line), 0, []
        for index, part in enumerate(parts):
            if part and position < end and position + len(part) > begin:
                touched.append(index)
            position += len(part)
        assert [index for index in range(touched[0], touched[-1] + 1) if parts[index]] == touched
        assert line_span(program, number) == (touched[0], touched[-1] + 1), f"line {number}"
        begin = end


@pytest.mark.parametrize("text", [*TEXTS, "é = 1\r\n日本 = 2\rß\n\n👍👍", "👍"])
def test_tokens_without_text_anywhere_change_no_line(make: tuple[str, Any, OffsetDecoder], text: str) -> None:
    """A token without text is in a line's span between two of its tokens alone, also where lines begin and end with
    split characters.
    """
    name, tokenizer, pieces = make
    if name not in EVERY_TEXT:
        return
    ids = encoded(tokenizer, text)
    rng = random.Random(3)
    # Of an id beyond its vocabulary ByT5 makes a character that it cannot write.
    for strange in (tokenizer.eos_token_id,) if name == "byt5" else (tokenizer.eos_token_id, len(tokenizer) + 5):
        for _ in range(3):
            mixed = list(ids)
            for _ in range(rng.randrange(1, 6)):
                mixed.insert(rng.randrange(len(mixed) + 1), strange)
            found, offsets = pieces.decode(mixed)
            parts = iter(_bytes_of(name, tokenizer, ids))
            _check_lines(
                found,
                characters(found, token_ids=mixed, offsets=offsets),
                [b"" if i == strange else next(parts) for i in mixed],
            )


def _bytes_of(name: str, tokenizer: Any, ids: list[int]) -> list[bytes]:
    """By the rules of each make, written out."""
    if name == "byt5":
        return [bytes([index - 3]) if 3 <= index < 259 else b"" for index in ids]
    names = tokenizer.convert_ids_to_tokens(ids)
    if name in ("llama", "gemma"):
        parts = [b"" if piece in ("<s>", "</s>") else piece.replace("▁", " ").encode() for piece in names]
        parts = [
            bytes([int(piece[3:5], 16)]) if piece.startswith("<0x") else part
            for piece, part in zip(names, parts, strict=True)
        ]
        return [parts[0][1:], *parts[1:]] if name == "llama" else parts
    blank = {index: piece for index, piece in enumerate(names) if piece.isspace() or piece in ("日本", "<tool>")}
    plain = byte_pieces(tokenizer, [index if at not in blank else ids[-1] for at, index in enumerate(ids)])
    return [blank[at].encode() if at in blank else part for at, part in enumerate(plain)]


@pytest.mark.parametrize("name", ["codet5", "qwen2", "llama", "byt5"])
def test_tokenizers_are_the_same_on_another_machine(name: str) -> None:
    if name in FROM_FILES and not TOKENIZERS.is_dir():
        pytest.skip("../shared/data/tokenizers is absent")
    tokenizer = MAKES[name]()
    again = from_files(to_files(tokenizer))
    ours, theirs = OffsetDecoder.from_tokenizer(again), OffsetDecoder.from_tokenizer(tokenizer)
    assert len(again) == len(tokenizer) and again.eos_token_id == tokenizer.eos_token_id
    for text in TEXTS:
        ids = encoded(tokenizer, text)
        assert encoded(again, text) == ids
        assert ours.decode(ids) == theirs.decode(ids)
