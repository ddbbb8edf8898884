"""Weights on the wire: a few large contiguous buckets of bytes and a manifest that says what lies where.

One flat buffer travels through an object store without a copy per tensor and is many times faster than a pickled state
dictionary. bfloat16, which numpy does not know, travels as its bytes like every other format.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

Bucket = NDArray[np.uint8]
Bytes = Bucket | Tensor
"""A bucket in this machine's memory, or, as a flat uint8 tensor, on any device."""

BUCKET_BYTES = 256 << 20
_ALIGNMENT = 64  # bytes; what vector loads and every number format are content with
CHECKED_BYTES = 1 << 22
"""Bytes that have a checksum of their own, and that one thread copies and then sums, while the processor's cache still
has them."""
_THREADS = min(4, len(os.sched_getaffinity(0)))
_pool = ThreadPoolExecutor(_THREADS, "weights")


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
    """Of each `CHECKED_BYTES` of each bucket, 64 bits."""
    sums: Literal["xxh3", "words"] = "xxh3"
    """What the checksums are: XXH3, or `word_sums`, which a GPU can compute of tensors where they lie."""

    @property
    def nbytes(self) -> int:
        """Bytes of all buckets."""
        return sum(self.bucket_bytes)

    def verify(self, buckets: Sequence[Bytes]) -> None:
        """Raises ChecksumError unless `buckets` are exactly the bytes that were packed; they are tensors where `sums`
        are of words.
        """
        if len(buckets) != len(self.bucket_bytes):
            raise ChecksumError(f"version {self.version}: {len(buckets)} buckets instead of {len(self.bucket_bytes)}")
        for index, (bucket, length, checksums) in enumerate(
            zip(buckets, self.bucket_bytes, self.checksums, strict=True)
        ):
            if bucket.nbytes != length:
                raise ChecksumError(
                    f"version {self.version}: bucket {index} has {bucket.nbytes} bytes instead of {length}"
                )
            if (word_sums(bucket) if isinstance(bucket, Tensor) else _xxh3_sums(bucket)) != checksums:
                raise ChecksumError(f"version {self.version}: bucket {index} fails its checksum")


def named_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers by name, each once: of tied parameters the first name stands for all."""
    yield from model.named_parameters()
    transient = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        for name in module._non_persistent_buffers_set  # torch has no public name for it
    }
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name not in transient)


def pack(
    model: Any, version: int, dtype: torch.dtype | None = None, bucket_bytes: int = BUCKET_BYTES
) -> tuple[Manifest, list[Bucket]]:
    """All weights of `model` as policy version `version`; see `pack_tensors`."""
    return pack_tensors(named_weights(model), version, dtype, bucket_bytes)


def own_memory(nbytes: int) -> Bucket:
    """(nbytes,) of this process's memory. Pages that are never touched cost nothing."""
    return np.empty(nbytes, np.uint8)


def pack_tensors(
    tensors: Iterable[tuple[str, Tensor]],
    version: int,
    dtype: torch.dtype | None = None,
    bucket_bytes: int = BUCKET_BYTES,
    room: Callable[[int], Bucket] = own_memory,
) -> tuple[Manifest, list[Bucket]]:
    """Copies named tensors into buckets of at most `bucket_bytes` (a larger tensor has a bucket of its own).

    Floating-point tensors are cast to `dtype` where one is given. Each bucket is the beginning of what `room` gives for
    its greatest size. A sequence of tensors in this machine's memory is copied by several threads; an iterator is
    consumed one tensor at a time, so that a partitioned model can gather what is copied next and release it after.
    """
    together = isinstance(tensors, Sequence) and all(tensor.device.type == "cpu" for _, tensor in tensors)
    names: list[str] = []
    shapes: list[tuple[int, ...]] = []
    dtypes: list[str] = []
    places: list[tuple[int, int]] = []
    filled: list[_Filling] = []
    for name, tensor in tensors:
        source = tensor.detach()
        target = dtype if dtype is not None and source.is_floating_point() else source.dtype
        size = source.numel() * target.itemsize
        if not filled or not filled[-1].has_room(size):
            filled.append(_Filling(room(max(bucket_bytes, size)), together))
        names.append(name)
        shapes.append(tuple(source.shape))
        dtypes.append(str(target).removeprefix("torch."))
        places.append((len(filled) - 1, filled[-1].put(source, target)))
    sums = [filling.sums() for filling in filled]
    buckets = [filling.bucket() for filling in filled]
    manifest = Manifest(
        version=version,
        names=tuple(names),
        shapes=tuple(shapes),
        dtypes=tuple(dtypes),
        buckets=tuple(bucket for bucket, _ in places),
        offsets=tuple(offset for _, offset in places),
        bucket_bytes=tuple(bucket.nbytes for bucket in buckets),
        checksums=tuple(tuple(found.result() for found in futures) for futures in sums),
    )
    return manifest, buckets


