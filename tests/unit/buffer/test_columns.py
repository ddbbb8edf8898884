"""Columns of numbers: what they hold, refuse, and are on the wire."""

from __future__ import annotations

import math
import pickle
import struct

import msgspec
import pytest

from rltf.buffer.columns import Floats, Ints, from_wire, to_wire
from rltf.buffer.records import Malformed, Program, Source, decode_program, encode
from tests.support.buffer_programs import program

FLOATS = [0.0, -0.5, -1e-9, -88.0, 1.5e38, 2.0**-149]


@pytest.mark.parametrize(("kind", "values"), [(Ints, [0, 1, 2**31 - 1]), (Ints, []), (Floats, FLOATS)])
def test_numbers_come_back_as_they_were(kind, values):
    column = kind(values)
    wire = msgspec.msgpack.encode(column, enc_hook=to_wire)
    again = msgspec.msgpack.decode(wire, type=kind, dec_hook=from_wire)
    single = [struct.unpack("<f", struct.pack("<f", value))[0] for value in values] if kind is Floats else values
    assert again == single and type(again) is kind and again == column
    assert pickle.loads(pickle.dumps(column)) == column


@pytest.mark.parametrize("values", [[-1], [5, -(2**31)], [2**31], [1.5], ["1"]])
def test_what_is_no_id_is_refused(values):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        Ints(values)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, 2.0**127])
def test_what_is_no_log_probability_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        Floats([-0.5, value])
    with pytest.raises(ValueError, match="not finite"):
        Floats(struct.pack("<2f", -0.5, value))


def test_records_that_were_written_earlier_are_read():
    """A program's bytes as they lay in Redis and travelled before responses had spans: other names or another order of
    fields would be another schema.
    """
    written = bytes.fromhex(
        "92c44287a6736368656d6102a26964a161aa70726f626c656d5f6964a162a867726f75705f6964a163a7707572706f7365a5747261696ea56c6162656ca0"
        "a474657874a178c4369a02c2c40401000000c40402000000c404000080bf91920000a473746f70cb3ff0000000000000cb3ff0000000000000c40400000000"
    )
    found = decode_program(written)
    assert (found.id, found.problem_id, found.group_id, found.text, list(found.token_ids)) == ("a", "b", "c", "x", [2])
    assert decode_program(encode(found)) == found and isinstance(found, Source) and found.code == "x"


def test_a_program_with_such_numbers_is_malformed():
    whole = program("a", 0, token_ids=Ints([3, 4]), log_probs=Floats([-0.5, -0.25]))
    assert decode_program(encode(whole)) == whole
    for column, broken in (
        (struct.pack("<2f", -0.5, -0.25), struct.pack("<2f", -0.5, math.nan)),
        (struct.pack("<2i", 3, 4), struct.pack("<2i", 3, -4)),
    ):
        with pytest.raises(Malformed):
            decode_program(encode(whole).replace(column, broken))
    with pytest.raises(Malformed, match="1 offsets"):
        decode_program(encode(msgspec.structs.replace(whole, offsets=Ints([0]))))
    assert isinstance(decode_program(encode(whole)), Program)
