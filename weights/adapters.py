"""Loading versions that hold the adapters alone (`policy.lora`) into a model that has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rltf.policy.lora import AdapterMerger, LoraSettings
from rltf.weights.manifest import Bucket, Manifest, ManifestMismatch
from rltf.weights.unpacking import unpack


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
