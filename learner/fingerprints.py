"""What a learner step says of itself, so that a replay of it can be held against it: a fingerprint of all that it
trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from rltf.buffer.records import Group
from rltf.learner.objectives.base import PreparedStep, TrainItem

CORPUS = "corpus"
"""Name of the fingerprint of the corpus programs of a step that has both kinds."""


def fingerprints(groups: Sequence[Group], prepared: PreparedStep) -> dict[str, str]:
    """By group id, in the order of training: BLAKE2b (8 bytes, hex) of what the step made of the group.

    That is the id and fate of every program and, of those forwarded, prompt and program tokens, the log-probabilities
    that they were sampled with, and the weights (K, T) of the objective's terms, all to the last bit. What frozen
    models add is not in it.
    """
    items = {item.id: item for item in prepared.items}
    found: dict[str, str] = {}
    for group in groups:
        members = [(each.program.id, items.pop(each.program.id, None)) for each in group.members]
        found[group.id] = _fingerprint(members, prepared.fates)
    if items:
        found[CORPUS] = _fingerprint(list(items.items()), {})
    return found


def _fingerprint(members: Sequence[tuple[str, TrainItem | None]], fates: Mapping[str, Any]) -> str:
    digest = blake2b(digest_size=8)
    for name, item in members:
        digest.update(f"{name}\0{fates.get(name, '')}\0".encode())
        if item is not None:
            digest.update(f"{item.weights.shape}\0{len(item.prompt_ids)}\0".encode())
            digest.update(np.asarray(item.prompt_ids, "<i4").tobytes())
            digest.update(np.asarray(item.token_ids, "<i4").tobytes())
            if item.behaviour_log_probs is not None:
                digest.update(np.asarray(item.behaviour_log_probs, "<f4").tobytes())
            digest.update(np.asarray(item.weights, "<f4").tobytes())
    return digest.hexdigest()
