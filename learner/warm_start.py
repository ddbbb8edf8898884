"""The warm start: supervised training on corpus programs before the first program is sampled (RLTF Table 1; all methods
use one).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from rltf.config import LearnerConfig, WarmStartConfig
from rltf.learner.corpus_stream import Corpus, CorpusStream
from rltf.learner.engine import TrainingEngine
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.schedules import cosine
from rltf.policy.policy import Policy
from rltf.telemetry.recorder import Recorder

BETAS = (0.9, 0.95)
MOST_ROUNDS = 20
"""Rounds of `until_pass` after which the warm start is given up."""


class NeverPassed(RuntimeError):
    """The warm start was given up: the model is not yet good enough to learn from tests."""


@dataclass(frozen=True, slots=True)
class WarmStartReport:
    """What the warm start was."""

    steps: int
    rounds: int
    seconds: float
    program_tokens: int
    loss: float
    """Cross-entropy in nats per program token, mean over the last twentieth of the steps."""
    padding_share: float
    stopped: bool
    """Whether the run was stopped meanwhile."""

    def as_row(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def warm_start(
    engine: TrainingEngine,
    policy: Policy,
    corpus: Corpus,
    config: WarmStartConfig,
    learner: LearnerConfig,
    recorder: Recorder,
    *,
    seed: int,
    should_stop: Callable[[], bool],
    passes: Callable[[], bool],
) -> WarmStartReport:
    """Trains for `config.steps` optimizer steps; with `until_pass` in rounds of as many, until `passes()` after one.

    Collective.

    Cross-entropy per program token, learning rate warmed up over a twentieth of a round and decayed by a cosine to a
    tenth. Raises NeverPassed when no program passes after `MOST_ROUNDS` rounds.
    """
    stream = CorpusStream(policy, corpus, config.batch_size, f"{seed}:warm_start")
    supervised = Supervised("token_mean")
    schedule = cosine(config.learning_rate, config.steps, max(1, config.steps // 20), 0.1)
    engine.begin(BETAS, 0.0)
    began = time.monotonic()
    tokens = useful = computed = rounds = 0
    losses: list[float] = []
    stopped = passed = False
    with _threads(learner.warm_start_threads, engine):
        while not (stopped or passed) and rounds < (MOST_ROUNDS if config.until_pass else 1):
            for step in range(config.steps):
                if stopped := should_stop():
                    break
                items, totals = stream.next()
                mine = engine.plan(items)
                result = engine.step(mine.micro_batches, supervised.loss, totals, schedule(step), statistics=False)
                tokens, useful, computed = (
                    tokens + result.tokens,
                    useful + mine.row_tokens,
                    computed + mine.padded_tokens,
                )
                losses.append(result.loss * totals.tokens / max(1, result.tokens))
                recorder.count("warm_start_programs", len(items))
                if step % 10 == 0:
                    recorder.gauge("warm_start_step", len(losses))
                    recorder.gauge("warm_start_loss", losses[-1])
            rounds += 1
            passed = not stopped and config.until_pass and passes()
    if config.until_pass and not (stopped or passed):
        raise NeverPassed(
            f"After {rounds} rounds of {config.steps} warm-start steps no program has passed: raise warm_start.steps"
        )
    recent = losses[-max(1, len(losses) // 20) :]
    return WarmStartReport(
        steps=len(losses),
        rounds=rounds,
        seconds=time.monotonic() - began,
        program_tokens=tokens,
        loss=sum(recent) / max(1, len(recent)),
        padding_share=1.0 - useful / computed if computed else 0.0,
        stopped=stopped,
    )


@contextmanager
def _threads(number: int, engine: TrainingEngine) -> Iterator[None]:
    """Torch threads on the CPU while the actors are idle."""
    before = torch.get_num_threads()
    if engine.device.type == "cpu":
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
