"""Where the learner is in its run: what has to survive a restart beside weights, optimizer and objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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
    evaluate: int = 0
    """Step whose held-out evaluation waits for the next published version; 0: none does."""
    trained: int = 0
    """Programs trained on."""
    seconds: float = 0.0
    """Of training, up to the end of the last step, waits included."""
    evaluated: list[tuple[int, str]] = field(default_factory=list)
    """Step and label of each held-out evaluation that was asked for."""

    def take_step(self, reinforced: bool, seconds: float) -> None:
        """One more step is taken; `seconds`: of training so far."""
        self.step += 1
        self.changed = True
        self.since_published += int(reinforced)
        self.seconds = seconds

    def publish(self, version: int) -> None:
        """The weights as they are now are `version`."""
        self.version, self.changed, self.since_published = version, False, 0

    def to_facts(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Position:
        """What `to_facts` gave."""
        return cls(**dict(facts) | {"evaluated": [(int(step), str(label)) for step, label in facts["evaluated"]]})
