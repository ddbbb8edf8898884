"""The record of samples: what is written comes back, parts are merged, bounded and readable at any moment."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

import rltf.monitor.samples
from rltf.buffer.columns import Floats, Ints
from rltf.buffer.records import Archived, Feedback, VersionRun, encode
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.samples import SampleWriter, dropped_samples, read_samples
from tests.support.monitor_rows import archived, config, sample

LOTS = 10**9


def one(number: int, text: str = "x") -> Archived:
    return archived(sample("p", "pass", id=f"s{number}", text=text), "trained", step=number)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_field_comes_back(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    runs = [VersionRun(3, 0), VersionRun(4, 2)]
    full = sample(
        "a",
        "runtime_error",
        error="TypeError",
        text="x = 'ü'\n",
        versions=runs,
        greedy=True,
        purpose="evaluation",
        label="step-3",
        lead="import math\n",
        spans=Ints([0, 3, 4, 8]),
        end_tokens=1,
        top_k=5,
        min_p=0.25,
        repetition_penalty=1.5,
        sampled_log_probs=Floats([-0.5, 0.0, -2.0]),
    )
    bare = sample("c", "pass", has_program=False, text="", token_ids=[], log_probs=[], offsets=[])
    last = sample("f", "failure", text="", token_ids=[], log_probs=[], offsets=[])
    rows = [
        archived(full, "evaluated"),
        Archived(id="b", group_id="b", problem_id="b", fate="malformed", reason="not a Program", program=b"\xff\x00"),
        Archived(
            id="c-0",
            group_id="c",
            problem_id="c",
            fate="dead_letter",
            reason="no verdict",
            program=encode(bare.program),
        ),
        archived(last, "trained", step=7),
        Archived(id="e", group_id="c", problem_id="c", fate="stale", program=encode(bare.program)),
        msgspec.structs.replace(archived(sample("h", "pass"), "malformed"), feedback=b"\xff\x01"),
    ]
    folder.add_samples(rows)
    first, second, third, fourth, fifth, sixth = RunFolder.open(folder.path).samples()
    assert first.sample == full and (first.fate, first.step) == ("evaluated", None)
    assert second.sample is None and second.raw == b"\xff\x00" and second.reason == "not a Program"
    assert third.program == bare.program and third.feedback is None and third.sample is None
    assert fourth.sample == last and fourth.step == 7
    assert fifth.program is None and fifth.raw == encode(bare.program)  # another program than the buffer took it for
    assert sixth.sample is None and sixth.program is not None and sixth.raw == b"\xff\x01"


def test_parts_of_earlier_versions_are_read_and_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rltf.monitor.samples, "SMALL_PARTS", 2)
    SampleWriter(tmp_path, LOTS).add([one(0)])
    part = tmp_path / "part-000000.parquet"
    table = pq.read_table(part)
    later = ["lead", "spans", "has_program", "end_tokens", "top_k", "min_p", "repetition_penalty", "sampled_log_probs"]
    pq.write_table(table.drop_columns(later).replace_schema_metadata(table.schema.metadata), part)
    assert [row.sample for row in read_samples(tmp_path)] == [sample("p", "pass", id="s0", text="x")]
    reply = sample("p", "pass", id="s1", text="xyz", spans=Ints([1, 2]))
    SampleWriter(tmp_path, LOTS).add([archived(reply, "trained")])
    assert names(tmp_path) == ["part-000000.parquet"]
    assert [row.sample for row in read_samples(tmp_path)] == [sample("p", "pass", id="s0", text="x"), reply]


def test_a_number_that_no_column_holds_is_kept_as_it_came(tmp_path: Path) -> None:
    odd = encode(Feedback(outcome="pass", line=2**63))
    spoiled = Archived(
        id="s1",
        group_id="p",
        problem_id="p",
        fate="trained",
        program=encode(sample("p", "pass", id="s1").program),
        feedback=odd,
    )
    SampleWriter(tmp_path, LOTS).add([one(0), spoiled, one(2)])
    kept = list(read_samples(tmp_path))
    assert [row.sample is not None for row in kept] == [True, False, True]
    assert kept[1].raw == spoiled.program + spoiled.feedback and kept[1].id == "s1"


def test_small_parts_become_one_and_a_crash_on_the_way_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rltf.monitor.samples, "SMALL_PARTS", 4)
    monkeypatch.setattr(rltf.monitor.samples, "ROWS_PER_PART", 6)
    writer = SampleWriter(tmp_path, LOTS)
    for number in range(3):
        writer.add([one(number)])
    assert len(names(tmp_path)) == 3

    def killed(self: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        writer.add([one(3)])
    assert [row.id for row in read_samples(tmp_path)] == ["s0", "s1", "s2", "s3"]
    (tmp_path / ".part-000004.parquet.tmp").write_bytes(b"half")
    writer = SampleWriter(tmp_path, LOTS)
    for number in range(4, 14):
        writer.add([one(number)])
        assert [row.step for row in read_samples(tmp_path)] == list(range(number + 1))
    assert len(list(tmp_path.glob("part-*.parquet"))) <= 5
    writer.add([])
    assert pq.read_metadata(tmp_path / "part-000000.parquet").row_group(0).column(0).compression == "ZSTD"


def test_a_reader_that_is_overtaken_by_a_merge_misses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rltf.monitor.samples, "SMALL_PARTS", 3)
    writer = SampleWriter(tmp_path, LOTS)
    writer.add([one(0)])
    writer.add([one(1)])
    reader = read_samples(tmp_path)
    seen = [next(reader).id]
    writer.add([one(2)])
    assert names(tmp_path) == ["part-000000.parquet"]
    assert sorted(seen + [row.id for row in reader]) == ["s0", "s1", "s2"]


def test_beyond_the_bound_the_oldest_go_and_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rltf.monitor.samples, "ROWS_PER_PART", 1)
    text = itertools.count()

    def big(number: int) -> Archived:
        return one(number, text=os.urandom(20_000).hex() + str(next(text)))

    writer = SampleWriter(tmp_path, 100_000)
    for number in range(8):
        writer.add([big(number)])
    kept = [row.step for row in read_samples(tmp_path)]
    size = sum(path.stat().st_size for path in tmp_path.glob("part-*"))
    assert kept == list(range(8 - len(kept), 8)) and 1 <= len(kept) < 8 and size <= 100_000
    assert dropped_samples(tmp_path) == 8 - len(kept)
    again = SampleWriter(tmp_path, 100_000)
    again.add([big(8)])
    assert [row.step for row in read_samples(tmp_path)][-1] == 8
    assert dropped_samples(tmp_path) + len(list(read_samples(tmp_path))) == 9
    # What a killed driver counted and did not delete is no part of the record.
    whole = SampleWriter(tmp_path / "b", LOTS)
    whole.add([one(0)])
    whole.add([one(1)])
    (tmp_path / "b" / "_dropped.json").write_text('{"programs": 1, "oldest_part": 1}\n')
    assert [row.step for row in read_samples(tmp_path / "b")] == [1]
    SampleWriter(tmp_path / "b", LOTS)
    assert names(tmp_path / "b") == ["_dropped.json", "part-000001.parquet"]
    assert pq.read_table(tmp_path / "b").column("step").to_pylist() == [1]
