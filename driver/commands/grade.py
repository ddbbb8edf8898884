"""`grade`: programs of a file judged by the tests of a problem set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf import config as configuration
from rltf.driver.commands.command import JUDGE, Arguments, lanes, spec
from rltf.driver.stopping import stopping
from rltf.program import DONE, FAILED

SENTENCE = "Judge the programs of a file by a problem set's tests, on this machine."


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when a line, or with --strict a program, has no verdict."""
    parser = Arguments("grade", SENTENCE, (*JUDGE, "problems.checked", "run.code", "run.seed"))
    parser.add_argument("--problems", required=True, metavar="SPEC", help=spec())
    parser.add_argument(
        "--programs", required=True, type=Path, metavar="FILE", help='JSON lines {"problem_id": .., "code": ..}'
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="where to write a JSON line per verdict"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 also when programs of quarantined problems were left out"
    )
    known, overrides = parser.read(arguments)
    config = configuration.load(None, overrides)
    from rltf.executor.checkers import require_checkers
    from rltf.executor.grade import grade_file
    from rltf.executor.judge import Judge
    from rltf.problems import load_problems
    from rltf.problems.sources import files_of

    console.print(f"Reading {known.problems} ...", markup=False)
    configuration.UserCode.read(config.run.code).install()
    problems = load_problems(known.problems, seed=config.run.seed, checked=config.problems.checked)
    require_checkers(problems)
    read = (*files_of(known.problems), Path(config.problems.checked) if config.problems.checked else None)
    stopping.work()
    with Judge.from_config(config.executor, lanes(config, overrides)) as judge:
        graded = grade_file(problems, known.programs, known.out, judge, console, read)
    return FAILED if graded.unjudged or (known.strict and graded.left_out) else DONE
