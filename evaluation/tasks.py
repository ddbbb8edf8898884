"""Which problems the held-out evaluations of a run are about, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rltf.evaluation.summary import Asked
from rltf.problems import Problem, Skipped


@dataclass(frozen=True)
class HeldOutTasks:
    """The held-out problems that are used."""

    name: str
    """Where they are from, in words."""
    total: int
    """Problems that they were drawn from."""
    asked: tuple[Problem, ...]
    """Those that the policy writes programs for."""
    too_long: tuple[Skipped, ...] = ()
    """Those whose prompt cannot be made to fit: no program can be written for them, so they count as not solved."""
    set: str = ""
    """Name of a further set (`evaluation.sets`); empty for the main one."""

    @property
    def title(self) -> str:
        """What its figures are called: `held-out`, or `held-out NAME`."""
        return f"held-out {self.set}".strip()

    @property
    def tasks(self) -> int:
        """Problems that a score is a mean over."""
        return len(self.asked) + len(self.too_long)

    def to_ask(self, ks: Sequence[int]) -> Asked:
        """What evaluations of them ask for; `ks`: the k of their figures."""
        return Asked(tuple(problem.id for problem in self.asked), tuple(ks), len(self.too_long))

    def about(self) -> dict[str, Any]:
        """JSON-able: `tasks`, `total`, `too_long` (numbers), `problems` (name), and `about`, all of them in words."""
        numbers = {"tasks": self.tasks, "of": self.total, "too_long": len(self.too_long), "problems": self.name}
        return numbers | {"about": str(self)}

    def __str__(self) -> str:
        drawn = f"{self.tasks:,} of {self.total:,}" if self.tasks < self.total else f"all {self.total:,}"
        lost = (
            f"; {len(self.too_long):,} of them, whose prompt does not fit, count as not solved" if self.too_long else ""
        )
        return f"{drawn} from {self.name}{lost}"
