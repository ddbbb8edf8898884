"""The commands. Wires the parts together and holds no logic of theirs: `python launch.py [COMMAND] --help`.

Ray, torch and the rooms that need them are imported only once the command line is known to be right. Up to the imports
of packages this file is understood by older Pythons too, which are told what to do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from rltf.driver import guard
from rltf.driver.stopping import SENTENCE, leave, stopping

DONE, FAILED, WRONG_INPUT = 0, 1, 2


def _not_here(reason: str) -> NoReturn:
    sys.stderr.write(f"error: {reason}: run `make setup`, then `.venv/bin/python launch.py`\n")
    sys.exit(WRONG_INPUT)


if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    _not_here(f"launch.py needs Python 3.11, 3.12 or 3.13, and this is {sys.version_info[0]}.{sys.version_info[1]}")
if __name__ == "__main__":
    # before whatever takes time: a stop is heard from here on, and all that follows runs in the guard's child
    guard.stand()
try:
    from rich.console import Console

    from rltf import config as configuration
    from rltf.config import Config, UserError
    from rltf.config.command_line import Arguments, choose
    from rltf.telemetry.console import complain, outlast, output, warn
except ModuleNotFoundError as error:
    _not_here(f"the package {error.name} is not installed for {sys.executable}")

_SPEC = "the problem set: starter | apps:FOLDER | mbpp:FILE | jsonl:FILE, options after commas"
_JUDGE = (
    "executor.lanes one per core",
    "executor.judge",
    "executor.time_limit_s",
    "executor.memory_limit_mb",
    "executor.python",
    "executor.unsafe",
)
"""What judging on this machine reads of the configuration."""


class CommandLine(NamedTuple):
    """What a command line of training asks for."""

    config: Config
    preset: str
    """Name of the configuration file without its ending."""
    dry_run: bool
    resume: Path | None
    """Folder of the run that is to go on."""


def parse(arguments: Sequence[str]) -> CommandLine:
    """Reads the command line of training.

    Raises:
        UserError: an unknown key, a value that does not fit, a missing file.
    """
    parser = Arguments("", COMMANDS["train"].sentence, Config.model_fields, _sentences())
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file, or the name of a preset in configs/ (default: starter)"
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with this run (its folder, or its name), from its newest checkpoint"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and end")
    known, overrides = parser.read(arguments)
    if known.resume is not None:
        from rltf.driver import resume

        if known.config is not None:
            raise UserError("--resume takes the run's own configuration: leave --config out")
        config, folder = resume.load(known.resume, overrides)
        return CommandLine(config, folder.name, known.dry_run, folder)
    file = configuration.preset("starter" if known.config is None else known.config)
    return CommandLine(configuration.load(file, overrides), file.stem, known.dry_run, None)


def _lanes(config: Config, overrides: Mapping[str, str]) -> int:
    """Lanes of a command that has this machine to itself: those asked for, else one per core."""
    return config.executor.lanes if "executor.lanes" in overrides else len(os.sched_getaffinity(0))


def _train(arguments: Sequence[str], console: Console) -> int:
    """`train`, which needs no name. FAILED, with the reason, when the run did not come to its end."""
    wanted = parse(arguments)
    from rltf.driver import RunFailed
    from rltf.driver.installed import require
    from rltf.driver.machine import refuse_narrow_addresses

    refuse_narrow_addresses()
    require("train", "training")
    console.print("Loading torch and Ray ...")
    from rltf.driver.train import train

    try:
        train(wanted.config, wanted.preset, wanted.dry_run, console, wanted.resume)
    except RunFailed as failure:
        complain(f"run failed: {failure}")
        return FAILED
    return DONE


def _grade(arguments: Sequence[str], console: Console) -> int:
    """`grade`: programs of a file judged by the tests of a problem set.

    FAILED when a line, or with --strict a program, has no verdict.
    """
    parser = Arguments("grade", COMMANDS["grade"].sentence, (*_JUDGE, "problems.checked", "run.code", "run.seed"))
    parser.add_argument("--problems", required=True, metavar="SPEC", help=_SPEC)
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
    from rltf.config.user_code import UserCode
    from rltf.executor.checkers import require_checkers
    from rltf.executor.grade import grade_file
    from rltf.executor.judge import Judge
    from rltf.problems import load_problems
    from rltf.problems.sources import parse_spec

    console.print(f"Reading {known.problems} ...", markup=False)
    UserCode.read(config.run.code).install()
    problems = load_problems(known.problems, seed=config.run.seed, checked=config.problems.checked)
    require_checkers(problems)
    read = (parse_spec(known.problems).path, Path(config.problems.checked) if config.problems.checked else None)
    stopping.work()
    with Judge.from_config(config.executor, _lanes(config, overrides)) as judge:
        graded = grade_file(problems, known.programs, known.out, judge, console, read)
    return FAILED if graded.unjudged or (known.strict and graded.left_out) else DONE


def _check_data(arguments: Sequence[str], console: Console) -> int:
    """`check-data`: what is wrong with a problem set, and how much time its tests need.

    FAILED when it is not fit for training.
    """
    parser = Arguments("check-data", COMMANDS["check-data"].sentence, (*_JUDGE, "run.code", "run.seed"))
    parser.add_argument("spec", metavar="SPEC", help=_SPEC)
    default = Path("check-data.jsonl")
    parser.add_argument(
        "--out",
        type=Path,
        default=default,
        metavar="FILE",
        help=f"where to write a line per problem (default: {default})",
    )
    strict = (
        "exit with 1 also when a problem is quarantined or a field likely to be misnamed; without it only when a "
        "record cannot be "
    )
    parser.add_argument("--strict", action="store_true", help=strict + "loaded, or every problem is quarantined")
    known, overrides = parser.read(arguments)
    config = configuration.load(None, overrides)
    from rltf.config.user_code import UserCode
    from rltf.executor import check_data as checking
    from rltf.executor.checkers import require_checkers
    from rltf.problems import read_problems
    from rltf.problems.files import replacing
    from rltf.problems.sources import parse_spec

    console.print(f"Reading {known.spec} ...", markup=False)
    UserCode.read(config.run.code).install()
    problems = read_problems(known.spec, config.run.seed)
    require_checkers(problems)
    stopping.work()
    with replacing(
        known.out, parse_spec(known.spec).path
    ) as file:  # a file that cannot be written is told before the work
        checked = checking.check_data(problems, config.executor, _lanes(config, overrides), console)
        checking.write(checked, file)
    checking.show(problems, checked, known.out, console)
    return DONE if checking.fit(problems, checked, known.strict) else FAILED


def _train_critic(arguments: Sequence[str], console: Console) -> int:
    """`train-critic`: a classifier of outcomes from the samples of a run, for rltf.critic_weighting."""
    parser = Arguments("train-critic", COMMANDS["train-critic"].sentence)
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name below runs/")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write the critic")
    parser.add_argument("--steps", type=int, default=1000, help="optimizer steps (default: 1000)")
    parser.add_argument("--batch-size", type=int, default=32, help="programs per step (default: 32)")
    parser.add_argument("--learning-rate", type=float, default=2e-5, help="learning rate (default: 2e-5)")
    known, _ = parser.read(arguments)
    if known.steps < 1 or known.batch_size < 1 or not known.learning_rate > 0:
        raise UserError("--steps, --batch-size and --learning-rate must be above zero")
    from rltf.driver.installed import require
    from rltf.driver.resume import find

    run = find(known.run)
    require("train", "train-critic")
    console.print("Loading torch ...")
    from rltf.driver.critic import train_critic_of

    stopping.work()
    train_critic_of(run, known.out, known.steps, known.batch_size, known.learning_rate, console)
    return DONE


def _replay(arguments: Sequence[str], console: Console) -> int:
    """`replay`: a run's record held against what its programs and steps come to now. FAILED when something differs."""
    reads = (*_JUDGE, "problems.train", "problems.held_out", "problems.checked", "run.seed")
    parser = Arguments("replay", COMMANDS["replay"].sentence, reads)
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name below runs/")
    parser.add_argument(
        "--step", type=int, metavar="N", help="take learner step N again: batch, rewards, token weights and loss"
    )
    known, overrides = parser.read(arguments)
    from rltf.driver.installed import require
    from rltf.driver.resume import find
    from rltf.monitor.run_folder import RunFolder

    folder = RunFolder.open(find(known.run))
    if known.step is not None:
        if overrides:
            raise UserError(
                f"--{next(iter(overrides))} cannot be given with --step: a step is taken with the configuration of "
                "its run"
            )
        require("train", "replay --step")
        console.print("Loading torch ...")
        from rltf.driver.replay_step import replay_step

        stopping.work()
        with folder.locked():  # a run that goes on removes checkpoints
            return DONE if replay_step(folder, known.step, console) else FAILED
    from rltf.driver import regrade

    folder.settings()  # a file that is cut off would read as another configuration
    config = configuration.load(folder.path / "config.yaml", overrides)
    stopping.work()
    found = regrade.regrade(folder, config, _lanes(config, overrides), console)
    regrade.show(found, folder, console)
    return DONE if found.agrees else FAILED