class _Filling:
    """A bucket while it is filled, piece by piece of `CHECKED_BYTES`: each is summed as soon as it is full."""

    def __init__(self, room: Bucket, together: bool) -> None:
        """`together`: tensors are copied when the piece that they end in is, by the thread that sums it; else
        at once.
        """
        self._room = room
        self._flat = torch.from_numpy(room)
        self._together = together
        self._used = self._summed = 0
        self._waiting: list[tuple[int, Tensor, Tensor]] = []
        """What is still to be copied: offset in the bucket, its place there and its source, both flat."""
        self._sums: list[Future[int]] = []

    def has_room(self, size: int) -> bool:
        """Whether a tensor of so many bytes fits in."""
        return aligned(self._used) + size <= self._room.nbytes

    def put(self, source: Tensor, target: torch.dtype) -> int:
        """Takes a tensor in the number format `target`; returns its offset."""
        start = aligned(self._used)
        self._room[self._used : start] = 0
        self._used = start + source.numel() * target.itemsize
        if source.numel():
            into = self._flat[start : self._used].view(target)
            if self._together:
                self._waiting.append((start, into, source.reshape(-1)))
            else:
                into.view(source.shape).copy_(source)
        while self._used - self._summed >= CHECKED_BYTES:
            self._begin(self._summed + CHECKED_BYTES)
        return start

    def bucket(self) -> Bucket:
        """What was filled."""
        return self._room[: self._used]

    def sums(self) -> list[Future[int]]:
        """The checksums of `bucket`, one for each `CHECKED_BYTES`; with them it is whole."""
        if self._summed < self._used or not self._used:
            self._begin(self._used)
        return self._sums

    def _begin(self, end: int) -> None:
        """The piece up to `end` is complete."""
        begin, self._summed = self._summed, end
        parts, self._waiting = self._waiting, [part for part in self._waiting if part[0] + part[1].nbytes > end]
        self._sums.append(_pool.submit(_complete, self._room, begin, end, parts))


def _complete(room: Bucket, begin: int, end: int, parts: Sequence[tuple[int, Tensor, Tensor]]) -> int:
    """Copies what of `parts` lies in the bytes [begin, end) of `room`; their checksum."""
    for start, into, source in parts:
        first, last = (max(0, min(edge - start, into.nbytes)) // into.itemsize for edge in (begin, end))
        into[first:last].copy_(source[first:last])
    return _checksum(room[begin:end])


def _checksum(piece: Bucket) -> int:
    return xxhash.xxh3_64_intdigest(piece.data)


def _xxh3_sums(bucket: Bucket) -> tuple[int, ...]:
    pieces = [bucket[start : start + CHECKED_BYTES] for start in range(0, max(1, bucket.nbytes), CHECKED_BYTES)]
    return tuple(_pool.map(_checksum, pieces) if len(pieces) > 1 else map(_checksum, pieces))


def word_sums(data: Tensor) -> tuple[int, ...]:
    """The sum of (2 i + 1) w_i modulo 2^64 over the 64-bit words w of each `CHECKED_BYTES` of `data`, computed where it
    lies.

    `data`: flat uint8, of a length that 8 divides. The factors are odd, so no change of a single word goes unseen.
    """
    pieces = data.view(torch.int64).split(CHECKED_BYTES // 8)
    factors = torch.arange(1, 2 * pieces[0].numel() + 1, 2, device=data.device)
    return tuple(torch.stack([(piece * factors[: piece.numel()]).sum() for piece in pieces]).tolist())


def aligned(offset: int) -> int:
    """The first place from `offset` on where a tensor may begin."""
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def unpack(manifest: Manifest, buckets: Sequence[Bytes]) -> Iterator[tuple[str, Tensor]]:
    """The named tensors as views on the buckets, not verified; they are read-only where the buckets are."""
    with warnings.catch_warnings():
        # Buckets that come out of an object store are read-only, and are only read.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        flat = [bucket if isinstance(bucket, Tensor) else torch.from_numpy(bucket) for bucket in buckets]
    for name, shape, dtype, bucket, offset in zip(
        manifest.names, manifest.shapes, manifest.dtypes, manifest.buckets, manifest.offsets, strict=True
    ):
        kind = getattr(torch, dtype)
        size = math.prod(shape) * kind.itemsize
        yield name, flat[bucket][offset : offset + size].view(kind).view(shape)


@torch.no_grad()
def load_into(model: Any, manifest: Manifest, buckets: Sequence[Bytes]) -> None:
    """Copies the weights into `model` in place, cast to its own format; tied parameters stay tied.

    Everything is checked before anything is written: raises ChecksumError when a bucket is corrupt, ManifestMismatch
    when names or shapes are not the model's.
    """
    manifest.verify(buckets)
    targets = dict(named_weights(model))
    if set(targets) != set(manifest.names):
        odd = sorted(set(targets) ^ set(manifest.names))
        raise ManifestMismatch(f"version {manifest.version}: {len(odd)} names differ from the model's, first {odd[0]}")
    for name, shape in zip(manifest.names, manifest.shapes, strict=True):
        if tuple(targets[name].shape) != shape:
            raise ManifestMismatch(
                f"version {manifest.version}: {name} is {shape}, the model's {tuple(targets[name].shape)}"
            )
    pairs = [(targets[name], tensor) for name, tensor in unpack(manifest, buckets)]
    if manifest.nbytes > CHECKED_BYTES and all(target.device.type == "cpu" for target, _ in pairs):
        pairs.sort(key=lambda pair: -pair[1].nbytes)
        list(_pool.map(_copy, [pairs[start::_THREADS] for start in range(_THREADS)]))
    else:
        _copy(pairs)


@torch.no_grad()
def _copy(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Of each pair the second into the first."""
    for target, source in pairs:
        target.copy_(source, non_blocking=True)
