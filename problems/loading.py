"""From a SPEC to problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from rltf.config import UserError
from rltf.problems import apps, jsonl, mbpp
from rltf.problems.problem import CheckerName, Problem, ProblemSet, Skipped, Unread
from rltf.problems.quarantine import honour
from rltf.problems.spec import Spec, parse_spec
from rltf.problems.starter.tasks import starter_problems


def load_problems(
    spec: str, *, seed: int = 0, checked: str = "", must_match: bool = True, shown_tests: int = 3
) -> ProblemSet:
    """Problems of a SPEC: `starter[,split=train|heldout]`, `apps[:FOLDER][,split=..][,difficulty=..][,ids=..]`,
    `mbpp[:FILE][,ids=11-510]` or `jsonl:FILE[,ids=..]`; `apps` and `mbpp` without a path come from the hub. `apps` and
    `jsonl` take `checker=standard|tokens|apps_compat` and `tolerance=1e-4`, over what single problems ask for.

    `checked` is a file that check-data wrote, or empty: its quarantined problems are left out, the others get their
    calibrated limits; `must_match` refuses one that names none of the problems. `seed` draws the starter tasks; other
    sources do not depend on it. `shown_tests`: assert statements of a list of them that the model is shown
    (`Problem.shown_tests`). A problem that cannot be used is named in `skipped` and the rest goes on. Raises UserError
    for a SPEC, file or folder that is wrong, and when no problem is left.
    """
    loaded = read_problems(spec, seed)
    if not loaded.problems:
        number = len(loaded.skipped)
        none = (
            f"none of its {number:,} problems can be used; the first,"
            if number > 1
            else "its only problem cannot be used:"
        )
        raise UserError(f"{spec}: {none} {loaded.skipped[0]}")
    problems = tuple(replace(problem, shown_tests=shown_tests) for problem in loaded)
    loaded = replace(loaded, problems=problems)
    return honour(loaded, Path(checked).expanduser(), must_match=must_match) if checked else loaded


def read_problems(spec: str, seed: int = 0) -> ProblemSet:
    """`load_problems` of all records: every one may be among the skipped.

    Raises UserError when there is no record at all.
    """
    parsed = parse_spec(spec)
    problems, skipped, unread = _collect(_records(parsed, seed))
    if not problems and not skipped:
        reason = "no problem is left; check its options against the data" if parsed.options else "it holds no problem"
        raise UserError(f"{spec}: {reason}")
    judging = _judging(parsed)
    if judging:
        problems = [replace(problem, suite=replace(problem.suite, **judging)) for problem in problems]
    return ProblemSet(name=spec, problems=tuple(problems), skipped=tuple(skipped), unread=tuple(unread))


def _judging(spec: Spec) -> dict[str, Any]:
    """How the SPEC wants outputs compared. Raises UserError for a checker or tolerance that does not exist."""
    fields: dict[str, Any] = {}
    if "checker" in spec.options:
        fields["checker"] = spec.one_of("checker", get_args(CheckerName), "standard")
    if "tolerance" in spec.options:
        try:
            fields["tolerance"] = float(spec.options["tolerance"])
        except ValueError:
            fields["tolerance"] = -1.0
        if not 0 <= fields["tolerance"] < 1:
            raise UserError(f"{spec.text}: tolerance must be a number from 0 to below 1, for example 1e-4")
    return fields


def _records(spec: Spec, seed: int) -> Iterable[Problem | Skipped | Unread]:
    if spec.source == "starter":
        return starter_problems(spec.one_of("split", ("train", "heldout"), "train"), seed)
    if spec.source == "apps":
        return apps.load(spec)
    if spec.source == "mbpp":
        return mbpp.load(spec)
    return jsonl.load(spec)


def _collect(records: Iterable[Problem | Skipped | Unread]) -> tuple[list[Problem], list[Skipped], list[Unread]]:
    problems: dict[str, Problem] = {}
    skipped: list[Skipped] = []
    unread: list[Unread] = []
    for record in records:
        if isinstance(record, Unread):
            unread.append(record)
        elif isinstance(record, Skipped):
            skipped.append(record)
        elif record.id in problems:
            skipped.append(Skipped(record.id, "the id occurs twice, the first one is used"))
        else:
            problems[record.id] = record
    return list(problems.values()), skipped, unread
