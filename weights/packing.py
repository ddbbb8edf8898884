"""The learner's end: a model's weights, packed into buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltf.weights.manifest import CHECKSUM_CHUNK_BYTES, Bucket, Manifest, checksum, pool

BUCKET_BYTES = 256 << 20
_ALIGNMENT = 64  # bytes; what vector loads and every number format are content with


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
    """A bucket while it is filled, piece by piece of `CHECKSUM_CHUNK_BYTES`: each is summed as soon as it is full."""

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
        return _aligned(self._used) + size <= self._room.nbytes

    def put(self, source: Tensor, target: torch.dtype) -> int:
        """Takes a tensor in the number format `target`; returns its offset."""
        start = _aligned(self._used)
        self._room[self._used : start] = 0
        self._used = start + source.numel() * target.itemsize
        if source.numel():
            into = self._flat[start : self._used].view(target)
            if self._together:
                self._waiting.append((start, into, source.reshape(-1)))
            else:
                into.view(source.shape).copy_(source)
        while self._used - self._summed >= CHECKSUM_CHUNK_BYTES:
            self._begin(self._summed + CHECKSUM_CHUNK_BYTES)
        return start

    def bucket(self) -> Bucket:
        """What was filled."""
        return self._room[: self._used]

    def sums(self) -> list[Future[int]]:
        """The checksums of `bucket`, one for each `CHECKSUM_CHUNK_BYTES`; with them it is whole."""
        if self._summed < self._used or not self._used:
            self._begin(self._used)
        return self._sums

    def _begin(self, end: int) -> None:
        """The piece up to `end` is complete."""
        begin, self._summed = self._summed, end
        parts, self._waiting = self._waiting, [part for part in self._waiting if part[0] + part[1].nbytes > end]
        self._sums.append(pool.submit(_complete, self._room, begin, end, parts))


def _complete(room: Bucket, begin: int, end: int, parts: Sequence[tuple[int, Tensor, Tensor]]) -> int:
    """Copies what of `parts` lies in the bytes [begin, end) of `room`; their checksum."""
    for start, into, source in parts:
        first, last = (max(0, min(edge - start, into.nbytes)) // into.itemsize for edge in (begin, end))
        into[first:last].copy_(source[first:last])
    return checksum(room[begin:end])


def _aligned(offset: int) -> int:
    """The first place from `offset` on where a tensor may begin."""
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
