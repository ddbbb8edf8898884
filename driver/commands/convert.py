"""`convert`: a problem set as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf import config as configuration
from rltf.driver.commands.command import Arguments, spec
from rltf.driver.stopping import stopping
from rltf.program import DONE

SENTENCE = "Write a problem set as JSON lines, which jsonl:FILE loads as the same problems."


def run(arguments: Sequence[str], console: Console) -> int:
    """DONE when at least one problem was written."""
    parser = Arguments("convert", SENTENCE, ("run.code", "run.seed"))
    parser.add_argument("spec", metavar="SPEC", help=spec())
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to write a line per problem")
    known, overrides = parser.read(arguments)
    config = configuration.load(None, overrides)
    from rltf.config import UserCode
    from rltf.problems import load_problems
    from rltf.problems.fields import mistakes
    from rltf.problems.files import atomic_output
    from rltf.problems.jsonl import to_record
    from rltf.problems.long_integers import with_long_integers
    from rltf.problems.sources import files_of
    from rltf.telemetry.console import counted, warn

    UserCode.read(config.run.code).install()
    problems = load_problems(known.spec, seed=config.run.seed)
    stopping.work()
    with atomic_output(known.out, *files_of(known.spec)) as file:
        for problem in problems:
            file.write(with_long_integers(json.dumps, to_record(problem)) + "\n")
    for sentence in (*map(str, problems.skipped), *mistakes(problems.unread)):
        warn(sentence)
    left_out = f"; {len(problems.skipped):,} could not be used" if problems.skipped else ""
    console.print(f"{counted(len(problems), 'problem')} written to {known.out}{left_out}", markup=False)
    return DONE
