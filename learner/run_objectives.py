"""What the steps of a run minimise, and what that depends on beside a step's programs. Needs no weights of a model."""

from __future__ import annotations

from typing import Any

from rltf.config import Config, UserError
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.corpus_stream import CorpusStream, Imitation
from rltf.learner.objectives import make_objective, with_supervised
from rltf.learner.objectives.base import Objective
from rltf.policy.policy import Policy
from rltf.problems import Corpus


class RunObjectives:
    """The objective of reinforcement steps and that of supervised ones, as far as the run has them."""

    def __init__(self, config: Config, policy: Policy, corpus: Corpus | None) -> None:
        """`policy` need not have weights. Raises ValueError when a corpus is needed and there is none."""
        learner = config.learner
        self._reinforcement = make_objective(config, policy.is_encoder_decoder)
        self._supervised: Imitation | None = None
        if self._reinforcement is None or learner.supervised_ratio:
            if corpus is None:
                raise ValueError("supervised steps need a corpus")
            stream = CorpusStream(policy, corpus, learner.supervised_batch_size, f"{config.run.seed}:supervised")
            normalise = config.objective.supervised_normalise
            self._supervised = Imitation(stream, normalise, policy.spec.max_program_tokens)
            if self._reinforcement is not None and learner.supervised_mixing == "micro_batch":
                self._reinforcement = with_supervised(self._reinforcement, stream, config)

    def of_step(self, reinforce: bool) -> Objective:
        """The objective of a reinforcement step, or of a supervised one. Raises ValueError when the run has none."""
        found = self._reinforcement if reinforce else self._supervised
        if found is None:
            raise ValueError(f"a run without {'reinforcement' if reinforce else 'supervised'} steps")
        return found

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that weigh sampled programs, else corpus programs."""
        return self.of_step(self._reinforcement is not None).terms

    def state_dict(self) -> dict[str, Any]:
        """What has to survive a restart, as facts of a checkpoint; JSON-able."""
        parts = {"objective": self._reinforcement, "corpus": self._supervised}
        return {name: {} if part is None else part.state_dict() for name, part in parts.items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on as after `checkpoint`. Raises UserError when the objective's state does not fit the configuration."""
        try:
            for name, part in (("objective", self._reinforcement), ("corpus", self._supervised)):
                if part is not None:
                    part.load_state_dict(checkpoint.facts[name])
        except ValueError as error:
            raise UserError(f"checkpoint {checkpoint.folder} does not fit the configuration: {error}") from error
