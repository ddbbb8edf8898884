"""Shared memory between processes: one writer or many readers, nothing read that is not whole, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rltf.weights.slots import Slot, SlotLost, SlotName, make_slot
from tests.support.paths import ROOT

WRITER = """
import sys
from rltf.weights.slots import Slot, SlotName
slot = Slot(SlotName(int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3]), 1 << 20))
assert slot.begin_writing()
slot.data[:] = 7
if sys.argv[4] == "whole":
    slot.end_writing(5)
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def name() -> Iterator[SlotName]:
    made = make_slot(1 << 20)
    yield made
    os.close(made.fd)


def writer(name: SlotName, how: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(name.pid), str(name.fd), name.token.hex(), how]
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None and process.stdout.readline() == "written\n"
    return process


def test_what_another_process_wrote_is_read_by_its_version_alone(name: SlotName) -> None:
    reader = Slot(name)
    assert not reader.begin_reading(5)  # nothing was written yet
    process = writer(name, "whole")
    assert reader.begin_reading(5) and (reader.data == 7).all() and reader.data.nbytes == 1 << 20
    process.communicate()
    other = Slot(name)
    assert other.begin_reading(5), "readers do not keep each other out"
    assert not other.begin_writing(), "while one reads, no one writes"
    other.unlock()
    assert not Slot(name).begin_writing()
    reader.unlock()
    assert Slot(name).begin_writing() and not reader.begin_reading(5)
    assert not other.begin_reading(4)


def test_a_writer_that_dies_leaves_no_lock_and_nothing_to_read(name: SlotName) -> None:
    process = writer(name, "half")
    slot = Slot(name)
    assert not slot.begin_reading(5) and not slot.begin_writing()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not slot.begin_reading(5)
    assert slot.begin_writing()
    slot.end_writing(6)
    assert slot.begin_reading(6)


def test_memory_that_is_not_there_any_more_is_said_to_be_lost(name: SlotName) -> None:
    with pytest.raises(SlotLost, match="cannot be opened"):
        Slot(replace(name, fd=9999))
    with pytest.raises(SlotLost, match="no longer"):
        Slot(replace(name, token=bytes(16)))
