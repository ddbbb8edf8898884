"""Which problems a run is trained on, and which it is only ever evaluated on: named by the configuration, or a share
held out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

from rltf.config import ProblemsConfig, UserError
from rltf.problems.loading import load_problems
from rltf.problems.problem import Problem, ProblemSet
from rltf.problems.sources import SOURCES, parse_spec, source_of, specs_of

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


def load_problem_split(config: ProblemsConfig, seed: int, *, must_match: bool = True) -> ProblemSplit:
    """Loads both sets; no problem is in both.

    Raises UserError as `load_problems` does, and for a `held_out` that is no SPEC and no share, or shares ids with the
    training problems.
    """
    load = partial(
        load_problems,
        seed=seed,
        checked=config.checked,
        shown_tests=config.shown_tests,
        prompt_style=config.prompt_style,
    )
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
    held_out = load(wanted, must_match=False)
    if any(part.weight for part in held_out.parts):
        raise UserError(f"problems.held_out {wanted}: every problem is evaluated alike, leave out weight")
    _refuse_shared(train, held_out)
    return ProblemSplit(train, held_out, tuple(_remarks(train, held_out)))


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


def _refuse_shared(train: ProblemSet, held_out: ProblemSet) -> None:
    shared = {problem.id for problem in train} & {problem.id for problem in held_out}
    if shared:
        raise UserError(
            f"{len(shared)} problem{'s have' if len(shared) > 1 else ' has'} the same id in problems.train "
            f"({train.name}) and "
            f"problems.held_out ({held_out.name}), the first {min(shared)}: held-out problems must be others, under "
            "other ids"
        )


def _remarks(train: ProblemSet, held_out: ProblemSet) -> list[str]:
    remarks = []
    sources = [{parse_spec(one).source for one in specs_of(part.name)} for part in (train, held_out)]
    if sources[0] != sources[1] and "starter" in sources[0] | sources[1]:
        remarks.append(
            f"training is on {train.name} and held-out figures are about {held_out.name}, problems of another kind"
        )
    trained = {statement_of(problem): problem.id for problem in train}
    same = [(problem.id, trained[statement]) for problem in held_out if (statement := statement_of(problem)) in trained]
    if same:
        remarks.append(
            f"{len(same):,} of the {len(held_out):,} held-out problems have the statement of a training problem, the "
            f"first {same[0][0]} "
            f"that of {same[0][1]}: held-out figures are too high"
        )
    return remarks
