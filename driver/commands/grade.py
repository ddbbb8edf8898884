"""`grade`: programs of a file judged by the tests of a problem set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from rltf import config as configuration
from rltf.driver.commands.command import JUDGE, Arguments, lanes, spec
from rltf.driver.stopping import stopping
from rltf.program import DONE, FAILED

SENTENCE = "Judge the programs of a file by a problem set's tests, on this machine."
_PROGRAMS = (
    'JSON lines {"problem_id": .., "code": ..}, or samples with "task_id" and "completion", which follows the prompt, '
    'or "solution"; other fields are kept'
)


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when a line, or with --strict a program, has no verdict."""
    parser = Arguments("grade", SENTENCE, (*JUDGE, "problems.checked", "run.code", "run.seed"))
    parser.add_argument("--problems", required=True, metavar="SPEC", help=spec())
    parser.add_argument("--programs", required=True, type=Path, metavar="FILE", help=_PROGRAMS)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="where to write a JSON line per line of --programs"
    )
    parser.add_argument(
        "--summary", type=Path, metavar="FILE", help="where to write outcomes and pass@k, one JSON object"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 also when programs of quarantined problems were left out"
    )
    known, overrides = parser.read(arguments)
    config = configuration.load(None, overrides)
    from rltf.evaluation.sample_figures import pass_at_ks, sentence
    from rltf.executor import grade
    from rltf.executor.checkers import require_checkers
    from rltf.executor.judge import Judge
    from rltf.problems import load_problems
    from rltf.problems.files import atomic_output
    from rltf.problems.sources import files_of

    console.print(f"Reading {known.problems} ...", markup=False)
    configuration.UserCode.read(config.run.code).install()
    problems = load_problems(known.problems, seed=config.run.seed, checked=config.problems.checked, judging=True)
    require_checkers(problems)
    read = (*files_of(known.problems), Path(config.problems.checked) if config.problems.checked else None)
    stopping.work()
    summary = atomic_output(known.summary, known.programs, *read) if known.summary else nullcontext()
    with summary as file, Judge.from_config(config.executor, lanes(config, overrides)) as judge:
        graded = grade.grade_file(problems, known.programs, known.out, judge, console, read)
        figures = pass_at_ks(list(graded.counts.values()))
        if file is not None:
            whole = {
                "problems": known.problems,
                "programs": str(known.programs),
                "outcomes": dict(graded.outcomes),
                "without_verdict": len(graded.unjudged),
                "left_out": graded.left_out.total(),
                "pass_at_k": [asdict(one) for one in figures],
                "seconds": round(graded.seconds, 3),
            }
            file.write(json.dumps(whole, indent=1) + "\n")
    grade.show(graded, problems, judge, known.out, console)
    if any(samples > 1 for samples, _ in graded.counts.values()):
        for one in figures:
            console.print(sentence(one), markup=False)
    grade.show_left_out(graded)
    return FAILED if graded.unjudged or (known.strict and graded.left_out) else DONE
