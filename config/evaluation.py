"""Held-out evaluation during a run: of the main set, `problems.held_out`, and of further sets with names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from rltf.config.base import ConfigSection
from rltf.config.choice import Word, suggest

MAIN = ""
"""The name under which the main set stands beside those of `evaluation.sets`."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_FIGURE = r"(pass|max)@[1-9]\d{0,8}"


class EvaluatedConfig(ConfigSection):
    """How one held-out set is evaluated."""

    every: int = Field(20, ge=0)
    """Learner steps between two evaluations; 0, or offline: only before the first and after the last step."""
    tasks: int = Field(256, ge=1)
    """Held-out problems used, drawn at random, the same in every run (all of them if there are fewer)."""
    samples: int = Field(1, ge=1)
    """Programs per held-out problem, sampled as said here, whatever actors.temperature and top_p are."""
    final_samples: int | None = Field(None, ge=1)
    """The same in the evaluation after the last step; none: as many as in the others."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature of evaluations; 0: greedy, the most probable token each time."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus of evaluations, as actors.top_p is that of training."""
    top_k: int = Field(0, ge=0)
    """The k most probable tokens are sampled from; 0: all."""
    min_p: float = Field(0.0, ge=0, le=1)
    """Tokens at least min_p times as probable as the most probable one are sampled from."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Divides the logits, and multiplies negative ones, of tokens that prompt and program have so far; 1: none."""
    k: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    """The k of pass@k and max@k beside 1, say [1, 10]; each is estimated in evaluations of at least so many programs
    per problem."""

    @property
    def sampling(self) -> str:
        """How programs are drawn, in words."""
        if not self.temperature:
            return "greedily"
        names = {"top-p": "top_p", "top-k": "top_k", "min-p": "min_p", "repetition penalty": "repetition_penalty"}
        found = [f"temperature {self.temperature:g}"]
        for word, name in names.items():
            if (value := getattr(self, name)) != EvaluatedConfig.model_fields[name].default:
                found.append(f"{word} {value:g}")
        return f"at {', '.join(found)}"

    @property
    def ks(self) -> tuple[int, ...]:
        """`k` and 1, ascending."""
        return tuple(sorted({1, *self.k}))

    @property
    def last_samples(self) -> int:
        """Programs per problem in the evaluation after the last step."""
        return self.samples if self.final_samples is None else self.final_samples

    @property
    def most_samples(self) -> int:
        """Programs per problem in the largest evaluation."""
        return max(self.samples, self.last_samples)


