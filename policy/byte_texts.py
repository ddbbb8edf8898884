"""Each token's share of the decoded text, exactly: bytes where the tokenizer is byte-level or has byte fallback.

The line that a unit test blames becomes a token span through the offsets made here, so they are computed from the bytes of
the tokens, never by searching text or by decoding again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class TextPieces:
    """Bytes that each token id adds to a text; special tokens add none.

    `kind` byte_level: GPT-2's alphabet of printable stand-ins for bytes. metaspace: SentencePiece pieces, a space before a
    text's first word dropped as the decoder does, bytes as `<0xNN>`. opaque: anything else, decoded prefix by prefix.
    """

    kind: Literal["byte_level", "metaspace", "opaque"]
    pieces: tuple[bytes, ...]
    strips_first_space: bool
    tokenizer: Any

    @classmethod
    def of(cls, tokenizer: Any) -> TextPieces:
        """Reads the tokenizer's vocabulary once."""
        kind, strips = _kind(tokenizer)
        if kind == "opaque":
            return cls("opaque", (), False, tokenizer)
        special = set(tokenizer.all_special_ids)
        added = {index: token for index, token in tokenizer.added_tokens_decoder.items()}
        names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        alphabet = _byte_alphabet()
        pieces = []
        for index, name in enumerate(names):
            if name is None or index in special or (index in added and added[index].special):
                pieces.append(b"")
            elif index in added:
                pieces.append(added[index].content.encode())
            elif kind == "byte_level":
                pieces.append(bytes(alphabet[character] for character in name))
            elif len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
                pieces.append(bytes([int(name[3:5], 16)]))
            else:
                pieces.append(name.replace("▁", " ").encode())
        return cls(kind, tuple(pieces), strips, tokenizer)

    def decode(self, token_ids: list[int]) -> tuple[str, list[int]]:
        """The text of `token_ids` and, for each token, the index of the character that its first byte belongs to.

        A character split over several tokens has the same index in each of them. A token without text has the index of the
        next token's character (len(text) at the end). Bytes that are no UTF-8 become U+FFFD, one per maximal invalid run,
        as decoders do.
        """
        if self.kind == "opaque":
            return self._decode_by_prefixes(token_ids)
        # An id beyond the vocabulary (a padded embedding matrix has some) has no text.
        parts = [self.pieces[index] if index < len(self.pieces) else b"" for index in token_ids]
        if self.strips_first_space:
            first = next((i for i, part in enumerate(parts) if part), None)
            if first is not None and parts[first].startswith(b" "):
                parts[first] = parts[first][1:]
        data = b"".join(parts)
        starts = []
        position = 0
        for part in parts:
            starts.append(position)
            position += len(part)
        if data.isascii():
            return data.decode("ascii"), starts
        text, character_of = _decode_utf8(data)
        return text, [character_of[start] for start in starts]

    def _decode_by_prefixes(self, token_ids: list[int]) -> tuple[str, list[int]]:
        text = self._plain(token_ids)
        offsets: list[int] = []
        for count in range(len(token_ids)):
            prefix = self._plain(token_ids[:count])
            agreed = 0
            for ours, theirs in zip(prefix, text, strict=False):
                if ours != theirs:
                    break
                agreed += 1
            offsets.append(max(agreed, offsets[-1] if offsets else 0))
        return text, offsets

    def _plain(self, token_ids: list[int]) -> str:
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _kind(tokenizer: Any) -> tuple[Literal["byte_level", "metaspace", "opaque"], bool]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return "opaque", False
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    steps = decoder.get("decoders", [decoder]) if decoder.get("type") == "Sequence" else [decoder]
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"]:
        return "byte_level", False
    if kinds == ["Metaspace"]:
        return "metaspace", steps[0].get("prepend_scheme", "always") != "never"
    if "Replace" in kinds and set(kinds) <= {"Replace", "ByteFallback", "Fuse", "Strip"}:
        replaced = next(step for step in steps if step["type"] == "Replace")
        if replaced.get("content") == " " and replaced.get("pattern") == {"String": "▁"}:
            strips = [step for step in steps if step["type"] == "Strip"]
            if not strips or (len(strips) == 1 and (strips[0]["start"], strips[0]["stop"]) == (1, 0)):
                return "metaspace", bool(strips)
    return "opaque", False


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
