"""Where the learner is, and when what is due: the kind and learning rate of each step, versions, evaluations,
checkpoints, the end of training.

Pure: what is due depends on the configuration and on where the learner is, and on nothing else.

`learner.steps` counts optimizer steps after the warm start. With `supervised_ratio` r, r/(1 + r) of them are
supervised, spread evenly and beginning with a reinforcement step. A version is published before a reinforcement step,
once `publish_every` reinforcement steps have been taken since the last; an evaluation is of the first version published
on or after its step. Offline (`publish_every` 0) version 0 samples every training program, and the next version is the
last. Without a reinforcement objective versions are published for their evaluations alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Literal

from rltf.config import SUPERVISED, Config
from rltf.config.evaluation import MAIN


@dataclass
class Position:
    """Counted from the end of the warm start."""

    step: int = 0
    """Optimizer steps taken."""
    version: int = -1
    """Newest policy version that was published."""
    changed: bool = False
    """Whether the weights have changed since that version."""
    since_published: int = 0
    """Reinforcement steps since that version."""
    due: list[str] = field(default_factory=list)
    """Names of the held-out sets whose evaluation waits for the next published version."""
    trained: int = 0
    """Programs trained on."""
    seconds: float = 0.0
    """Of training, up to the end of the last step, waits included."""
    evaluated: list[tuple[int, str]] = field(default_factory=list)
    """Step and label of each held-out evaluation that was asked for."""
    stopped: int = 0
    """The `evaluation.patience` that training has ended by; 0: none."""

    def take_step(self, reinforced: bool, seconds: float) -> None:
        """One more step is taken; `seconds`: of training so far."""
        self.step += 1
        self.changed = True
        self.since_published += int(reinforced)
        self.seconds = seconds

    def evaluate(self, names: Iterable[str]) -> None:
        """Evaluations of these held-out sets, of the next version, are due beside those that are."""
        self.due += [name for name in names if name not in self.due]

    def publish(self, version: int) -> None:
        """The weights as they are now are `version`."""
        self.version, self.changed, self.since_published = version, False, 0

    def to_facts(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Position:
        """What `to_facts` gave, that of an earlier version too, which knew one set and the step of its evaluation."""
        own = {"due": [MAIN] if facts.get("evaluate") else []} | dict(facts)
        own.pop("evaluate", None)
        return cls(**own | {"evaluated": [(int(step), str(label)) for step, label in facts["evaluated"]]})


@dataclass(frozen=True, slots=True)
class Before:
    """What a step is, and what is due before it, in the order of the fields."""

    step: int
    """Its number, from 1."""
    reinforce: bool
    """Whether it draws sampled programs; a supervised step otherwise."""
    learning_rate: float
    publish: bool
    """A version."""
    evaluate: tuple[str, ...]
    """Evaluations of that version, of the held-out sets of these names."""
    checkpoint: bool
    """A checkpoint of exactly the weights that are evaluated."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """Which versions a learner goes on with from a checkpoint."""

    version: int
    """The newest that counts as published: the next one has the number after it."""
    publish: Literal["no", "weights", "first policy"]
    """What the actors get before the first step. Of `weights` a version is published as any other; the `first policy`
    comes back under the number `version`."""

    @property
    def follows(self) -> int:
        """The version that they get so; -1: none."""
        return {"no": -1, "weights": self.version + 1, "first policy": self.version}[self.publish]


class Schedule:
    """What is due at each position of a run."""

    def __init__(self, config: Config) -> None:
        learner = config.learner
        self._learner = learner
        self._evaluation = config.evaluation
        self._checkpoint = config.checkpoint
        self._reinforces = learner.objective != SUPERVISED
        self._mixes = learner.supervised_mixing == "micro_batch"
        self._offline = self._reinforces and not learner.publish_every
        self._learning_rate = linear(
            learner.learning_rate, learner.steps, learner.warmup_steps, learner.final_learning_rate
        )

    def is_over(self, position: Position) -> bool:
        """Whether no step comes any more, by this rank's clock."""
        limit = self._learner.max_seconds
        late = limit is not None and position.seconds >= limit
        return position.step >= self._learner.steps or late or self.has_stopped_early(position)

    def has_stopped_early(self, position: Position) -> bool:
        """Whether the evaluations have ended training, by a patience that is no shorter than the present one."""
        return 0 < self._evaluation.patience <= position.stopped

    def before(self, position: Position) -> Before:
        """Of the step that comes next."""
        publish = self._publishes(position)
        evaluate = tuple(position.due) if publish else ()
        return Before(
            step=position.step + 1,
            reinforce=self._is_reinforcement(position.step + 1),
            learning_rate=self._learning_rate(position.step),
            publish=publish,
            evaluate=evaluate,
            checkpoint=bool(evaluate) and self._checkpoint.best,
        )

    def evaluates_after(self, position: Position) -> list[str]:
        """Names of the held-out sets whose evaluation, of the next version, is due after the step that was taken
        last.
        """
        if self._offline:
            return []
        return [name for name, one in self._evaluation.by_name.items() if _is_multiple(position.step, one.every)]

    def checkpoints_after(self, position: Position) -> bool:
        """Whether a checkpoint is due after that step, and none comes next anyway: at the end, or of the version that
        is published to be evaluated.
        """
        last = position.step == self._learner.steps
        one_comes = last or bool(self._checkpoint.best and position.due and self._publishes(position))
        return _is_multiple(position.step, self._checkpoint.every) and not one_comes

    def exports_after(self, position: Position) -> bool:
        """Whether an export is due after that step.

        It comes before a checkpoint of the step, so that a learner which goes on from there has it.
        """
        return _is_multiple(position.step, self._checkpoint.export_every)

    def resumption(self, position: Position, published: int) -> Resumption:
        """`position`: of the checkpoint; `published`: the newest version that the actors ever got.

        A version number stands for one state of the weights for ever: numbers of versions that were lost are not used
        again. The actors get a version as soon as they have to have one.
        """
        newest = max(position.version, published)
        lost = newest > position.version
        if self._offline:
            # What trained since is published at the end alone.
            return Resumption(newest + int(lost), "first policy")
        if not position.changed and not lost:
            return Resumption(newest - 1, "weights")  # the same number for the same weights
        due = self._reinforces and position.since_published < self._learner.publish_every
        return Resumption(newest, "weights" if due else "no")

    def _publishes(self, position: Position) -> bool:
        """Whether a version is due before the next step."""
        if not self._reinforces:
            return bool(position.due)
        due = position.since_published >= self._learner.publish_every
        return due and self._is_reinforcement(position.step + 1) and not self._offline

    def _is_reinforcement(self, step: int) -> bool:
        return self._reinforces and (self._mixes or not is_supervised(step, self._learner.supervised_ratio))


