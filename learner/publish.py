"""Policy versions on their way to the actors."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from rltf.learner.engine import TrainingEngine
from rltf.policy.lora import named_adapters
from rltf.policy.policy import Policy
from rltf.weights.packing import named_weights
from rltf.weights.protocol import Publisher


class VersionPublisher:
    """Counts versions from 0 and publishes them. Collective: every rank calls, rank 0 hands over."""

    def __init__(self, engine: TrainingEngine, policy: Policy, publisher: Publisher, dtype: torch.dtype) -> None:
        """`dtype`: the number format that the actors sample in."""
        self._engine = engine
        self._policy = policy
        self._publisher = publisher
        self._dtype = dtype
        self.newest = -1

    def publish(self) -> int:
        """The weights as they are now, or the adapters where only they are trained, as the next version; returns its
        number.
        """
        weights = self._engine.gathered_weights(_published(self._policy))
        self.newest += 1
        if self._engine.world.rank == 0:
            self._publisher.take(weights, self.newest, self._dtype)
        else:
            for _ in weights:  # takes part in gathering what the ranks hold parts of
                pass
        return self.newest

    def publish_again(self, policy: Policy, version: int) -> None:
        """`policy`, which rank 0 has whole, as what that version was before the weight store was lost."""
        if self._engine.world.rank == 0:
            self._publisher.take(list(_published(policy)), version, self._dtype)


def _published(policy: Policy) -> Iterator[tuple[str, torch.Tensor]]:
    """What actors are sent of a policy."""
    return named_adapters(policy.model) if policy.spec.lora else named_weights(policy.model)
