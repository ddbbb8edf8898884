"""From a SPEC to problems, and to programs for supervised training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rltf.config import UserError, is_user_name
from rltf.problems.corpus import Corpus, MixedCorpus, SolutionCorpus
from rltf.problems.problem import CHECKERS, Part, Problem, ProblemSet, Skipped, UnreadFields
from rltf.problems.prompts import AUTO, style_named
from rltf.problems.quarantine import apply_checks
from rltf.problems.sources import SOURCES, parse_spec, source_of, specs_of, weights_of
from rltf.problems.spec import Spec


def load_problems(
    spec: str,
    *,
    seed: int = 0,
    checked: str = "",
    must_match: bool = True,
    shown_tests: int = 3,
    prompt_style: str = AUTO,
    judging: bool = False,
) -> ProblemSet:
    """Problems of a SPEC, which begins with one of `problems.sources.SOURCES`: `apps:FOLDER,split=train,ids=0-99`.

    Of several SPECs, joined by commas (`specs_of`), each has a share of the visits where they have a `weight`.

    Of the options `checker` and `tolerance=1e-4` go over what single problems ask for.

    `checked` is a file that check-data wrote, or empty: its quarantined problems are left out, the others get their
    calibrated limits; `must_match` refuses one that names none of the problems. `seed` draws the starter tasks; other
    sources do not depend on it. `shown_tests`: assert statements of a list of them that the model is shown
    (`Problem.shown_tests`). `prompt_style`: one for all problems, or `auto`, each data set's own. `judging`: only tests
    are wanted, and records of one's own may be without a question. A problem that cannot be used is named in `skipped`
    and the rest goes on. Raises UserError for a SPEC, file or folder that is wrong, and when no problem is left.
    """
    loaded = read_problems(spec, seed, judging)
    if not loaded.problems:
        number = len(loaded.skipped)
        none = (
            f"none of its {number:,} problems can be used; the first,"
            if number > 1
            else "its only problem cannot be used:"
        )
        raise UserError(f"{spec}: {none} {loaded.skipped[0]}")
    shown: dict[str, Any] = {"shown_tests": shown_tests}
    if prompt_style != AUTO:
        style_named(prompt_style)
        shown["prompt_style"] = prompt_style
    loaded = replace(loaded, problems=tuple(replace(problem, **shown) for problem in loaded))
    return apply_checks(loaded, Path(checked).expanduser(), must_match=must_match) if checked else loaded


def read_problems(spec: str, seed: int = 0, judging: bool = False) -> ProblemSet:
    """`load_problems` of all records: every one may be among the skipped.

    Raises UserError when there is no record at all.
    """
    specs = specs_of(spec)
    weights = weights_of(specs)
    if len(specs) > 1:
        return _together(spec, [_read(one, seed, judging) for one in specs], weights)
    if any(weights):
        raise UserError(f"{spec}: weight says how often a set is visited beside others, and there is no other")
    return _read(spec, seed, judging)


def _read(spec: str, seed: int, judging: bool) -> ProblemSet:
    """The problems of one SPEC."""
    parsed = replace(parse_spec(spec, seed), judging=judging)
    problems, skipped, unread = _collect(SOURCES[parsed.source].load(parsed))
    if not problems and not skipped:
        reason = "no problem is left; check its options against the data" if parsed.options else "it holds no problem"
        raise UserError(f"{spec}: {reason}")
    compared = _judging(parsed)
    if compared:
        problems = [replace(problem, suite=replace(problem.suite, **compared)) for problem in problems]
    return ProblemSet(name=spec, problems=tuple(problems), skipped=tuple(skipped), unread=tuple(unread))


def _together(spec: str, sets: Sequence[ProblemSet], weights: Sequence[int]) -> ProblemSet:
    """One set of several. Raises UserError when a problem's id is in two of them."""
    seen: dict[str, ProblemSet] = {}
    for one in sets:
        for problem in one:
            if (other := seen.setdefault(problem.id, one)) is not one:
                raise UserError(
                    f"{spec}: {problem.id} is in {other.name} and in {one.name}; leave it out of one with ids="
                )
    return ProblemSet(
        name=spec,
        problems=tuple(problem for one in sets for problem in one),
        skipped=tuple(skipped for one in sets for skipped in one.skipped),
        unread=tuple(unread for one in sets for unread in one.unread),
        parts=tuple(
            Part(one.name, frozenset(problem.id for problem in one), weight)
            for one, weight in zip(sets, weights, strict=True)
        ),
    )


def corpus_of(problem_set: ProblemSet) -> Corpus:
    """Corpus of a set: its source's own (for `starter` programs drawn with bugs, never a reference), else the
    solutions; of several sets those that have one, each as often as its problems are visited.

    Raises UserError when there is nothing to train on.
    """
    if problem_set.parts:
        return _corpus_of_parts(problem_set)
    source = source_of(problem_set.name)
    make = SolutionCorpus if source is None or source.corpus is None else source.corpus
    try:
        return make(problem_set.problems)
    except ValueError:
        raise UserError(
            f"{problem_set.name}: none of its problems has a solution, so there is nothing for supervised training"
        ) from None


def _corpus_of_parts(problem_set: ProblemSet) -> Corpus:
    corpora: list[Corpus] = []
    weights: list[int] = []
    for part in problem_set.parts:
        problems = tuple(problem for problem in problem_set if problem.id in part.ids)
        if not any(problem.solutions for problem in problems):
            continue  # another may have programs
        corpora.append(corpus_of(ProblemSet(part.name, problems)))
        weights.append(part.weight or len(problems))
    if not corpora:
        raise UserError(
            f"{problem_set.name}: none of its problems has a solution, so there is nothing for supervised training"
        )
    return MixedCorpus(corpora, weights)


def _judging(spec: Spec) -> dict[str, Any]:
    """How the SPEC wants outputs compared. Raises UserError for a checker or tolerance that does not exist."""
    fields: dict[str, Any] = {}
    if "checker" in spec.options:
        name = spec.options["checker"]
        fields["checker_code"] = ""
        fields["checker"] = name if is_user_name(name) else spec.one_of("checker", CHECKERS, "standard")
    if "tolerance" in spec.options:
        try:
            fields["tolerance"] = float(spec.options["tolerance"])
        except ValueError:
            fields["tolerance"] = -1.0
        if not 0 <= fields["tolerance"] < 1:
            raise UserError(f"{spec.text}: tolerance must be a number from 0 to below 1, for example 1e-4")
    return fields


def _collect(
    records: Iterable[Problem | Skipped | UnreadFields],
) -> tuple[list[Problem], list[Skipped], list[UnreadFields]]:
    problems: dict[str, Problem] = {}
    skipped: list[Skipped] = []
    unread: list[UnreadFields] = []
    for record in records:
        if isinstance(record, UnreadFields):
            unread.append(record)
        elif isinstance(record, Skipped):
            skipped.append(record)
        elif record.id in problems:
            skipped.append(Skipped(record.id, "the id occurs twice, the first one is used"))
        else:
            problems[record.id] = record
    return list(problems.values()), skipped, unread
