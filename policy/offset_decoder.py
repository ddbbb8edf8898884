"""Each token's share of the decoded text, exactly: bytes where the tokenizer is byte-level or has byte fallback.

The line that a unit test blames becomes a token span through the offsets made here, so they are computed from the bytes
of the tokens, never by searching text or by decoding again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

_BLANK = "▁"
Beginning = Literal["keep", "strip_one", "drop_blanks"]
"""What the decoder does where a text begins: nothing, drop one blank, or drop all blanks of the first piece."""


@dataclass(frozen=True)
class OffsetDecoder:
    """Bytes that each token id adds to a text; special tokens add none.

    `kind` byte_level: GPT-2's alphabet of printable stand-ins for bytes. metaspace: SentencePiece pieces, blanks that
    begin a text dropped as the decoder does, bytes as `<0xNN>`. opaque: anything else, decoded prefix by prefix.
    """

    kind: Literal["byte_level", "metaspace", "opaque"]
    pieces: tuple[bytes, ...]
    beginning: Beginning
    single_bytes: frozenset[int]
    """Ids of pieces that are one byte by fallback."""
    without_text: frozenset[int]
    """Ids of special tokens."""
    tokenizer: Any

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> OffsetDecoder:
        """Reads the tokenizer's vocabulary once."""
        kind, beginning = _kind(tokenizer)
        added = tokenizer.added_tokens_decoder
        special = frozenset(tokenizer.all_special_ids) | {index for index in added if added[index].special}
        if kind == "opaque":
            return cls("opaque", (), beginning, frozenset(), special, tokenizer)
        names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        alphabet = _byte_alphabet()
        pieces = []
        single_bytes = set()
        for index, name in enumerate(names):
            if name is None or index in special:
                pieces.append(b"")
            elif kind == "byte_level":
                # What is not spelt in the alphabet alone stands for itself, as the runs of blanks that CodeGen adds.
                known = all(character in alphabet for character in name)
                pieces.append(bytes(alphabet[character] for character in name) if known else name.encode())
            elif len(name) == 6 and name.startswith("<0x") and name.endswith(">") and beginning != "drop_blanks":
                pieces.append(bytes([int(name[3:5], 16)]))
                single_bytes.add(index)
            else:
                pieces.append(name.replace(_BLANK, " ").encode())
        return cls(kind, tuple(pieces), beginning, frozenset(single_bytes), special, tokenizer)

    def decode(self, token_ids: list[int]) -> tuple[str, list[int]]:
        """The text of `token_ids` and, for each token, the index of the character that its first byte belongs to.

        A character split over several tokens has the same index in each of them. A token without text has len(text),
        which no other token has, wherever it stands. Bytes that are no UTF-8 become U+FFFD, one per maximal invalid
        run, as decoders do.
        """
        if self.kind == "opaque":
            return self._decode_by_prefixes(token_ids)
        # An id beyond the vocabulary (a padded embedding matrix has some) has no text.
        parts = [self.pieces[index] if index < len(self.pieces) else b"" for index in token_ids]
        if self.kind == "metaspace":
            self._replace_broken(token_ids, parts)
            self._begin(parts)
        data = b"".join(parts)
        starts = []
        position = 0
        for part in parts:
            starts.append(position)
            position += len(part)
        text, character_of = (data.decode("ascii"), None) if data.isascii() else _decode_utf8(data)
        offsets = starts if character_of is None else [character_of[start] for start in starts]
        return text, [offset if part else len(text) for offset, part in zip(offsets, parts, strict=True)]

    def _begin(self, parts: list[bytes]) -> None:
        """Drops what the decoder drops at the beginning of a text."""
        first = next((i for i, part in enumerate(parts) if part), None)
        if first is None:
            return
        if self.beginning == "drop_blanks":
            parts[first] = parts[first].replace(b" ", b"")
        elif self.beginning == "strip_one" and parts[first].startswith(b" "):
            parts[first] = parts[first][1:]

    def _replace_broken(self, token_ids: list[int], parts: list[bytes]) -> None:
        """A run of single bytes that is no UTF-8 as a whole becomes one U+FFFD per byte."""
        run: list[int] = []
        for position, index in enumerate([*token_ids, -1]):
            if index in self.single_bytes:
                run.append(position)
            elif index < 0 or parts[position]:  # a token without text does not end a run
                try:
                    b"".join(parts[i] for i in run).decode("utf-8")
                except UnicodeDecodeError:
                    for i in run:
                        parts[i] = "\ufffd".encode()
                run = []

    def _decode_by_prefixes(self, token_ids: list[int]) -> tuple[str, list[int]]:
        text = self._plain(token_ids)
        offsets: list[int] = []
        reached = 0
        for count, index in enumerate(token_ids):
            prefix = self._plain(token_ids[:count])
            agreed = next(
                (at for at, (ours, theirs) in enumerate(zip(prefix, text, strict=False)) if ours != theirs), len(prefix)
            )
            reached = min(max(agreed, reached), len(text))
            offsets.append(len(text) if index in self.without_text or index >= len(self.tokenizer) else reached)
        return text, offsets

    def _plain(self, token_ids: list[int]) -> str:
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _kind(tokenizer: Any) -> tuple[Literal["byte_level", "metaspace", "opaque"], Beginning]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return "opaque", "keep"
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    steps = decoder.get("decoders", [decoder]) if decoder.get("type") == "Sequence" else [decoder]
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"]:
        return "byte_level", "keep"
    if kinds == ["Metaspace"] and steps[0].get("replacement", _BLANK) == _BLANK:
        return "metaspace", "keep" if steps[0].get("prepend_scheme", "always") == "never" else "drop_blanks"
    if kinds[:3] == ["Replace", "ByteFallback", "Fuse"] and kinds[3:] in ([], ["Strip"]):
        strip = steps[3] if len(steps) > 3 else None
        replaces = steps[0].get("content") == " " and steps[0].get("pattern") == {"String": _BLANK}
        if replaces and (strip is None or (strip["content"], strip["start"], strip["stop"]) == (" ", 1, 0)):
            return "metaspace", "keep" if strip is None else "strip_one"
    return "opaque", "keep"


def _decode_utf8(data: bytes) -> tuple[str, list[int]]:
    """The text and, per byte (one more for the end), the index of its character."""
    parts: list[str] = []
    character_of: list[int] = []
    count = 0
    position = 0
    while position < len(data):
        bad = None
        try:
            part = data[position:].decode("utf-8")
        except UnicodeDecodeError as error:
            bad = error
            part = data[position : position + error.start].decode("utf-8")
        for character in part:
            character_of += [count] * len(character.encode("utf-8"))
            count += 1
        parts.append(part)
        if bad is None:
            break
        parts.append("\ufffd")
        character_of += [count] * (bad.end - bad.start)
        count += 1
        position += bad.end
    character_of.append(count)
    return "".join(parts), character_of


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte (Radford et al. 2019, `bytes_to_unicode`), inverted."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in plain}
    rest = [byte for byte in range(256) if byte not in set(plain)]
    table |= {chr(256 + index): byte for index, byte in enumerate(rest)}
    return table
