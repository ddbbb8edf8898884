"""`data`: what is in a problem set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from rltf import config as configuration
from rltf.config import Config
from rltf.driver.commands.command import Arguments, spec
from rltf.program import DONE

if TYPE_CHECKING:
    from rltf.problems import ProblemSet

SENTENCE = "Print what is in a problem set: problems, tests, difficulties, duplicates, lengths under a tokenizer."
_READS = (
    "prompt",
    "policy.model",
    "policy.max_prompt_tokens",
    "policy.max_program_tokens",
    "problems.prompt_style",
    "problems.shown_tests",
    "problems.checked",
    "run.code",
    "run.seed",
)
_MAX_NAMED = 10


def run(arguments: Sequence[str], console: Console) -> int:
    """DONE when at least one problem can be used."""
    parser = Arguments("data", SENTENCE, _READS)
    parser.add_argument("spec", metavar="SPEC", help=spec())
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the figures as JSON")
    known, overrides = parser.read(arguments)
    config = configuration.load(None, overrides)
    from rltf.config import UserCode
    from rltf.problems import load_problems
    from rltf.problems.fields import foreign, mistakes
    from rltf.problems.files import atomic_output
    from rltf.problems.sources import files_of
    from rltf.problems.summary import summary
    from rltf.telemetry.console import warn

    UserCode.read(config.run.code).install()
    settings = config.problems
    problems = load_problems(
        known.spec,
        seed=config.run.seed,
        checked=settings.checked,
        shown_tests=settings.shown_tests,
        prompt_style=settings.prompt_style,
    )
    figures = summary(problems)
    if config.policy.model:
        figures |= _token_lengths(problems, config)
    if known.out is not None:
        with atomic_output(known.out, *files_of(known.spec)) as file:
            file.write(json.dumps({"spec": known.spec} | figures, indent=2) + "\n")
    console.print(_table(known.spec, figures))
    for skipped in problems.skipped[:_MAX_NAMED]:
        console.print(f"left out: {skipped}", markup=False)
    if len(problems.skipped) > _MAX_NAMED:
        console.print(f"and {len(problems.skipped) - _MAX_NAMED:,} more left out", markup=False)
    for sentence in mistakes(problems.unread):
        warn(sentence)
    if others := foreign(problems.unread):
        console.print(f"fields that are not read: {others}", markup=False)
    return DONE


def _token_lengths(problems: ProblemSet, config: Config) -> dict[str, Any]:
    """Of prompts, and of references as responses to them, as the policy's tokenizer encodes them, uncut."""
    from rltf.policy.encoding import encode_program, encode_prompt, response_with
    from rltf.policy.policy import build_shape, make_spec
    from rltf.problems import prompt_of
    from rltf.problems.summary import spread

    spec = make_spec(config.policy, [], config.prompt)
    uncut = build_shape(replace(spec, max_prompt_tokens=1 << 40, max_program_tokens=1 << 40))
    prompts = {problem.id: prompt_of(problem) for problem in problems}
    responses = [
        response_with(uncut, prompts[problem.id], program) for problem in problems for program in problem.solutions
    ]
    return {
        "prompt_tokens": spread(
            [len(encode_prompt(uncut, prompt)) for prompt in prompts.values()], spec.max_prompt_tokens
        ),
        "solution_tokens": spread([len(encode_program(uncut, text)) for text in responses], spec.max_program_tokens),
    }


def _table(title: str, figures: dict[str, Any]) -> Table:
    table = Table("", "", title=title, show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), _shown(value))
    return table


def _shown(value: Any) -> str:
    if not isinstance(value, dict):
        return f"{value:,}"
    if "median" not in value:
        return ", ".join(f"{number:,} {name}" for name, number in value.items()) or "none"
    words = f"{value['min']:,} to {value['max']:,}, median {value['median']:,g}, 90% at most {value['p90']:,}"
    if "limit" in value:
        return f"{words}; {value['above']:,} above {value['limit']:,}"
    return f"{words}; {value['sum']:,} in all"
