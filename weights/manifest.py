"""A policy version on the wire: a few large contiguous buckets of bytes, and the manifest that says what lies where.

One flat buffer travels through an object store without a copy per tensor and is many times faster than a pickled state
dictionary. bfloat16, which numpy does not know, travels as its bytes like every other format.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

Bucket = NDArray[np.uint8]

CHECKSUM_CHUNK_BYTES = 1 << 22
"""Bytes that have a checksum of their own, and that one thread copies and then sums, while the processor's cache still
has them."""
THREADS = min(4, len(os.sched_getaffinity(0)))
pool = ThreadPoolExecutor(THREADS, "weights")
"""Copies and sums."""


class ChecksumError(Exception):
    """The buckets are not the bytes that the manifest was made for; nothing was loaded."""


class WeightsUnavailable(Exception):
    """A source of weights did not give its newest version within its bound; the message says what and how long."""


class ManifestMismatch(Exception):
    """The manifest describes another model than the one it is to be loaded into; nothing was loaded."""


@dataclass(frozen=True)
class Manifest:
    """Where each tensor of one policy version lies. Names, shapes, dtypes, buckets and offsets run in parallel."""

    version: int
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    """Torch names without the module: float32, bfloat16, float16."""
    buckets: tuple[int, ...]
    """Index of the bucket that holds the tensor."""
    offsets: tuple[int, ...]
    """Byte offset of the tensor in its bucket."""
    bucket_bytes: tuple[int, ...]
    """Length of each bucket."""
    checksums: tuple[tuple[int, ...], ...]
    """XXH3 of each `CHECKSUM_CHUNK_BYTES` of each bucket, 64 bits."""

    @property
    def nbytes(self) -> int:
        """Bytes of all buckets."""
        return sum(self.bucket_bytes)

    def verify(self, buckets: Sequence[Bucket]) -> None:
        """Raises ChecksumError unless `buckets` are exactly the bytes that were packed."""
        if len(buckets) != len(self.bucket_bytes):
            raise ChecksumError(f"version {self.version}: {len(buckets)} buckets instead of {len(self.bucket_bytes)}")
        for index, (bucket, length, checksums) in enumerate(
            zip(buckets, self.bucket_bytes, self.checksums, strict=True)
        ):
            if bucket.nbytes != length:
                raise ChecksumError(
                    f"version {self.version}: bucket {index} has {bucket.nbytes} bytes instead of {length}"
                )
            if _checksums(bucket) != checksums:
                raise ChecksumError(f"version {self.version}: bucket {index} fails its checksum")


def checksum(piece: Bucket) -> int:
    """Of at most `CHECKSUM_CHUNK_BYTES`."""
    return xxhash.xxh3_64_intdigest(piece.data)


def _checksums(bucket: Bucket) -> tuple[int, ...]:
    pieces = [
        bucket[start : start + CHECKSUM_CHUNK_BYTES] for start in range(0, max(1, bucket.nbytes), CHECKSUM_CHUNK_BYTES)
    ]
    return tuple(pool.map(checksum, pieces) if len(pieces) > 1 else map(checksum, pieces))
