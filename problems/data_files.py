"""Records of a data set's files: JSON lines or an array, gzipped or not, Parquet, a folder that `save_to_disk` of
`datasets` wrote, or several files by a pattern.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rltf.config import UserError, first_line
from rltf.problems.files import read_records
from rltf.problems.problem import Skipped

_PARQUET_MAGIC = b"PAR1"
_SAVED = ("dataset_dict.json", "state.json")
"""What `save_to_disk` leaves in a folder: of several splits, of one."""

Placed = tuple[str, dict[str, Any] | Skipped]
"""A record, or why there is none, with its place."""


def data_files(path: Path) -> list[Path]:
    """The file or folder itself, or what a pattern such as `data/*.parquet` names, sorted.

    Raises UserError when there is nothing.
    """
    if path.exists():
        return [path]
    text = str(path)
    if glob.escape(text) == text:
        raise UserError(f"{path} does not exist")
    found = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
    if not found:
        raise UserError(f"{path} names no file")
    return found


def read_data(path: Path, split: str = "") -> Iterator[Placed]:
    """Records of a path's files, each with its place (`line 3`, `row 3`; with the file's name where there are several).

    `split` chooses one of a `save_to_disk` folder's; without it all follow one another. A record that cannot be read
    comes as `Skipped`. Raises UserError for a file or folder that cannot be read.
    """
    files = data_files(path)
    for file in files:
        within = f"{file.name} " if len(files) > 1 else ""
        for place, record in _records(file, split):
            named = within + place
            yield named, Skipped(named, record.reason) if isinstance(record, Skipped) else record


def _records(file: Path, split: str) -> Iterator[Placed]:
    if file.is_dir():
        yield from _saved(file, split)
    elif file.is_file() and _is_parquet(file):  # of a pipe nothing may be read twice
        yield from _parquet(file)
    else:
        yield from read_records(file)


def _is_parquet(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None


def _parquet(file: Path) -> Iterator[Placed]:
    try:
        from pyarrow import ArrowException, parquet  # lazy: an executor node has no such library
    except ImportError:
        raise UserError(f"{file} is a Parquet file, which needs the library pyarrow: pip install pyarrow") from None
    number = 0
    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(1024):
                for row in _rows(batch):
                    number += 1
                    place = f"row {number}"
                    yield place, Skipped(place, row) if isinstance(row, str) else row
    except (ArrowException, OSError) as error:
        raise UserError(f"{file} is a damaged Parquet file: {first_line(error)}") from None


def _rows(batch: Any) -> list[dict[str, Any] | str]:
    """Rows of a batch; for one with a text that is no UTF-8 what is wrong."""
    try:
        rows: list[dict[str, Any] | str] = batch.to_pylist()
    except UnicodeDecodeError as error:
        if len(batch) == 1:
            rows = [f"not UTF-8 text: byte 0x{error.object[error.start]:02x}"]
        else:
            rows = [row for number in range(len(batch)) for row in _rows(batch.slice(number, 1))]
    return rows


def _saved(folder: Path, split: str) -> Iterator[Placed]:
    """Rows of what `save_to_disk` wrote."""
    if not any((folder / name).exists() for name in _SAVED):
        raise UserError(
            f"{folder} is no folder that save_to_disk of datasets wrote; name the files in it, say {folder}/*.parquet"
        )
    try:
        from datasets import DatasetDict, load_from_disk  # type: ignore[attr-defined, unused-ignore]  # lazy, as above
    except ImportError:
        raise UserError(f"{folder} needs the library datasets: pip install datasets") from None
    try:
        found = load_from_disk(str(folder))
    except Exception as error:  # the library raises many kinds for a folder that is not whole
        raise UserError(f"{folder} cannot be read: {first_line(error)}") from error
    parts = dict(found) if isinstance(found, DatasetDict) else {str(found.split or ""): found}
    if split and split not in parts:
        there = ", ".join(filter(None, parts)) or "one without a name"
        raise UserError(f"{folder} has no split {split!r}; there: {there}")
    for name, rows in parts.items():
        within = f"{name} " if len(parts) > 1 else ""
        for number, row in enumerate(rows if not split or name == split else (), 1):
            yield f"{within}row {number}", dict(row)