def _doctor(arguments: Sequence[str], console: Console) -> int:
    """`doctor`: what of this machine a run can use. FAILED when one cannot start here."""
    reads = (
        *_JUDGE[2:], "actors.gpus_per_actor", "learner.gpus_per_worker", "ray.address", "redis.timeout_s", "redis.url",
        "run.folder",
    )  # fmt: skip
    parser = Arguments("doctor", COMMANDS["doctor"].sentence, reads)
    parser.add_argument(
        "--config", default=None, metavar="FILE", help="YAML file, or the name of a preset, of the run that is planned"
    )
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the findings as JSON as well")
    known, overrides = parser.read(arguments)
    file = None if known.config is None else configuration.preset(known.config)
    config = configuration.load(file, overrides)
    from rltf.driver import doctor as examining

    stopping.work()
    return DONE if examining.doctor(config, known.out, console, file) else FAILED


def _status(arguments: Sequence[str], console: Console) -> int:
    """`status`: where a run stands and where its programs are. FAILED when its ledger does not balance."""
    parser = Arguments("status", COMMANDS["status"].sentence, ("redis.url",))
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name below runs/")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the same as JSON")
    known, overrides = parser.read(arguments)
    from rltf.driver import status as standing

    return DONE if standing.status(known.run, overrides.get("redis.url", ""), known.out, console) else FAILED


