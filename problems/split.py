"""Which problems a run is trained on, and which it is only ever evaluated on: named by the configuration, or a share
held out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from types import MappingProxyType

from rltf.config import ProblemsConfig, UserError
from rltf.problems.loading import load_problems
from rltf.problems.problem import Problem, ProblemSet
from rltf.problems.sources import SOURCES, parse_spec, source_of, specs_of

Load = Callable[..., ProblemSet]
"""`load_problems` with a run's settings."""
SHARE = 0.1
"""What `problems.held_out auto` holds out of problems that have no held-out set of their own."""


@dataclass(frozen=True)
class ProblemSplit:
    """The problems of a run."""

    train: ProblemSet
    held_out: ProblemSet | None
    """None: nothing is evaluated. Its name says what it is."""
    remarks: tuple[str, ...]
    """What is worth knowing of the two, a sentence each without a full stop."""
    further: Mapping[str, ProblemSet] = field(default_factory=dict)
    """Further held-out sets by name. One may have problems of another held-out set, and the same ones under their
    ids."""

    @property
    def parts(self) -> tuple[ProblemSet, ...]:
        """All sets, that to train on first; of two with the same problems one."""
        return tuple({part.name: part for part in (self.train, *self.evaluated.values())}.values())

    @property
    def evaluated(self) -> dict[str, ProblemSet]:
        """The held-out sets by name, the main one without one."""
        return {"": self.held_out, **self.further} if self.held_out is not None else {}


def load_problem_split(
    config: ProblemsConfig, seed: int, further: Mapping[str, str] = MappingProxyType({}), *, must_match: bool = True
) -> ProblemSplit:
    """Loads the problems to train on and to evaluate; none is in both.

    `further`: SPECs of further held-out sets by name. Raises UserError as `load_problems` does, for a `held_out` that
    is no SPEC and no share, a further set that is no SPEC, held-out problems that share ids with the training problems
    or are two under one id, and further sets where there is no first one.
    """
    load = partial(
        load_problems,
        seed=seed,
        checked=config.checked,
        shown_tests=config.shown_tests,
        prompt_style=config.prompt_style,
    )
    split = _split(config, load, must_match)
    if not further:
        return split
    if split.held_out is None:
        raise UserError(
            f"evaluation.sets are evaluated beside problems.held_out, which is {config.held_out.strip() or 'empty'} "
            "and holds no problem out: name the first set there"
        )
    sets = {name: _named_set(spec, f"evaluation.sets {name}", load) for name, spec in further.items()}
    remarks = [*split.remarks]
    for name, held_out in sets.items():
        _refuse_shared(split.train, held_out, f"evaluation.sets {name}")
        remarks += _same_statements(split.train, held_out, f"held-out problems of {name}")
    _refuse_two_of_one_id([split.held_out, *sets.values()])
    return replace(split, further=sets, remarks=tuple(remarks))


def _split(config: ProblemsConfig, load: Load, must_match: bool) -> ProblemSplit:
    train = load(config.train, must_match=must_match)
    wanted = config.held_out.strip()
    if wanted in ("", "none"):
        return ProblemSplit(train, None, ())
    if wanted == "auto":
        wanted = "starter,split=heldout" if _is_starter(config.train) else str(SHARE)
    if (share := _share(wanted)) is not None:
        return _hold_out(train, share)
    if source_of(wanted) is None:
        raise UserError(
            f"problems.held_out {wanted!r} is none of: auto, none, a share of the training problems such as 0.2, or "
            "a SPEC, which "
            f"begins with one of {', '.join(SOURCES)}"
        )
    held_out = _named_set(wanted, "problems.held_out", load)
    _refuse_shared(train, held_out, "problems.held_out")
    return ProblemSplit(train, held_out, tuple(_remarks(train, held_out)))