def is_supervised(step: int, ratio: float) -> bool:
    """Whether the 1-based `step` is a supervised one: ratio/(1 + ratio) of all steps, evenly spread, a reinforcement
    step first.
    """
    exact = Fraction(ratio).limit_denominator(1000)
    share = exact / (1 + exact)
    return int(step * share) > int((step - 1) * share)


def evaluations_since_best(values: Sequence[float]) -> int:
    """How many came after the best one, the first of equals, and so were no better; 0 for none at all."""
    return len(values) - 1 - values.index(max(values)) if values else 0


def _is_multiple(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


LearningRate = Callable[[int], float]
"""From the number of steps already taken to the learning rate of the next."""


def linear(peak: float, steps: int, warmup_steps: int, final_share: float) -> LearningRate:
    """Rises over `warmup_steps`, then changes linearly so that the last of `steps` has `final_share` of the peak."""
    return _warmed_up(peak, steps, warmup_steps, lambda progress: 1.0 - (1.0 - final_share) * progress)


def cosine(peak: float, steps: int, warmup_steps: int, final_share: float) -> LearningRate:
    """Rises over `warmup_steps`, then falls along a cosine to `final_share` of the peak at the last of `steps`."""
    height = 1.0 - final_share
    return _warmed_up(
        peak,
        steps,
        warmup_steps,
        lambda progress: final_share + height * 0.5 * (1.0 + math.cos(math.pi * progress)),
    )


def _warmed_up(peak: float, steps: int, warmup_steps: int, decay: Callable[[float], float]) -> LearningRate:
    """`decay`: from the share of the steps after the warm-up to that of the peak."""

    def rate(step: int) -> float:
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        return peak * decay(min(1.0, (step - warmup_steps) / max(1, steps - 1 - warmup_steps)))

    return rate
