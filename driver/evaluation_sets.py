"""The problem sets of an evaluation, as `--problems` names them."""

from __future__ import annotations

from rltf.config import Config, UserError
from rltf.executor.checkers import require_checkers
from rltf.problems import Problem, ProblemSet, load_problems
from rltf.problems.sources import specs_of


def load_sets(text: str, config: Config) -> list[ProblemSet]:
    """The problems of each SPEC, at most `problems.limit` of them, drawn at random but the same each time.

    Raises UserError as `load_problems` does, and when a problem's id is in two sets.
    """
    settings = config.problems
    sets = [
        load_problems(
            spec,
            seed=config.run.seed,
            checked=settings.checked,
            must_match=False,
            shown_tests=settings.shown_tests,
            prompt_style=settings.prompt_style,
        ).sample(settings.limit)
        for spec in specs_of(text)
    ]
    seen: dict[str, str] = {}
    for one in sets:
        require_checkers(one)
        for problem in one:
            if problem.id in seen:
                raise UserError(
                    f"--problems: {problem.id} is in {seen[problem.id]} and in {one.name}: evaluate them apart"
                )
            seen[problem.id] = one.name
    return sets


def by_id(sets: list[ProblemSet]) -> dict[str, Problem]:
    """Problems of all sets by id, and by the last part of it where only one problem has that."""
    short: dict[str, list[Problem]] = {}
    for one in sets:
        for name, problem in one.by_id.items():
            short.setdefault(name, []).append(problem)
    return {name: found[0] for name, found in short.items() if len(found) == 1}
