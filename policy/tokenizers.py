"""Tokenizers: trained on the run's own texts, or read from files; always `transformers` fast tokenizers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rltf.config import UserError, first_line

PAD, BOS, EOS = "<pad>", "<s>", "</s>"

TokenizerFiles = tuple[tuple[str, bytes], ...]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """A byte-level BPE of `vocab_size` tokens, `<pad>` 0, `<s>` 1 and `</s>` 2 among them; deterministic in `texts`.

    Every byte is a token, so any text encodes and decodes exactly. A text too poor for the size gives fewer tokens.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def read_tokenizer(source: str) -> Any:
    """The tokenizer of a folder with tokenizer.json or with one `*vocab.json` and one `*merges.txt`, or of a hub name.

    Raises UserError when there is none.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer_config.json").is_file():
            vocabularies, merges = sorted(folder.glob("*vocab.json")), sorted(folder.glob("*merges.txt"))
            if len(vocabularies) == 1 and len(merges) == 1:
                return _byte_level_bpe(vocabularies[0], merges[0])
            raise UserError(
                f"{source} holds no tokenizer: expected tokenizer.json, or one *vocab.json and one *merges.txt."
            )
        source = str(folder)
    elif _looks_like_a_path(source):
        raise UserError(f"Tokenizer folder {source} does not exist.")
    try:
        return AutoTokenizer.from_pretrained(source, clean_up_tokenization_spaces=False)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise UserError(f"{source} holds no tokenizer that transformers can load: {first_line(error)}") from error


def has_chat_template(model: str, tokenizer: Any) -> bool:
    """Whether the tokenizer, or the folder of a model that is given another one, says how a conversation is written for
    it.
    """
    return bool(tokenizer.chat_template) or (bool(model) and folder_has_chat_template(Path(model).expanduser()))


def folder_has_chat_template(folder: Path) -> bool:
    """Whether a model's folder says how a conversation is written for it."""
    if any(
        (folder / name).exists() for name in ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
    ):
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # a folder without settings, or a name on the hub, whose tokenizer was looked at
    return isinstance(settings, dict) and bool(settings.get("chat_template"))


def frame(tokenizer: Any, encoder_decoder: bool) -> None:
    """Where the tokenizer puts no special token around a text: a beginning before it, or, for an encoder, an end behind
    it.

    A token that both begins and ends a text, as GPT-2 has it, is not put before a prompt.
    """
    if tokenizer("a", add_special_tokens=True)["input_ids"] != tokenizer("a", add_special_tokens=False)["input_ids"]:
        return
    token, number = (
        (tokenizer.eos_token, tokenizer.eos_token_id)
        if encoder_decoder
        else (tokenizer.bos_token, tokenizer.bos_token_id)
    )
    if encoder_decoder or (token is not None and token != tokenizer.eos_token):
        template = f"$A {token}" if encoder_decoder else f"{token} $A"
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(token, number)]
        )


def to_files(tokenizer: Any) -> TokenizerFiles:
    """The tokenizer as (file name, content) pairs that `from_files` restores in another process, on another machine."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = sorted(
            path for path in Path(folder).rglob("*") if path.is_file()
        )  # further chat templates have a folder of their own
        return tuple((path.relative_to(folder).as_posix(), path.read_bytes()) for path in files)


def from_files(files: TokenizerFiles) -> Any:
    """The inverse of `to_files`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files:
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        return AutoTokenizer.from_pretrained(folder, clean_up_tokenization_spaces=False)


def _looks_like_a_path(source: str) -> bool:
    # A hub name is `name` or `owner/name`; everything else was meant as a folder.
    return source.startswith((".", "/", "~")) or source.count("/") > 1 or source.endswith("/")


def _byte_level_bpe(vocabulary: Path, merges: Path) -> Any:
    try:
        model = BPE.from_file(str(vocabulary), str(merges))
        tokenizer = Tokenizer(model)
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{vocabulary} and {merges} are no BPE vocabulary and merges: {first_line(error)}") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    known = set(tokenizer.get_vocab())
    if "<|endoftext|>" in known:  # GPT-2: one token ends a text, begins one, and there is none for padding
        roles = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    else:  # RoBERTa's convention, CodeT5's too
        names = {"pad_token": PAD, "bos_token": BOS, "eos_token": EOS, "unk_token": "<unk>", "mask_token": "<mask>"}
        roles = {role: name for role, name in names.items() if name in known}
    if "eos_token" not in roles:
        raise UserError(f"{vocabulary} has neither <|endoftext|> nor {EOS}: no token would end a program.")
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in dict.fromkeys(roles.values())]
    )
    if roles.get("bos_token") == BOS and PAD in known:
        ids = tokenizer.get_vocab()
        tokenizer.post_processor = processors.RobertaProcessing(
            (EOS, ids[EOS]), (BOS, ids[BOS]), trim_offsets=False, add_prefix_space=False
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **roles)
