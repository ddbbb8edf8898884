"""Checksums beside the files of a model or a checkpoint: damage on the disk, or in a copy, is told instead of trained
with.

    FOLDER/checksums.json    {"model.safetensors": {"bytes": 3568960, "xxh3_128": "a11ec16f.."}, ..}, every file

XXH3 is no protection against an enemy, who could write the list anew; reading the files costs more time than the sums
do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import xxhash

from rltf.config import UserError, fsync_path

LIST = "checksums.json"
_NOT_LISTED = ("README.md",)
"""Nothing that is loaded, and written again after the rest."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    bytes: int
    xxh3_128: str


class Damaged(Exception):
    """A folder is not what was written into it; the message says which file, and how."""


def write_checksums(folder: Path, name: str = LIST) -> None:
    """Writes the list of all that `folder` holds now into its file `name`, and returns when all of it is on the disk.

    The files become readable for whom the umask lets (safetensors makes its own for the owner alone). Raises OSError.
    """
    mode = folder.stat().st_mode & 0o666
    found: dict[str, _File] = {}
    for file in _files(folder, name):
        path = folder / file
        path.chmod(mode)
        found[file] = _File(path.stat().st_size, _sum(path))
        fsync_path(path)
    listed = folder / name
    listed.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    fsync_path(listed)
    fsync_path(folder)


def has_checksums(folder: Path, name: str = LIST) -> bool:
    """Whether the folder has a list, whatever the list says."""
    return (folder / name).is_file()


def verify_checksums(folder: Path, name: str = LIST, contents: bool = True) -> None:
    """Raises Damaged unless the folder holds the files of its list and no others; `contents` false looks at their sizes
    alone.

    Files whose name begins with a dot, which nothing loads, are not looked at. An OSError in reading is Damaged too.
    """
    try:
        listed = msgspec.json.decode((folder / name).read_bytes(), type=dict[str, _File])
    except FileNotFoundError:
        raise Damaged(f"{name} is not there") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"{name} cannot be read: {error}") from error
    try:
        there = set(_files(folder, name))
        if missing := sorted(listed.keys() - there):
            raise Damaged(f"{missing[0]}, which {name} lists, is not there")
        if more := sorted(there - listed.keys()):
            raise Damaged(f"{more[0]} is not in {name}")
        for file, facts in listed.items():
            size = (folder / file).stat().st_size
            if size != facts.bytes:
                raise Damaged(f"{file} has {size:,} bytes, not the {facts.bytes:,} that were written")
            if contents and _sum(folder / file) != facts.xxh3_128:
                raise Damaged(f"{file} has not the bytes that were written: its checksum is another one")
    except OSError as error:
        raise Damaged(f"{error.filename or folder} cannot be read: {error.strerror or error}") from error


def refuse_damaged(folder: Path, what: str) -> None:
    """Raises UserError, beginning with `what`, when the folder has a list and is not as it says.

    One without a list is not looked at.
    """
    if not has_checksums(folder):
        return
    try:
        verify_checksums(folder)
    except Damaged as damage:
        raise UserError(
            f"{what} {folder}: its files are not those that were written: {damage}; copy them anew, or, if they were "
            "changed on "
            f"purpose, delete {folder / LIST}"
        ) from None


def _files(folder: Path, name: str) -> Iterator[str]:
    """What belongs into the list, by path below the folder, in order."""
    for path in sorted(folder.rglob("*")):
        file = path.relative_to(folder)
        if (
            path.is_file()
            and not any(part.startswith(".") for part in file.parts)
            and str(file) not in (name, *_NOT_LISTED)
        ):
            yield str(file)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
