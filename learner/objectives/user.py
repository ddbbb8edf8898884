"""An objective of the user's own (`run.code`), whose errors are sentences with the file and the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from rltf.buffer.records import Group
from rltf.config import Config, UserError, said, user_class
from rltf.learner.objectives.base import LossInputs, LossResult, Objective, PreparedStep, Totals

T = TypeVar("T")
_WHERE = "learner.objective"
_METHODS = ("prepare", "loss", "state_dict", "load_state_dict")


class UserObjective:
    """The objective of the class that `learner.objective` names as `module:name`."""

    def __init__(self, config: Config, encoder_decoder: bool) -> None:
        """Raises UserError when there is no such class, or it is no `ObjectiveKind`."""
        self.name = config.learner.objective
        kind = user_class(self.name, _WHERE, ["from_config", *_METHODS])
        self._own: Objective = self._called("from_config", lambda: kind.from_config(config, encoder_decoder))
        self.terms: tuple[str, ...] = self._called("terms", lambda: tuple(self._own.terms))

    def prepare(self, groups: Sequence[Group]) -> PreparedStep:
        """See Objective. Raises UserError where the class raises anything, or gives another thing."""
        prepared = self._called("prepare", lambda: self._own.prepare(groups))
        if not isinstance(prepared, PreparedStep):
            raise UserError(f"{_WHERE} {self.name}: prepare gave {prepared!r:.80}, not a Prepared")
        return prepared

    def loss(self, log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, totals: Totals) -> LossResult:
        """See Objective. Raises UserError where the class raises anything, or gives another thing."""
        result = self._called("loss", lambda: self._own.loss(log_probs, mask, inputs, totals))
        if not isinstance(result, LossResult):
            raise UserError(f"{_WHERE} {self.name}: loss gave {result!r:.80}, not a LossResult")
        return result

    def state_dict(self) -> dict[str, Any]:
        """See Objective. Raises UserError where the class raises anything."""
        return self._called("state_dict", self._own.state_dict)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See Objective. Raises UserError where the class raises anything."""
        self._called("load_state_dict", lambda: self._own.load_state_dict(state))

    def _called(self, method: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(f"{_WHERE} {self.name}: {method} failed: {said(error)}") from error