class EvaluationSet(EvaluatedConfig):
    """A further held-out set; what its entry does not say is as the section `evaluation` says."""

    name: str
    """Its name: letters, digits, - and _."""
    problems: str
    """SPEC of its problems."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for field in given:
                if field not in cls.model_fields:
                    hint = "a SPEC with commas in it needs quotes" if "=" in str(field) else ""
                    raise ValueError(f"unknown field {field}; {hint or suggest(str(field), cls.model_fields)}")
        return given

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a name has letters, digits, - and _, and at least one of them")
        return name


class EvaluationConfig(EvaluatedConfig):
    """Held-out evaluation during the run."""

    sets: Annotated[tuple[EvaluationSet, ...], Word("[{name: NAME, problems: SPEC, ...}, ...]")] = ()
    """Further held-out sets beside problems.held_out, each shown under its name: [{name: mbpp, problems:
    "mbpp:FILE,ids=11-510", temperature: 0}, ...]. An entry may have every, tasks, samples, final_samples, temperature,
    top_p, top_k, min_p, repetition_penalty and k of its own; what it does not say is as in this section."""
    best_by: Annotated[str, Field(pattern=rf"^([A-Za-z0-9_-]+:)?{_FIGURE}$"), Word("[NAME:]pass@K|[NAME:]max@K")] = (
        "pass@1"
    )
    """Figure by which a checkpoint is the best, and by which `patience` counts, of problems.held_out or of the set
    NAME; max@K: the share of tests that the best of K programs passes."""
    patience: int = Field(0, ge=0)
    """Evaluations without a better `best_by` after which training ends as after its last step; 0: it does not end
    early."""

    @model_validator(mode="before")
    @classmethod
    def _fill_sets(cls, given: Any) -> Any:
        """What an entry does not say is the section's own value."""
        if isinstance(given, dict) and isinstance(given.get("sets"), list | tuple):
            own = {name: given[name] for name in EvaluatedConfig.model_fields if name in given}
            filled = [own | entry if isinstance(entry, dict) else entry for entry in given["sets"]]
            return given | {"sets": filled}
        return given

    @field_validator("sets", mode="before")
    @classmethod
    def _are_entries(cls, given: Any) -> Any:
        entry = (dict, EvaluationSet)
        if not isinstance(given, list | tuple) or not all(isinstance(one, entry) for one in given):
            raise ValueError("Input should be a list of entries, as in [{name: mbpp, problems: mbpp:FILE}]")
        return given

    @field_validator("sets")
    @classmethod
    def _have_names_of_their_own(cls, sets: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        names = [one.name for one in sets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sets have the name {name}")
        return sets

    @property
    def by_name(self) -> dict[str, EvaluatedConfig]:
        """How each set is evaluated: the main one, which this section is about, is the first."""
        return {MAIN: self} | {one.name: one for one in self.sets}

    @property
    def specs(self) -> dict[str, str]:
        """SPECs of the further sets by name."""
        return {one.name: one.problems for one in self.sets}

    @property
    def best_set(self) -> str:
        """The set that `best_by` is about."""
        return self.best_by.rpartition(":")[0]

    @property
    def best_figure(self) -> str:
        """The figure of that set."""
        return self.best_by.rpartition(":")[2]

    @property
    def programs(self) -> int:
        """Programs of the largest evaluation of every set, together."""
        return sum(one.tasks * one.most_samples for one in self.by_name.values())

    @property
    def usual_programs(self) -> int:
        """Programs of an evaluation of every set during training, together."""
        return sum(one.tasks * one.samples for one in self.by_name.values())


def refuse_unfit(evaluation: EvaluationConfig, work_capacity: int, offline: bool) -> None:
    """Raises ValueError where the settings do not fit together, or the work queue's capacity is less than a problem's
    programs; `offline`: no version is published during training.
    """
    for name, one in evaluation.by_name.items():
        _refuse_unfit_set(_field_of(name), one, work_capacity)
    by, of = evaluation.best_by, evaluation.by_name.get(evaluation.best_set)
    if of is None:
        known = ", ".join(name for name in evaluation.by_name if name) or "none"
        raise ValueError(f"evaluation.best_by {by} is of no set in evaluation.sets, which names {known}")
    k, where = int(evaluation.best_figure.partition("@")[2]), _field_of(evaluation.best_set)
    if k not in of.ks:
        raise ValueError(f"evaluation.best_by {by} is not estimated: add {k} to {where('k')}")
    if k > min(of.samples, of.last_samples):
        raise ValueError(
            f"evaluation.best_by {by} needs as many programs per problem in every evaluation: raise "
            f"{where('samples')} from {of.samples}"
        )
    if evaluation.patience and (offline or not of.every):
        raise ValueError(
            f"evaluation.patience {evaluation.patience} needs evaluations during training, which there are none of: "
            f"set {where('every')} and learner.publish_every to 1 or more"
        )


def _field_of(name: str) -> Callable[[str], str]:
    """Words for a field of a set."""
    return lambda field: f"{field} of {name} in evaluation.sets" if name else f"evaluation.{field}"


def _refuse_unfit_set(where: Callable[[str], str], one: EvaluatedConfig, work_capacity: int) -> None:
    most, greatest = one.most_samples, max(one.ks)
    if most > 1 and not one.temperature:
        raise ValueError(
            f"{where('temperature')} is 0, which gives one program per problem, and {most} are asked for: set samples "
            "and final_samples to 1, or a temperature above 0"
        )
    if most > work_capacity:
        raise ValueError(
            f"buffer.work_capacity {work_capacity} is less than the {most} programs that one problem "
            "has in an evaluation: "
            "actors would wait for ever"
        )
    if greatest > most:
        raise ValueError(
            f"{where('k')} asks for pass@{greatest}, which needs as many programs per problem: raise "
            f"{where('final_samples')} from {most}"
        )
