"""What a program is compared with (RLTF section 3.4): the problem's best program so far, its newest greedy one, its
group, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rltf.buffer.records import Group, Sample
from rltf.config import Baseline
from rltf.learner.rewards import Reward


class Baselines:
    """Keeps one baseline per problem over the whole run: the values of some reward functions at the baseline program.

    ``best``: the historical best by the last of the functions, begun with the greedy program of the problem's first
    visit; a visit is compared with the best of the visits before it, and then takes part itself. ``latest_greedy``: the
    greedy program of the visit, or the newest one if that was lost. ``group_mean``: means over the visit's sampled
    programs. ``none``: zeros. A problem without any greedy program yet is compared with zeros.
    """

    def __init__(self, kind: Baseline, rewards: Sequence[Reward]) -> None:
        self.kind = kind
        self._rewards = tuple(rewards)
        self._by_problem: dict[str, tuple[float, ...]] = {}

    def baseline_for(self, group: Group) -> tuple[float, ...]:
        """Each function's value of the baseline that the programs of this visit are compared with."""
        nothing = (0.0,) * len(self._rewards)
        if self.kind == "none":
            return nothing
        if self.kind == "group_mean":
            columns = list(zip(*(self._values(sample, group) for sample in group.samples), strict=True))
            return tuple(sum(column) / len(column) for column in columns) or nothing
        known = self._by_problem.get(group.problem_id)
        if group.greedy is not None and (self.kind == "latest_greedy" or known is None):
            return self._values(group.greedy, group)
        return known if known is not None else nothing

    def update(self, group: Group) -> None:
        """Takes a visit into the history, once its programs have been compared."""
        if self.kind == "latest_greedy" and group.greedy is not None:
            self._by_problem[group.problem_id] = self._values(group.greedy, group)
        elif self.kind == "best":
            candidates = [self._values(sample, group) for sample in group.members]
            if group.problem_id in self._by_problem:
                candidates.append(self._by_problem[group.problem_id])
            if candidates:
                self._by_problem[group.problem_id] = max(candidates, key=lambda values: values[::-1])

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state."""
        by_problem = {problem: list(values) for problem, values in self._by_problem.items()}
        return {"kind": self.kind, "rewards": self._names(), "by_problem": by_problem}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the state is another kind's, or its values are of other rewards."""
        if state["kind"] != self.kind:
            raise ValueError(f"the saved baselines are of kind {state['kind']}, the configuration asks for {self.kind}")
        if state["by_problem"] and state["rewards"] != self._names():
            raise ValueError(
                f"the saved baselines are values of {' and '.join(state['rewards'])}, not of "
                f"{' and '.join(self._names())}"
            )
        self._by_problem = {problem: tuple(values) for problem, values in state["by_problem"].items()}

    def _names(self) -> list[str]:
        return [reward.__name__ for reward in self._rewards]

    def _values(self, sample: Sample, group: Group) -> tuple[float, ...]:
        return tuple(reward(sample, group) for reward in self._rewards)


class KeepsBaselines:
    """What an objective keeps over a restart, where that is its baselines."""

    baselines: Baselines

    def state_dict(self) -> dict[str, Any]:
        """The baselines."""
        return {"baselines": self.baselines.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the baselines are of another kind."""
        if state:
            self.baselines.load_state_dict(state["baselines"])
