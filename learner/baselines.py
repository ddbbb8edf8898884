"""What a program is compared with in Eq. 8 and 10: the problem's best program so far, the newest greedy one, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from buffer.records import Group, Sample
from learner.rewards import adaptive_reward, coarse_reward

Kind = Literal["best", "greedy", "none"]


class Baseline(NamedTuple):
    """Rewards of a baseline program."""

    coarse: float
    """R_coarse(W_baseline)."""
    adaptive: float
    """R_adaptive(W_baseline): 1.0 for a pass, the coarse reward for an error."""


NOTHING = Baseline(0.0, 0.0)


class Baselines:
    """Keeps one baseline per problem over the whole run.

    ``best``: the historical best (paper section 3.4), begun with the greedy program of the problem's first visit; a visit is compared
    with the best of the visits before it, and then takes part itself. ``greedy``: the greedy program of the visit, or the newest one
    if that was lost. ``none``: zero. A problem without any greedy program yet is compared with zero.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._by_problem: dict[str, Baseline] = {}

    def of(self, group: Group) -> Baseline:
        """The baseline that the programs of this visit are compared with."""
        if self.kind == "none":
            return NOTHING
        known = self._by_problem.get(group.problem_id)
        if group.greedy is not None and (self.kind == "greedy" or known is None):
            return _rewards(group.greedy)
        return known if known is not None else NOTHING

    def update(self, group: Group) -> None:
        """Takes a visit into the history, once its programs have been compared."""
        if self.kind == "greedy" and group.greedy is not None:
            self._by_problem[group.problem_id] = _rewards(group.greedy)
        elif self.kind == "best":
            samples = [*group.samples, *([group.greedy] if group.greedy is not None else [])]
            candidates = [_rewards(sample) for sample in samples]
            if group.problem_id in self._by_problem:
                candidates.append(self._by_problem[group.problem_id])
            if candidates:
                self._by_problem[group.problem_id] = max(candidates, key=lambda rewards: (rewards.adaptive, rewards.coarse))

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state."""
        return {"kind": self.kind, "by_problem": {problem: list(rewards) for problem, rewards in self._by_problem.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the state is another kind's."""
        if state["kind"] != self.kind:
            raise ValueError(f"the saved baselines are of kind {state['kind']}, the configuration asks for {self.kind}")
        self._by_problem = {problem: Baseline(*rewards) for problem, rewards in state["by_problem"].items()}


def _rewards(sample: Sample) -> Baseline:
    return Baseline(coarse_reward(sample.feedback), adaptive_reward(sample.feedback))
