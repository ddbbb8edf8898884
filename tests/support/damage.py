"""What disks and copies do to files."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path


def damages(folder: Path, scratch: Path, seed: int = 0, flips: int = 3) -> Iterator[tuple[str, Path]]:
    """Copies of `folder` with one damage each, and what was done: flipped bits, a cut, zeros, a missing file, one too
    many.
    """
    rng = random.Random(seed)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())

    def copy() -> Path:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(folder, scratch)
        return scratch

    for file in files:
        whole = (folder / file).read_bytes()
        for _ in range(flips):
            place, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
            changed = whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
            (copy() / file).write_bytes(changed)
            yield f"{file}: bit {bit} of byte {place} flipped", scratch
        cuts = {0, len(whole) // 2, len(whole) - 1, whole.find(b"\n", len(whole) // 2) + 1}
        for size in sorted(cuts):
            (copy() / file).write_bytes(whole[:size])
            yield f"{file}: cut to {size} bytes", scratch
        (copy() / file).write_bytes(bytes(len(whole)))
        yield f"{file}: all zeros", scratch
        (copy() / file).unlink()
        yield f"{file}: missing", scratch
