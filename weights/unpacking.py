"""The actor's end: what lies in buckets, as tensors and in a model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rltf.policy.lora import AdapterMerger, LoraSettings
from rltf.weights.manifest import CHECKSUM_CHUNK_BYTES, THREADS, Bucket, Manifest, ManifestMismatch, pool
from rltf.weights.packing import named_weights


def unpack(manifest: Manifest, buckets: Sequence[Bucket]) -> Iterator[tuple[str, Tensor]]:
    """The named tensors as views on the buckets, not verified; they are read-only where the buckets are."""
    with warnings.catch_warnings():
        # Buckets that come out of an object store are read-only, and are only read.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        flat = [torch.from_numpy(bucket) for bucket in buckets]
    for name, shape, dtype, bucket, offset in zip(
        manifest.names, manifest.shapes, manifest.dtypes, manifest.buckets, manifest.offsets, strict=True
    ):
        kind = getattr(torch, dtype)
        size = math.prod(shape) * kind.itemsize
        yield name, flat[bucket][offset : offset + size].view(kind).view(shape)


@torch.no_grad()
def load_into(model: Any, manifest: Manifest, buckets: Sequence[Bucket]) -> None:
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
    if manifest.nbytes > CHECKSUM_CHUNK_BYTES and all(target.device.type == "cpu" for target, _ in pairs):
        pairs.sort(key=lambda pair: -pair[1].nbytes)
        list(pool.map(_copy, [pairs[start::THREADS] for start in range(THREADS)]))
    else:
        _copy(pairs)


@torch.no_grad()
def _copy(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Of each pair the second into the first."""
    for target, source in pairs:
        target.copy_(source, non_blocking=True)


class AdapterLoader:
    """Merges published adapters into a plain model, in place; keeps a copy of the weights that they change."""

    def __init__(self, model: Any, settings: LoraSettings) -> None:
        self._merger = AdapterMerger(model, settings)

    def __call__(self, model: Any, manifest: Manifest, buckets: Sequence[Bucket]) -> None:
        """As `weights.unpacking.load_into`: everything is checked before anything is written.

        Raises ChecksumError when a bucket is corrupt, ManifestMismatch when the model lacks a layer or it has another
        shape.
        """
        manifest.verify(buckets)
        try:
            self._merger.merge(dict(unpack(manifest, buckets)))
        except ValueError as error:
            raise ManifestMismatch(f"version {manifest.version}: {error}") from error
