"""Responses that hold a program: the parts come back from the wire, and what does not fit is malformed."""

from __future__ import annotations

import msgspec
import pytest

from rltf.buffer.columns import Floats, Ints
from rltf.buffer.records import Malformed, decode_program, decode_source, encode, encode_parts, join
from tests.support.buffer_programs import program

REPLY = {"text": "So:\n```\nprint(1)\n```\n", "spans": Ints([8, 17])}


def test_the_program_in_a_response_comes_back() -> None:
    sent = program("g", 0, lead="import x\n", end_tokens=1, **REPLY)
    found = decode_program(encode(sent))
    assert found == sent and found.code == "import x\nprint(1)\n" and found.parts == [(8, 17)]
    assert decode_source(encode_parts(sent)[0]).code == sent.code


def test_a_response_is_a_program_as_a_whole_or_holds_none() -> None:
    whole, without = program("g", 0), program("g", 1, has_program=False)
    assert decode_program(encode(whole)).code == whole.text
    assert decode_program(encode(without)).code == "" and not decode_program(encode(without)).parts


def test_records_of_earlier_versions_are_programs_as_a_whole() -> None:
    source, trace = (msgspec.msgpack.decode(part) for part in encode_parts(program("g", 0)))
    for later in ("lead", "spans", "has_program"):
        del source[later]
    found = decode_program(join(msgspec.msgpack.encode(source), msgspec.msgpack.encode(trace[:10])))
    assert found == program("g", 0) and found.code == "print(1)" and found.end_tokens == 0


@pytest.mark.parametrize("spans", [[8], [8, 7], [3, 5, 4, 6], [0, 22]])
def test_spans_that_are_none_of_the_text_are_malformed(spans: list[int]) -> None:
    with pytest.raises(Malformed, match="spans"):
        decode_program(encode(program("g", 0, **(REPLY | {"spans": Ints(spans)}))))


def test_log_probs_as_sampled_are_those_of_all_tokens_or_none() -> None:
    with pytest.raises(Malformed, match="2 tokens, 1 log-probabilities as sampled"):
        decode_program(encode(program("g", 0, sampled_log_probs=Floats([-0.5]))))
    sent = program("g", 0, top_k=3, sampled_log_probs=Floats([-0.5, -0.125]))
    assert decode_program(encode(sent)) == sent


@pytest.mark.parametrize("number", [3, -1])
def test_more_tokens_that_end_it_than_there_are_is_malformed(number: int) -> None:
    with pytest.raises(Malformed, match="of 2 tokens are said to end it"):
        decode_program(encode(program("g", 0, end_tokens=number)))
