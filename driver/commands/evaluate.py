"""`evaluate`: a model's pass@k on problem sets, by programs that it samples here or that were made elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from rltf import config as configuration
from rltf.config import Config, UserError
from rltf.driver.commands.command import JUDGE, Arguments, lanes, spec
from rltf.driver.stopping import stopping
from rltf.program import DONE, FAILED

SENTENCE = "Score a model on problem sets: pass@k, n@k, max@k with intervals, tables, plots, every program."
_SCORING = (
    "executor.lanes 1, with --from-samples one per core",
    *(key for key in JUDGE if not key.startswith("executor.lanes")),
    "problems.checked",
    "problems.limit",
    "problems.shown_tests",
    "problems.prompt_style",
    "run.code",
    "run.seed",
)
_SAMPLING = (
    "prompt",
    "policy.max_prompt_tokens 800, of a RUN its own",
    "policy.max_program_tokens 512, of a RUN its own",
    "policy.tokenizer the model's own",
    "evaluation.top_k",
    "evaluation.min_p",
    "evaluation.repetition_penalty",
    "actors",
    "executor.count",
    "executor.cpus_per_executor",
    "buffer.work_capacity",
    "redis",
    "restart",
    "ray",
    "run.stall_timeout_s",
)

_BRIEF = (
    "policy.max_prompt_tokens",
    "policy.max_program_tokens",
    "prompt.format",
    "prompt.program",
    "problems.prompt_style",
    "problems.limit",
    "evaluation.top_k",
    "evaluation.min_p",
    "evaluation.repetition_penalty",
    "actors.count",
    "actors.gpus_per_actor",
    "actors.dtype",
    "actors.problems_per_batch",
    "executor.count",
    "executor.lanes",
    "executor.time_limit_s",
    "ray.address",
    "run.seed",
)
"""What its help lists."""


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when a program has no verdict, or a line of the file is no program."""
    parser = Arguments("evaluate", SENTENCE, (*_SCORING, *_SAMPLING), brief=_BRIEF)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--model",
        metavar="DIR|HUB|RUN",
        help="a model's folder or hub name, or a run that has ended, whose lengths, prompts and limits then hold",
    )
    given.add_argument(
        "--from-samples",
        type=Path,
        metavar="FILE",
        help='programs made elsewhere, {"problem_id": .., "code": ..} a line',
    )
    parser.add_argument("--problems", required=True, metavar="SPEC[,SPEC..]", help=spec())
    parser.add_argument("--samples", type=int, default=None, metavar="N", help="programs per problem (default: 1)")
    parser.add_argument("--k", default="1", metavar="K[,K..]", help="the k of pass@k beside 1")
    parser.add_argument("--temperature", default=None, metavar="T", help="sampling temperature; 0: greedy (default: 1)")
    parser.add_argument("--top-p", default=None, metavar="P", help="nucleus (default: 1)")
    parser.add_argument("--name", metavar="NAME", help="what the tables call the model")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder, or one to go on in")
    known, overrides = parser.read(arguments)
    if known.from_samples is None:
        return _sample(known, overrides, console)
    for option in ("samples", "temperature", "top_p"):
        if getattr(known, option) is not None:
            raise UserError(f"--{option.replace('_', '-')} goes with --model: the programs of --from-samples are there")
    return _score(known, overrides, _ks(known.k), console)


def _ks(text: str) -> tuple[int, ...]:
    """The k, ascending. Raises UserError for what is no list of numbers above zero."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise UserError(f"--k {text}: give numbers above zero with commas between them, say 1,5,10")
    return tuple(sorted({int(word) for word in words}))


def _sample(known: argparse.Namespace, overrides: Mapping[str, str], console: Console) -> int:
    """Programs sampled by a model, on the actors and executors of a run."""
    from rltf.driver import RunFailed
    from rltf.driver.evaluation_folder import placed
    from rltf.driver.evaluation_model import settings_of
    from rltf.driver.extras import require
    from rltf.driver.host_limits import refuse_narrow_addresses
    from rltf.telemetry.console import print_error

    samples, ks = 1 if known.samples is None else known.samples, _ks(known.k)
    if samples < 1 or max(ks) > samples:
        raise UserError(f"--samples {samples}: pass@{max(ks)} needs at least {max(ks)} programs of a problem")
    model, config = settings_of(known, overrides, samples, ks)
    refuse_narrow_addresses()
    require("train", "evaluate --model")
    console.print("Loading torch and Ray ...")
    from rltf.driver.evaluate import evaluate

    try:
        whole = evaluate(placed(known.out, config), known.problems, samples, known.name or model, known.out, console)
    except RunFailed as failure:
        print_error(f"evaluate failed: {failure}")
        return FAILED
    return DONE if whole else FAILED


def _score(known: argparse.Namespace, overrides: Mapping[str, str], ks: tuple[int, ...], console: Console) -> int:
    """Programs made elsewhere: no GPU, no torch, no Ray."""
    from contextlib import closing

    from rltf.config.user_code import UserCode
    from rltf.driver.evaluation_folder import open_folder, placed
    from rltf.driver.evaluation_output import show, write_results
    from rltf.driver.evaluation_sets import by_id, load_sets
    from rltf.driver.judge_samples import judge_samples
    from rltf.evaluation.scores import SetScores
    from rltf.executor.judge import Judge
    from rltf.monitor.run_lock import locked
    from rltf.telemetry.console import counted, print_error, warn

    wanted = dict(overrides) | {"problems.train": known.problems, "problems.held_out": "none"}
    config: Config = placed(known.out, configuration.load(None, wanted))
    console.print(f"Reading {known.problems} ...", markup=False)
    UserCode.read(config.run.code).install()
    sets = load_sets(known.problems, config)
    asked = {"from_samples": str(known.from_samples.expanduser().absolute())}
    if not known.from_samples.expanduser().is_file():
        raise UserError(f"--from-samples {known.from_samples}: there is no such file")
    with closing(open_folder(known.out, config, asked)) as folder, locked(folder.path):
        stopping.work()
        with Judge.from_config(config.executor, lanes(config, overrides)) as judge:
            judged = judge_samples(known.from_samples.expanduser(), by_id(sets), folder, judge, console)
        if not judged.asked:
            first = f": {judged.refused[0]}" if judged.refused else ""
            raise UserError(f"--from-samples {known.from_samples} holds no program of these problems{first}")
        scores = [SetScores.of(one.name, one.problems, judged.asked, left_out=one.skipped) for one in sets]
        facts = {"model": known.name or known.from_samples.name} | asked
        results = write_results(folder, scores, ks, config.run.seed, facts)
        whole = show(folder, results, console)
    if fenced := judged.fenced:
        warn(
            f"{counted(len(fenced), 'program')} with a fenced block of code, as replies have it, did not compile, the "
            f"first {fenced[0]}: give what stands in the block alone"
        )
    for sentence in (told := [*judged.refused, *judged.failures])[:10]:
        print_error(sentence)
    if told[10:]:
        print_error(f"and {len(told) - 10:,} more")
    return DONE if whole and not told else FAILED
