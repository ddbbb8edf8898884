"""The metrics row of a learner step: names as in `telemetry.declarations`, values that JSON knows; and a fingerprint of
all that it trained on, by which a replay is held against it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from rltf.buffer.records import Group, count_error_types
from rltf.learner.objectives.base import PreparedStep, TrainItem
from rltf.learner.training_step import Taken

CORPUS = "corpus"
"""Name of the fingerprint of the corpus programs of a step that has both kinds."""


def rl_row(
    step: int, version: int, groups: Sequence[Group], taken: Taken, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Row of a reinforcement step.

    Shares are of the sampled programs; staleness is in policy versions; seconds are rank 0's.
    """
    prepared, result = taken.prepared, taken.result
    samples = [sample for group in groups for sample in group.samples]
    number = max(1, len(samples))
    outcomes = Counter(sample.feedback.outcome for sample in samples)
    errors = count_error_types(sample.feedback.error_name for sample in samples if sample.feedback.outcome != "pass")
    staleness = [
        version - min(run.version for run in sample.program.versions) for sample in samples if sample.program.versions
    ]
    fates = Counter(prepared.fates.values())
    return {
        **_common(step, version, taken, seconds),
        "samples": len(samples),
        "groups": len(groups),
        "pass_rate": outcomes["pass"] / number,
        "reward": sum(prepared.rewards) / max(1, len(prepared.rewards)),
        "outcomes": dict(outcomes),
        "error_types": errors,
        "length": sum(len(sample.program.token_ids) for sample in samples) / number,
        "program_share": sum(sample.program.has_program for sample in samples) / number,
        "truncated_share": sum(sample.program.finish_reason == "length" for sample in samples) / number,
        "staleness": sum(staleness) / max(1, len(staleness)),
        "staleness_max": max(staleness, default=0),
        "ages": age_distribution(staleness),
        "zero_advantage_share": fates["no_signal"] / number,
        **({"kl_to_previous_version": result.kl_to_previous} if result.kl_to_previous is not None else {}),
        "fates": dict(fates),
        **prepared.row,
        "sample_ids": [sample.program.id for sample in samples],
        "rewards": prepared.rewards,
        "fingerprints": fingerprints(groups, prepared),
    }


def age_distribution(ages: Iterable[int]) -> dict[str, int]:
    """Samples by age in policy versions: 0 to 7 each by itself, from there in classes that double (8-15, 16-31, ..),
    youngest first.
    """
    numbers: Counter[str] = Counter()
    for age in sorted(ages):
        lowest = 1 << (age.bit_length() - 1) if age > 7 else age
        numbers[f"{lowest}-{2 * lowest - 1}" if age > 7 else str(age)] += 1
    return dict(numbers)


def supervised_row(step: int, version: int, taken: Taken, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Row of a supervised step."""
    items = taken.prepared.items
    return {
        **_common(step, version, taken, seconds),
        "supervised_programs": len(items),
        "length": sum(len(item.token_ids) for item in items) / max(1, len(items)),
    }


def sampled_by(groups: Sequence[Group], version: int) -> set[str]:
    """Ids of the programs of which policy `version` sampled every token."""
    programs = (sample.program for group in groups for sample in group.samples)
    return {
        program.id
        for program in programs
        if program.versions and {run.version for run in program.versions} == {version}
    }


def _common(step: int, version: int, taken: Taken, seconds: Mapping[str, float]) -> dict[str, Any]:
    result, plan = taken.result, taken.plan
    busy = sum(seconds.get(name, 0.0) for name in ("collate", "forward", "backward", "step"))
    return {
        "step": step,
        "time": time.time(),
        "version": version,
        "objective": taken.objective,
        "loss": result.loss,
        "loss_terms": {
            name.removeprefix("loss/"): value for name, value in result.sums.items() if name.startswith("loss/")
        },
        "gradient_norm": result.gradient_norm,
        **({"skipped": True} if result.skipped else {}),
        "entropy": result.entropy,
        **{
            name.removeprefix("per_token/"): value
            for name, value in result.sums.items()
            if name.startswith("per_token/")
        },
        "tokens": result.tokens,
        "tokens_per_second": result.tokens / busy if busy else 0.0,
        "padding_share": plan.padding_share,
        "shared_share": plan.shared_share,
        "learning_rate": taken.learning_rate,
        "seconds": {name: round(value, 6) for name, value in seconds.items()},
    }


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
