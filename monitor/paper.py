"""What of the paper's set-up (RLTF, arXiv 2307.04349) a configuration does not have in force: one table, and the
objective's own fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rltf.config import Config, RltfConfig


@dataclass(frozen=True)
class Setting:
    """A field that the paper's set-up fixes."""

    field: str
    paper: Any
    """Its value there."""
    meaning: str
    """What is different without it."""
    applies: Callable[[Config], bool] = lambda config: True


SETTINGS = (
    Setting("learner.supervised_ratio", 1.0, "L_sl and L_rl count alike in Eq. 6"),
    Setting(
        "learner.supervised_mixing",
        "micro_batch",
        "the gradient clip cuts L_sl and L_rl apart",
        lambda config: config.learner.supervised_ratio > 0 and config.learner.gradient_clip > 0,
    ),
    Setting("actors.greedy", True, "the best program of a problem begins with a greedy one"),
    Setting("actors.temperature", 1.0, "sampling in training"),
    Setting("actors.top_p", 0.95, "sampling in training"),
)
"""Beside them: every field of `rltf`, whose defaults are the paper's; and a gradient clip, which the paper lacks, that
is too small."""
_SMALL_CLIP = 10.0
"""Sums over the tokens of a program have gradients of 6 and more even on the quick start's short programs
(docs/objectives.md)."""


def not_in_force(config: Config) -> list[str]:
    """A phrase for each setting that differs, "actors.top_p 1 (paper: 0.95, sampling in training)"; none beside other
    objectives.
    """
    if config.learner.objective != "rltf":
        return []
    found = []
    for setting in SETTINGS:
        part, name = setting.field.split(".")
        value = getattr(getattr(config, part), name)
        if value != setting.paper and setting.applies(config):
            found.append(f"{setting.field} {_text(value)} (paper: {_text(setting.paper)}, {setting.meaning})")
    clip = config.learner.gradient_clip
    if 0 < clip < _SMALL_CLIP and config.rltf.normalise == "sequence_sum":
        found.append(f"learner.gradient_clip {clip:g} (binds in nearly every step, as losses are sums over tokens)")
    usual, own = RltfConfig().model_dump(), config.rltf.model_dump()
    found += [
        f"rltf.{name} {_text(own[name])} (paper: {_text(usual[name])})"
        for name in own
        if name not in ("preset", "critic")  # the one sets the others, the other is a folder
        and own[name] != usual[name]
    ]
    return found


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
