"""The commands. Wires the parts together and holds no logic of theirs: `python launch.py [COMMAND] --help`.

Ray, torch and the rooms that need them are imported only once the command line is known to be right.
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from rich.console import Console

import config as configuration
from config import Config, UserError

DONE, FAILED, WRONG_INPUT = 0, 1, 2
_PRESET = Path(__file__).parent / "configs" / "starter.yaml"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, without the usage text of a hundred fields."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; launch.py --help lists all keys")


class CommandLine(NamedTuple):
    """What a command line asks for."""

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
    parser = _parser("", "Train a code model on unit-test feedback. Other commands: " + ", ".join(COMMANDS))
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file (default: configs/starter.yaml)")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, from its newest checkpoint")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and end")
    known, overrides = _read(parser, arguments)
    if known.resume is not None:
        from driver import resume

        if known.config is not None:
            raise UserError("--resume takes the run's own configuration: leave --config out")
        config, folder = resume.load(known.resume, overrides)
        return CommandLine(config, folder.name, known.dry_run, folder)
    file = known.config or _PRESET
    return CommandLine(configuration.load(file, overrides), file.stem, known.dry_run, None)


def _parser(command: str, description: str) -> _Parser:
    return _Parser(prog=f"launch.py {command}".strip(), description=description, allow_abbrev=False)


def _read(parser: _Parser, arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """The command's own options, and the fields of the configuration that are given beside them. Raises UserError."""
    keys = parser.add_argument_group("fields of the configuration, each --part.field VALUE")
    for key, sentence in configuration.fields().items():
        keys.add_argument(f"--{key}", metavar="VALUE", help=sentence.replace("%", "%%"))
    known, unknown = parser.parse_known_args(arguments)
    if unknown and not unknown[0].startswith("--"):
        command = difflib.get_close_matches(unknown[0], COMMANDS, n=1)
        hint = f"did you mean {command[0]}?" if command else "fields are given as --part.field VALUE; launch.py --help lists all keys"
        raise UserError(f"unexpected argument {unknown[0]!r}: {hint}")
    overrides = {key: value for key in configuration.fields() if (value := getattr(known, key)) is not None}
    # An unknown key goes through the same check as one in a file: it names the nearest right one.
    overrides |= {word.removeprefix("--").partition("=")[0]: "" for word in unknown if word.startswith("--")}
    return known, overrides


def _lanes(config: Config, overrides: Mapping[str, str]) -> int:
    """Lanes of a command that has this machine to itself: those asked for, else one per core."""
    return config.executor.lanes if "executor.lanes" in overrides else len(os.sched_getaffinity(0))


def grade(arguments: Sequence[str], console: Console) -> int:
    """`grade`: programs of a file judged by the tests of a problem set. FAILED when a line has no verdict."""
    parser = _parser("grade", "Judge the programs of a file by a problem set's tests, on this machine.")
    parser.add_argument("--problems", required=True, metavar="SPEC", help="the problem set: " + SPEC_HELP)
    parser.add_argument("--programs", required=True, type=Path, metavar="FILE", help='JSON lines {"problem_id": .., "code": ..}')
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to write a JSON line per verdict")
    known, overrides = _read(parser, arguments)
    config = configuration.load(None, overrides)
    from executor.grade import grade_file
    from executor.judge import Judge
    from problems import load_problems
    from problems.spec import parse_spec

    problems = load_problems(known.problems, seed=config.run.seed, checked=config.problems.checked)
    read = (parse_spec(known.problems).path, Path(config.problems.checked) if config.problems.checked else None)
    with Judge.of(config.executor, _lanes(config, overrides)) as judge:
        graded = grade_file(problems, known.programs, known.out, judge, console, read)
    return FAILED if graded.unjudged else DONE


def check_data(arguments: Sequence[str], console: Console) -> int:
    """`check-data`: what is wrong with a problem set, and how much time its tests need."""
    parser = _parser("check-data", "Run a problem set's references, find problems that are not fit for training, calibrate time limits.")
    parser.add_argument("spec", metavar="SPEC", help="the problem set: " + SPEC_HELP)
    default = Path("check-data.jsonl")
    parser.add_argument("--out", type=Path, default=default, metavar="FILE", help=f"where to write a line per problem (default: {default})")
    known, overrides = _read(parser, arguments)
    config = configuration.load(None, overrides)
    from executor import check_data as checking
    from problems import load_problems
    from problems.files import replacing
    from problems.spec import parse_spec

    problems = load_problems(known.spec, seed=config.run.seed)
    with replacing(known.out, parse_spec(known.spec).path) as file:  # a file that cannot be written is told before the work
        checked = checking.check_data(problems, config.executor, _lanes(config, overrides), lambda text: console.print(text, markup=False))
        checking.write(checked, file)
    checking.show(problems, checked, known.out, console)
    return DONE


