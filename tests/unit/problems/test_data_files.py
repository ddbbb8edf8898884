"""The same problems from every form that a data set's files have: patterns, gzip, Parquet, `save_to_disk`."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from rltf.config import UserError
from rltf.problems import load_problems
from rltf.problems.data_files import data_files, read_data

ROWS: list[dict[str, Any]] = [
    {"task_id": number, "text": f"Add {number}.", "code": "def f(): return 1", "test_list": ["assert f() == 1"]}
    for number in range(601, 604)
]


@pytest.fixture
def forms(tmp_path: Path) -> dict[str, str]:
    from datasets import Dataset, DatasetDict  # takes seconds, and all tests are collected by several processes

    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(text)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    (tmp_path / "parts").mkdir()
    for number, row in enumerate(ROWS):
        parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "parts" / f"train-{number}-of-3.parquet")
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    DatasetDict({"train": Dataset.from_list(ROWS[:2]), "test": Dataset.from_list(ROWS[2:])}).save_to_disk(
        tmp_path / "dict"
    )
    names = ("rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.parquet", "parts/*.parquet", "saved", "dict")
    return {name: str(tmp_path / name) for name in names}


def test_every_form_gives_the_same_problems(forms: dict[str, str]) -> None:
    expected = load_problems(f"mbpp:{forms['rows.jsonl']}").problems
    assert [problem.id for problem in expected] == ["mbpp/601", "mbpp/602", "mbpp/603"]
    for form in forms.values():
        loaded = load_problems(f"mbpp:{form}")
        assert loaded.problems == expected and not loaded.skipped and not loaded.unread, form


def test_places_name_the_file_where_there_are_several_and_the_split(forms: dict[str, str]) -> None:
    def places(form: str, split: str = "") -> list[str]:
        return [place for place, _ in read_data(Path(forms[form]), split)]

    assert places("rows.parquet") == ["row 1", "row 2", "row 3"] == places("saved")
    assert places("parts/*.parquet") == [f"train-{number}-of-3.parquet row 1" for number in range(3)]
    assert places("dict") == ["train row 1", "train row 2", "test row 1"]
    assert places("dict", "test") == ["test row 1"]


def test_files_that_cannot_be_read_are_refused_in_one_sentence(tmp_path: Path, forms: dict[str, str]) -> None:
    whole = Path(forms["rows.parquet"]).read_bytes()
    Path(forms["rows.parquet"]).write_bytes(whole[:-40])
    (tmp_path / "empty").mkdir()
    for path, sentence in {
        forms["rows.parquet"]: "rows.parquet is a damaged Parquet file",
        f"{tmp_path}/no/*.parquet": r"\*.parquet names no file",
        f"{tmp_path}/none.parquet": "none.parquet does not exist",
        f"{tmp_path}/empty": "empty is no folder that save_to_disk of datasets wrote; name the files in it",
    }.items():
        with pytest.raises(UserError, match=sentence):
            load_problems(f"mbpp:{path}")
    with pytest.raises(UserError, match="has no split 'dev'; there: train, test"):
        list(read_data(Path(forms["dict"]), "dev"))


def test_a_file_whose_name_is_a_pattern_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_text("")
    assert data_files(tmp_path / "a[1].jsonl") == [tmp_path / "a[1].jsonl"]
