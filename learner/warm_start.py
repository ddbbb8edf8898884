"""The warm start: supervised training on corpus programs before the first program is sampled (RLTF Table 1; all methods
use one).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from rltf.config import Config
from rltf.learner.corpus_stream import CorpusStream, Imitation
from rltf.learner.engine import TrainingEngine
from rltf.learner.schedule import cosine
from rltf.learner.training_step import TrainingStep
from rltf.problems import Corpus
from rltf.telemetry.recorder import Recorder

BETAS = (0.9, 0.95)
MAX_ROUNDS = 20
"""Rounds of `until_pass` after which the warm start is given up."""


class WarmStartFailed(RuntimeError):
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


def warm_start(
    training: TrainingStep,
    corpus: Corpus,
    config: Config,
    recorder: Recorder,
    *,
    should_stop: Callable[[], bool],
    passes: Callable[[], bool],
) -> WarmStartReport:
    """Trains for `warm_start.steps` optimizer steps; with `until_pass` in rounds of as many, until `passes()` is true
    after one. Collective.

    Cross-entropy per program token, learning rate warmed up over a twentieth of a round and decayed by a cosine to a
    tenth. Raises WarmStartFailed when no program passes after `MAX_ROUNDS` rounds.
    """
    settings = config.warm_start
    stream = CorpusStream(training.policy, corpus, settings.batch_size, f"{config.run.seed}:warm_start")
    imitation = Imitation(stream)
    learning_rate = cosine(settings.learning_rate, settings.steps, max(1, settings.steps // 20), 0.1)
    training.engine.reset_optimizer(BETAS, 0.0)
    began = time.monotonic()
    tokens = useful = computed = rounds = 0
    losses: list[float] = []
    stopped = passed = False
    with _threads(config.learner.warm_start_threads, training.engine):
        while not (stopped or passed) and rounds < (MAX_ROUNDS if settings.until_pass else 1):
            for step in range(settings.steps):
                if stopped := should_stop():
                    break
                taken = training.take(imitation, (), learning_rate(step), statistics=False)
                tokens += taken.result.tokens
                useful += taken.plan.row_tokens
                computed += taken.plan.padded_tokens
                losses.append(taken.result.loss * taken.prepared.totals.tokens / max(1, taken.result.tokens))
                recorder.count("warm_start_programs", len(taken.prepared.items))
                if step % 10 == 0:
                    recorder.gauge("warm_start_step", len(losses))
                    recorder.gauge("warm_start_loss", losses[-1])
            rounds += 1
            passed = not stopped and settings.until_pass and passes()
    if settings.until_pass and not (stopped or passed):
        raise WarmStartFailed(
            f"After {rounds} rounds of {settings.steps} warm-start steps no program has passed: raise warm_start.steps"
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
