"""Both ends of a policy version's way in one process, and what every publisher with its source promises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import torch

from rltf.weights.manifest import Bucket, Manifest
from rltf.weights.packing import named_weights, pack_tensors
from rltf.weights.protocol import Publisher, WeightSource
from rltf.weights.unpacking import load_into
from tests.support.weight_publisher import model_of


class KeptVersions:
    """A publisher and a source that keep every version."""

    def __init__(self) -> None:
        self.versions: list[tuple[Manifest, list[Bucket]]] = []
        self.acknowledged: list[int] = []

    def take(self, weights: Iterable[tuple[str, torch.Tensor]], version: int, dtype: torch.dtype | None) -> None:
        self.versions.append(pack_tensors(weights, version, dtype))

    def keep(self, versions: Collection[int]) -> None:
        """All are kept."""

    def restore(self) -> bool:
        return False

    def latest(self, newer_than: int) -> tuple[Manifest, list[Bucket]] | None:
        return self.versions[-1] if self.versions and self.versions[-1][0].version > newer_than else None

    def exactly(self, version: int) -> tuple[Manifest, list[Bucket]] | None:
        return next((found for found in self.versions if found[0].version == version), None)

    def acknowledge(self, version: int) -> None:
        self.acknowledged.append(version)


def keeps_its_promises(publisher: Publisher, source: WeightSource) -> None:
    """Fails unless versions come as `weights.protocol` says; neither has any yet."""
    gathered = 0

    def one_at_a_time(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
        nonlocal gathered
        for name, tensor in named_weights(model):
            gathered += 1
            yield name, tensor
            gathered -= 1
            assert not gathered

    def taken(newer_than: int) -> tuple[int, torch.nn.Sequential]:
        found = source.latest(newer_than)
        assert found is not None
        target = model_of(0)
        load_into(target, *found)
        source.acknowledge(found[0].version)
        return found[0].version, target

    assert source.latest(-1) is None
    model = model_of(1)
    publisher.take(list(named_weights(model)), 0, None)
    torch.nn.init.zeros_(model[0].weight)
    version, first = taken(-1)
    assert version == 0 and all(map(torch.equal, first.parameters(), model_of(1).parameters()))
    assert source.latest(0) is None

    publisher.take(list(named_weights(model_of(2))), 1, None)
    publisher.take(one_at_a_time(model_of(3)), 2, torch.bfloat16)
    version, newest = taken(0)
    halves = (parameter.bfloat16().float() for parameter in model_of(3).parameters())
    assert version == 2 and all(map(torch.equal, newest.parameters(), halves))
    assert source.latest(2) is None and not publisher.restore()

    assert source.exactly(7) is None
    publisher.keep({1, 2})
    for later in (3, 4, 5):
        publisher.take(list(named_weights(model_of(later))), later, None)
    for kept, seed in ((1, 2), (5, 5), (1, 2)):
        found = source.exactly(kept)
        assert found is not None and found[0].version == kept
        target = model_of(0)
        load_into(target, *found)
        source.acknowledge(kept)
        assert all(map(torch.equal, target.parameters(), model_of(seed).parameters()))
    publisher.keep(())
