"""One policy version copied aside on the learner's own device, so that it can be sent while training goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from rltf.weights.buckets import BUCKET_BYTES, Manifest, aligned, word_sums


class Snapshot:
    """Flat buckets of bytes that hold a version's tensors.

    The memory is taken with the first version and used again for every other.
    """

    def __init__(self, device: torch.device, bucket_bytes: int = BUCKET_BYTES) -> None:
        """`bucket_bytes`: most bytes of a bucket; a larger tensor has one of its own."""
        self._device = device
        self._bucket_bytes = bucket_bytes
        self.version = -1
        self.buckets: list[Tensor] = []
        """Each (n,) uint8, n divisible by 8."""
        self._places: dict[str, tuple[int, int, tuple[int, ...], torch.dtype]] = {}
        """By name: bucket, offset, shape, number format."""
        self._manifest: Manifest | None = None
        self._written: torch.cuda.Event | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all buckets."""
        return sum(bucket.nbytes for bucket in self.buckets)

    def write(self, tensors: Iterable[tuple[str, Tensor]], version: int, dtype: torch.dtype | None = None) -> None:
        """Copies named tensors, floating-point ones cast to `dtype` where one is given; on a GPU returns before it has
        done so.

        An iterator is consumed one tensor at a time, as by `weights.buckets.pack_tensors`. Raises ValueError unless
        every version has the same names and shapes.
        """
        self._manifest, self.version = None, -1
        if self.buckets:
            for (name, tensor), place in zip(tensors, self._places, strict=True):
                if name != place or tuple(tensor.shape) != self._places[name][2]:
                    raise ValueError(
                        f"version {version} has {name} {tuple(tensor.shape)} where the one before had "
                        f"{self._places[place]}"
                    )
                self._view(name).copy_(tensor.detach())
        else:
            self._take_room(tensors, dtype)
        self.version = version
        if self._device.type == "cuda":
            self._written = torch.cuda.Event()
            self._written.record(torch.cuda.current_stream(self._device))

    def tensors(self) -> list[tuple[str, Tensor]]:
        """What was written: views on the buckets."""
        return [(name, self._view(name)) for name in self._places]

    def manifest(self) -> Manifest:
        """Of the version in the buckets, with checksums of words, which the first call computes. Inside `reading`."""
        if self._manifest is None:
            places = self._places.values()
            self._manifest = Manifest(
                version=self.version,
                names=tuple(self._places),
                shapes=tuple(shape for _, _, shape, _ in places),
                dtypes=tuple(str(dtype).removeprefix("torch.") for *_, dtype in places),
                buckets=tuple(bucket for bucket, *_ in places),
                offsets=tuple(offset for _, offset, _, _ in places),
                bucket_bytes=tuple(bucket.nbytes for bucket in self.buckets),
                checksums=tuple(word_sums(bucket) for bucket in self.buckets),
                sums="words",
            )
        return self._manifest

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is done inside comes after the writing, and on a GPU beside the training: on a stream of its own."""
        if self._written is None:
            yield
            return
        stream = torch.cuda.Stream(self._device)
        stream.wait_event(self._written)
        with torch.cuda.stream(stream):
            yield

    def _view(self, name: str) -> Tensor:
        bucket, offset, shape, dtype = self._places[name]
        return self.buckets[bucket][offset : offset + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)

    def _take_room(self, tensors: Iterable[tuple[str, Tensor]], dtype: torch.dtype | None) -> None:
        used = 0
        for name, tensor in tensors:
            target = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            size = tensor.numel() * target.itemsize
            if not self.buckets or aligned(used) + size > self.buckets[-1].nbytes:
                self._trim(used)
                self.buckets.append(
                    torch.zeros(max(self._bucket_bytes, aligned(size)), dtype=torch.uint8, device=self._device)
                )
                used = 0
            self._places[name] = (len(self.buckets) - 1, aligned(used), tuple(tensor.shape), target)
            used = aligned(used) + size
            self._view(name).copy_(tensor.detach())
        self._trim(used)

    def _trim(self, used: int) -> None:
        """The last bucket is full: what is left of it is not needed."""
        if self.buckets and aligned(used) < self.buckets[-1].nbytes:
            self.buckets[-1] = self.buckets[-1][: aligned(used)].clone()