def train_critic(arguments: Sequence[str], console: Console) -> int:
    """`train-critic`: a classifier of outcomes from the samples of a run, for rltf.critic_weighting."""
    parser = _parser("train-critic", "Train a critic on the samples of a run; rltf.critic names its folder.")
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name below runs/")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write the critic")
    parser.add_argument("--steps", type=int, default=1000, help="optimizer steps (default: 1000)")
    parser.add_argument("--batch-size", type=int, default=32, help="programs per step (default: 32)")
    parser.add_argument("--learning-rate", type=float, default=2e-5, help="learning rate (default: 2e-5)")
    known = parser.parse_args(arguments)
    if known.steps < 1 or known.batch_size < 1 or not known.learning_rate > 0:
        raise UserError("--steps, --batch-size and --learning-rate must be above zero")
    from driver.critic import train_critic_of
    from driver.resume import find

    train_critic_of(find(known.run), known.out, known.steps, known.batch_size, known.learning_rate, console)
    return DONE


def replay(arguments: Sequence[str], console: Console) -> int:
    """`replay`: a run's record held against what its programs and steps come to now. FAILED when something differs."""
    parser = _parser("replay", "Judge every recorded program of a run again, or take one of its learner steps again, and compare.")
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name below runs/")
    parser.add_argument("--step", type=int, metavar="N", help="take learner step N again: batch, rewards, token weights and loss")
    known, overrides = _read(parser, arguments)
    from driver.resume import find
    from monitor.run_folder import RunFolder

    folder = RunFolder.open(find(known.run))
    if known.step is not None:
        from driver.replay_step import replay_step

        if overrides:
            raise UserError(f"--{next(iter(overrides))} cannot be given with --step: a step is taken with the configuration of its run")
        with folder.locked():  # a run that goes on removes checkpoints
            return DONE if replay_step(folder, known.step, console) else FAILED
    from driver import regrade

    config = configuration.load(folder.path / "config.yaml", overrides)
    found = regrade.regrade(folder, config, _lanes(config, overrides), console)
    regrade.show(found, folder, console)
    return DONE if found.agrees else FAILED


def doctor(arguments: Sequence[str], console: Console) -> int:
    """`doctor`: what of this machine a run can use. FAILED when one cannot start here."""
    parser = _parser("doctor", "Try every part that a run needs on this machine, and say what to change.")
    parser.add_argument("--config", type=Path, default=None, metavar="FILE", help="YAML file of the run that is planned")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the findings as JSON as well")
    known, overrides = _read(parser, arguments)
    config = configuration.load(known.config, overrides)
    from driver import doctor as examining

    return DONE if examining.doctor(config, known.out, console) else FAILED


def status(arguments: Sequence[str], console: Console) -> int:
    """`status`: where a run stands and where its programs are. FAILED when its ledger does not balance."""
    parser = _parser("status", "Show where a run stands: its step, who waits for whom, where every program is.")
    parser.add_argument("run", metavar="RUN", help="folder of the run, or its name below runs/")
    parser.add_argument("--redis.url", dest="url", default="", metavar="URL", help="the run's Redis, where its password is not kept")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the same as JSON")
    known = parser.parse_args(arguments)
    from driver import status as standing

    return DONE if standing.status(known.run, known.url, known.out, console) else FAILED


SPEC_HELP = "starter | apps:FOLDER | mbpp:FILE | jsonl:FILE, options after commas"
COMMANDS: dict[str, Callable[[Sequence[str], Console], int]] = {
    "grade": grade,
    "check-data": check_data,
    "train-critic": train_critic,
    "replay": replay,
    "doctor": doctor,
    "status": status,
}
"""Every command but training, which needs no name."""


def _command(name: str, arguments: Sequence[str], console: Console) -> int:
    from executor.protocol import LaneFailure

    try:
        return COMMANDS[name](arguments, console)
    except (LaneFailure, FloatingPointError) as failure:
        console.print(f"{name} failed: {failure}", style="bold red", markup=False)
        return FAILED


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code: 0 done, 1 the run failed (reason in the last line), 2 wrong input."""
    console = Console(soft_wrap=True, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill stops everything as Ctrl-C does
    try:
        if arguments and arguments[0] in COMMANDS:
            return _command(arguments[0], arguments[1:], console)
        wanted = parse(arguments)
        from driver import RunFailed
        from driver.train import train

        try:
            train(wanted.config, wanted.preset, wanted.dry_run, console, wanted.resume)
        except RunFailed as failure:
            console.print(f"run failed: {failure}", style="bold red", markup=False)
            return FAILED
    except UserError as error:
        console.print(f"error: {error}", style="bold red", markup=False)
        return WRONG_INPUT
    except KeyboardInterrupt:
        console.print("stopped by the user")
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