def _help(arguments: Sequence[str], console: Console) -> int:
    """`help`, of a command or of a part of the configuration too."""
    if arguments and arguments[0] in COMMANDS and arguments[0] != "help":
        return COMMANDS[arguments[0]].run(["--help"], console)
    return _train(["--help", *arguments[:1]], console)


class Command(NamedTuple):
    """One command."""

    sentence: str
    """What it does."""
    run: Callable[[Sequence[str], Console], int]
    """From its arguments to the exit code."""


COMMANDS: dict[str, Command] = {
    "train": Command("Train a code model on unit-test feedback; the word itself may be left out.", _train),
    "grade": Command("Judge the programs of a file by a problem set's tests, on this machine.", _grade),
    "check-data": Command(
        "Run a problem set's references, find problems that are not fit for training, calibrate time limits.",
        _check_data,
    ),
    "status": Command("Show where a run stands: its step, who waits for whom, where every program is.", _status),
    "replay": Command(
        "Judge every recorded program of a run again, or take one of its learner steps again, and compare.", _replay
    ),
    "train-critic": Command("Train a critic on the samples of a run; rltf.critic names its folder.", _train_critic),
    "doctor": Command("Try every part that a run needs on this machine, and say what to change.", _doctor),
    "help": Command("Show this text, the help of a command, or the fields of a part of the configuration.", _help),
}


def _sentences() -> dict[str, str]:
    return {name: command.sentence for name, command in COMMANDS.items()}


def _run(name: str, arguments: Sequence[str], console: Console) -> int:
    """One command, whose judge or model may fail. Raises UserError for a package that is not installed."""
    from rltf.executor.protocol import LaneFailure

    try:
        return COMMANDS[name].run(arguments, console)
    except (LaneFailure, FloatingPointError) as failure:
        complain(f"{name} failed: {failure}")
        return FAILED
    except ModuleNotFoundError as error:
        from rltf.driver.installed import lacks

        raise lacks(error, name) from None


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code: 0 done, 1 the run failed (reason in the last line), 2 wrong input."""
    try:
        return _run(*choose(arguments, _sentences(), "train"), output())
    except UserError as error:
        complain(f"error: {error}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        complain(SENTENCE)
        return FAILED


def _unless_lost(code: int, arguments: Sequence[str], lost: str) -> int:
    """The exit code where standard output could not be written, for the reason `lost`: a command has failed then; a run
    has its folder.
    """
    if not lost:
        return code
    if code == DONE and choose(arguments, _sentences(), "train")[0] != "train":
        complain(f"error: standard output could not be written ({lost}), and what was printed is lost")
        return FAILED
    warn(f"standard output could not be written ({lost}), and some of what was printed is lost")
    return code


if __name__ == "__main__":
    streams = outlast()
    try:
        code = main(sys.argv[1:])
    except SystemExit as ended:  # after its help
        code = int(ended.code or DONE)
    leave(_unless_lost(code, sys.argv[1:], streams.lost))