def _named_set(spec: str, where: str, load: Load) -> ProblemSet:
    if source_of(spec) is None:
        raise UserError(f"{where} {spec!r} is no SPEC, which begins with one of {', '.join(SOURCES)}")
    found = load(spec, must_match=False)
    if any(part.weight for part in found.parts):
        raise UserError(f"{where} {spec}: every problem is evaluated alike, leave out weight")
    return found


def statement_of(problem: Problem) -> str:
    """What two problems have in common that are the same under two ids: question and starter code, but for
    white space.
    """
    return " ".join(f"{problem.question} {problem.starter_code}".split())


def _is_starter(spec: str) -> bool:
    parsed = [parse_spec(one) for one in specs_of(spec)]
    return all(one.source == "starter" and one.options.get("split", "train") == "train" for one in parsed)


def _share(text: str) -> float | None:
    """None when it is no number."""
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise UserError(
            f"problems.held_out {text} is no share of the training problems: take a number above 0 and below 1, or a "
            "SPEC"
        )
    return share


def _hold_out(problems: ProblemSet, share: float) -> ProblemSplit:
    """A share of the problems, by a hash of their statements: the same in every run, hardly another where problems are
    added.

    Problems with one statement stay together, so that none is trained on under another id.
    """
    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[statement_of(problem)].append(problem)
    room = math.floor(share * len(problems) + 1e-9)
    ids: set[str] = set()
    for statement in sorted(groups, key=lambda text: blake2b(text.encode()).digest()):
        if len(ids) + len(groups[statement]) <= room:
            ids |= {problem.id for problem in groups[statement]}
    words = f"{share:.3g} of the {len(problems):,} problems of {problems.name}"
    if not ids:
        reason = "they have too many statements in common" if room else "that is less than one"
        return ProblemSplit(
            problems, None, (f"nothing is evaluated: problems.held_out is {words}, and {reason}; name problems for it",)
        )
    held_out, train = (tuple(one for one in problems if (one.id in ids) == chosen) for chosen in (True, False))
    # What could not be used is told once, with the training problems.
    return ProblemSplit(replace(problems, problems=train), ProblemSet(f"{words}, held out of training", held_out), ())


def _refuse_shared(train: ProblemSet, held_out: ProblemSet, where: str) -> None:
    shared = {problem.id for problem in train} & {problem.id for problem in held_out}
    if shared:
        raise UserError(
            f"{len(shared)} problem{'s have' if len(shared) > 1 else ' has'} the same id in problems.train "
            f"({train.name}) and "
            f"{where} ({held_out.name}), the first {min(shared)}: held-out problems must be others, under "
            "other ids"
        )


def _refuse_two_of_one_id(sets: Sequence[ProblemSet]) -> None:
    """Raises UserError where an id stands for two problems, one of each set: each is asked and judged as one."""
    first: dict[str, tuple[Problem, str]] = {}
    for part in sets:
        for problem in part:
            other, name = first.setdefault(problem.id, (problem, part.name))
            if problem != other:
                raise UserError(
                    f"{problem.id} is a problem of {name} and another one of {part.name}: problems of two held-out "
                    "sets need ids of their own"
                )


def _remarks(train: ProblemSet, held_out: ProblemSet) -> list[str]:
    remarks = []
    sources = [{parse_spec(one).source for one in specs_of(part.name)} for part in (train, held_out)]
    if sources[0] != sources[1] and "starter" in sources[0] | sources[1]:
        remarks.append(
            f"training is on {train.name} and held-out figures are about {held_out.name}, problems of another kind"
        )
    return remarks + _same_statements(train, held_out, "held-out problems")


def _same_statements(train: ProblemSet, held_out: ProblemSet, words: str) -> list[str]:
    trained = {statement_of(problem): problem.id for problem in train}
    same = [(problem.id, trained[statement]) for problem in held_out if (statement := statement_of(problem)) in trained]
    if not same:
        return []
    return [
        f"{len(same):,} of the {len(held_out):,} {words} have the statement of a training problem, the "
        f"first {same[0][0]} "
        f"that of {same[0][1]}: held-out figures are too high"
    ]
