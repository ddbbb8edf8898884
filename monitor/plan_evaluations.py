"""The plan's rows about held-out evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rltf.config import Config, EvaluatedConfig
from rltf.telemetry.console import counted
from rltf.telemetry.vocabulary import without_better


@dataclass(frozen=True)
class Evaluated:
    """A held-out set."""

    tasks: int
    words: str
    """Its problems ("256 of 500 from mbpp,ids=11-510")."""


def held_out_problems(held_out: Mapping[str, Evaluated]) -> list[tuple[str, str]]:
    """The problems of each set, by name."""
    rows = [(f"held-out {name or 'problems'}", one.words) for name, one in held_out.items()]
    return rows or [("held-out problems", "none: no evaluation")]


def evaluations(config: Config, held_out: Mapping[str, Evaluated]) -> list[tuple[str, str]]:
    """When and how each held-out set is evaluated, and what follows from it."""
    learner, rows = config.learner, []
    for name, of in held_out.items():
        evaluation = config.evaluation.by_name[name]
        when = (
            f"every {evaluation.every} steps, before the first and after the last"
            if evaluation.every and (learner.publish_every or learner.objective == "supervised")
            else "before the first step and after the last"
        )
        scores = ", ".join(f"{figure}@{k}" for figure in ("pass", "max") for k in evaluation.ks)
        sampled = f"{counted(evaluation.samples, 'sample')} {evaluation.sampling}"
        evaluated = f"{scores} of {of.tasks} tasks x {sampled}, {when}{_finally(evaluation)}"
        rows.append((f"evaluation of {name}" if name else "evaluation", evaluated))
    if not rows:
        return [("evaluation", "none")]
    main, words = rows[0]
    return [(main, words + _best(config)), *rows[1:]]


def _finally(evaluation: EvaluatedConfig) -> str:
    different = evaluation.last_samples != evaluation.samples
    return f" with {counted(evaluation.last_samples, 'sample')} then" if different else ""


def _best(config: Config) -> str:
    evaluation = config.evaluation
    by = f"; the best checkpoint by {evaluation.best_by}" if evaluation.best_by != "pass@1" else ""
    ends = f"; training ends once there is {without_better(evaluation.best_by, evaluation.patience)}"
    return by + (ends if evaluation.patience else "")
