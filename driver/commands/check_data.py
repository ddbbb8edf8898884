"""`check-data`: what is wrong with a problem set, and how much time its tests need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf import config as configuration
from rltf.driver.commands.command import JUDGE, Arguments, lanes, spec
from rltf.driver.stopping import stopping
from rltf.program import DONE, FAILED

SENTENCE = "Run a problem set's references, find problems that are not fit for training, calibrate time limits."
_OUT = Path("check-data.jsonl")


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when the problem set is not fit for training."""
    parser = Arguments("check-data", SENTENCE, (*JUDGE, "run.code", "run.seed"))
    parser.add_argument("spec", metavar="SPEC", help=spec())
    parser.add_argument(
        "--out", type=Path, default=_OUT, metavar="FILE", help=f"where to write a line per problem (default: {_OUT})"
    )
    strict = (
        "exit with 1 also when a problem is quarantined or a field likely to be misnamed; without it only when a "
        "record cannot be loaded or judged, or every problem is quarantined"
    )
    parser.add_argument("--strict", action="store_true", help=strict)
    known, overrides = parser.read(arguments)
    config = configuration.load(None, overrides)
    from rltf.executor import check_report
    from rltf.executor.check_data import check_data
    from rltf.executor.checkers import require_checkers
    from rltf.problems import read_problems
    from rltf.problems.files import atomic_output
    from rltf.problems.sources import files_of

    console.print(f"Reading {known.spec} ...", markup=False)
    configuration.UserCode.read(config.run.code).install()
    problems = read_problems(known.spec, config.run.seed)
    require_checkers(problems)
    before = check_report.broken_off(known.out)
    stopping.work()
    # A file that cannot be written is told before the work.
    with atomic_output(known.out, *files_of(known.spec)) as file:
        checked = []
        for part in check_data(problems, config.executor, lanes(config, overrides), console, before):
            checked += part
            file.write("".join(one.to_json() + "\n" for one in part))
            file.flush()
    check_report.show(problems, checked, known.out, console)
    return DONE if check_report.is_fit_for_training(problems, checked, known.strict) else FAILED
