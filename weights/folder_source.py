"""A model that does not change, as a source of weights: the folder or hub name that a policy is made from."""

from __future__ import annotations

from rltf.policy.policy import PolicySpec, build_policy
from rltf.weights.manifest import Bucket, Manifest
from rltf.weights.packing import pack


class FolderSource:
    """Version 0, read by whoever asks, and no other (`weights.protocol.WeightSource`)."""

    def __init__(self, spec: PolicySpec, seed: int, dtype: str) -> None:
        """`seed`: of weights that are drawn, where the specification names no model; `dtype`: that of sampling."""
        self._spec, self._seed, self._dtype = spec, seed, dtype

    def latest(self, newer_than: int) -> tuple[Manifest, list[Bucket]] | None:
        """Version 0 in this process's memory, once. Raises UserError when the model cannot be read."""
        if newer_than >= 0:
            return None
        return pack(build_policy(self._spec, self._seed, self._dtype, adapters=False).model, 0)

    def exactly(self, version: int) -> tuple[Manifest, list[Bucket]] | None:
        """Version 0 is read once, and stays in use."""
        return None

    def acknowledge(self, version: int) -> None:
        """Nothing is kept that could be given back."""
