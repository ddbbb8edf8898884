"""How often the gradient clip decides a step's size, and what is said of it where that is nearly always."""

from __future__ import annotations

from collections.abc import Iterable

from rltf.config import Config
from rltf.telemetry.recorder import Row

_MIN_STEPS = 20
_SHARE = 0.9
"""From which share of the steps on it is worth a sentence."""


class ClipWatch:
    """Counts the steps whose gradient was longer than the clip."""

    def __init__(self, limit: float, apart: bool) -> None:
        """`limit`: `learner.gradient_clip`; `apart`: whether supervised and reinforcement steps alternate, and so are
        clipped apart.
        """
        self._limit = limit
        self._apart = apart
        self._steps = self._bound = 0
        self._told = False

    def fold(self, rows: Iterable[Row]) -> ClipWatch:
        """Takes in rows of metrics.jsonl."""
        norms = [float(row["gradient_norm"]) for row in rows if "gradient_norm" in row]
        self._steps += len(norms)
        self._bound += sum(norm > self._limit for norm in norms)
        return self

    @property
    def warning(self) -> str | None:
        """A sentence with the counts, where the clip binds in nine steps of ten or more, of twenty at least."""
        if not self._limit or self._steps < _MIN_STEPS or self._bound < _SHARE * self._steps:
            return None
        effect = (
            "supervised and reinforcement steps are each cut to it, whatever their losses, so their ratio is not "
            "learner.supervised_ratio: "
            "set learner.supervised_mixing micro_batch or raise it"
            if self._apart
            else "steps have one size whatever their losses: raise it"
        )
        return (
            f"learner.gradient_clip {self._limit:g} bound in {self._bound} of {self._steps} learner steps: {effect}, "
            "or set it to 0"
        )

    def news(self) -> str | None:
        """The warning, the first time that there is one."""
        sentence = None if self._told else self.warning
        self._told = self._told or sentence is not None
        return sentence


def clip_watch(config: Config) -> ClipWatch:
    """The watch of a configured run."""
    learner = config.learner
    apart = learner.objective != "supervised" and learner.supervised_ratio > 0 and learner.supervised_mixing == "step"
    return ClipWatch(learner.gradient_clip, apart)
