"""The whole loop on real problems: what three runs of `launch.py` on public data sets did.

    python -m benchmarks.real_problems [--quick] [--json FILE] [--folder FOLDER]

The data lie in `../shared/data` beside the project (CONTRIBUTING.md says what it holds). For each case all problems of
the set are loaded and counted; the run then trains on at most eight of them, those with the shortest solutions, each
with its shortest one. A fresh small model learns these by heart until one sample at temperature 1 passes
(`warm_start.until_pass`); then come 50 learner steps on what the tests say of the programs it writes, half of them
supervised.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from rltf.buffer.records import OUTCOMES
from rltf.config import UserError
from rltf.monitor.run_folder import RunFolder
from rltf.problems import Problem, ProblemSet, load_problems
from rltf.telemetry.console import print_error

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
FULL_STEPS, QUICK_STEPS = 50, 6
"""Learner steps, the supervised ones among them: the quick ones hold three reinforcement steps, so the last needs new
weights."""
RUN_TIMEOUT_S = 900.0
"""Longest wait for one run."""

_SETTINGS: dict[str, object] = {
    "problems.held_out": "",
    "policy.d_model": 128,
    "policy.layers": 2,
    "policy.heads": 4,
    "policy.d_ff": 256,
    "policy.max_prompt_tokens": 128,
    "warm_start.steps": 40,
    "warm_start.batch_size": 8,
    "warm_start.learning_rate": 4e-3,
    "warm_start.until_pass": True,
    "evaluation.every": 0,
    "evaluation.samples": 16,
    "executor.time_limit_s": 2,
    "buffer.max_staleness": 1,
    "learner.objective": "rltf",
    "learner.groups_per_step": 4,
    "learner.supervised_batch_size": 8,
    "learner.supervised_ratio": 1,
    "learner.learning_rate": 2e-4,
    "actors.problems_per_batch": 4,
    "actors.samples_per_problem": 8,
    "actors.greedy": True,
    "ray.address": "local",
    "ray.dashboard": False,
}
_QUICK: dict[str, object] = {
    "policy.d_model": 64,
    "policy.d_ff": 128,
    "warm_start.steps": 20,
    "warm_start.batch_size": 2,
    "warm_start.learning_rate": 1e-2,
    "learner.groups_per_step": 2,
    "actors.problems_per_batch": 2,
}
"""A smaller model and smaller batches."""


@dataclass(frozen=True, slots=True)
class Case:
    """One set of problems with the model that is trained on it."""

    name: str
    source: str
    """apps or mbpp."""
    file: str
    """Archive or file below the data folder."""
    inside: str
    """Folder of the problems inside the archive."""
    problems: int
    """Problems that the data's README promises."""
    longest: int
    """Characters of the longest solution that counts as short."""
    tokens: int
    """Most tokens of a program."""
    settings: tuple[tuple[str, object], ...]


_CODET5 = (("policy.family", "t5"), ("policy.tokenizer", DATA / "tokenizers" / "codet5"))
_GPT2 = (("policy.family", "gpt2"), ("policy.tokenizer", DATA / "tokenizers" / "gpt2"))
CASES = (
    Case("APPS layout", "apps", "apps_layout/dev.tar.gz", "APPS_like", 1900, 100, 64, _CODET5),
    Case("real APPS", "apps", "rltf_apps/train5.tar.gz", "rltf_apps/APPS", 5, 300, 128, _CODET5),
    Case("MBPP", "mbpp", "mbpp/mbpp.jsonl", "", 974, 100, 48, _GPT2),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run did."""

    warm_start_s: float
    warm_start_steps: int
    training_s: float
    steps: int
    trained_on: int
    """Samples that a step was computed from."""
    outcomes: dict[str, int]
    """Programs written for training, greedy ones included, by outcome."""
    versions: int
    """Policy versions that sampled them."""
    infrastructure_errors: int
    """Programs that went back to the queue because their execution failed, for whatever reason."""
    dead_letters: int
    malformed: int

    @classmethod
    def of(cls, folder: RunFolder) -> Facts:
        """Read from the folder of a run that is done."""
        result, ledger = folder.result(), folder.result()["ledger"]
        warm_start = json.loads((folder.path / "warm_start" / "warm_start.json").read_text())
        samples = [
            kept.sample
            for kept in folder.samples()
            if kept.sample is not None and kept.sample.program.purpose == "train"
        ]
        outcomes = Counter(sample.feedback.outcome for sample in samples)
        failures = (
            row["value"]
            for row in folder.telemetry()
            if row["kind"] == "count" and row["name"] == "infrastructure_failures"
        )
        return cls(
            warm_start_s=warm_start["seconds"],
            warm_start_steps=warm_start["steps"],
            training_s=result["seconds"]["training"],
            steps=len(folder.steps()),
            trained_on=ledger["trained"],
            outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
            versions=len({run.version for sample in samples for run in sample.program.versions}),
            infrastructure_errors=int(sum(failures)),
            dead_letters=ledger["dead_letter"],
            malformed=ledger["malformed"],
        )


def prepare(case: Case, folder: Path, count: int) -> tuple[ProblemSet, str]:
    """All problems of a case, and the SPEC of the `count` with the shortest solutions; `folder` takes what has to be
    unpacked.
    """
    if case.source == "mbpp":
        spec = f"mbpp:{DATA / case.file}"
        problems = load_problems(spec)
        return problems, f"{spec},ids={'+'.join(_name(problem) for problem in _shortest(problems, case, count))}"
    with tarfile.open(DATA / case.file) as archive:
        archive.extractall(folder / "all", filter="data")
    problems = load_problems(f"apps:{folder / 'all' / case.inside}")
    for problem in _shortest(problems, case, count):
        copy = folder / "chosen" / problem.id
        shutil.copytree(folder / "all" / case.inside / problem.id, copy)
        (copy / "solutions.json").write_text(json.dumps([min(problem.solutions, key=len)]))
    return problems, f"apps:{folder / 'chosen'}"


def settings_of(case: Case, spec: str, steps: int) -> dict[str, object]:
    """Fields of the configuration by dotted key."""
    settings = (
        _SETTINGS
        | dict(case.settings)
        | {"problems.train": spec, "learner.steps": steps, "policy.max_program_tokens": case.tokens}
    )
    if steps < FULL_STEPS:
        settings |= _QUICK | {"policy.max_program_tokens": min(case.tokens, 80)}
    return settings


def problems_for(steps: int) -> int:
    """Most problems that a run of so many steps trains on: eight, two in a quick one."""
    return 8 if steps >= FULL_STEPS else 2


def _shortest(problems: ProblemSet, case: Case, count: int) -> list[Problem]:
    lengths = {problem.id: min(map(len, problem.solutions)) for problem in problems if problem.solutions}
    short = [problem for problem in problems if lengths.get(problem.id, case.longest + 1) <= case.longest]
    return sorted(short, key=lambda problem: lengths[problem.id])[:count]


def _name(problem: Problem) -> str:
    return problem.id.rsplit("/", 1)[-1]


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, 1 when a run failed, 2 when the command line is wrong or the data are absent."""
    parser = argparse.ArgumentParser(prog="benchmarks.real_problems", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--quick", action="store_true", help="two problems and six steps each: only to see that it runs"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="keep the runs here (default: a temporary folder)"
    )
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    steps = QUICK_STEPS if options.quick else FULL_STEPS
    rows: list[tuple[Case, int, int, Facts]] = []
    try:
        if not DATA.is_dir():
            raise UserError(f"{DATA} is absent: the real problems are not part of the project")
        with tempfile.TemporaryDirectory() as temporary:
            for case in CASES:
                folder = Path(temporary) / case.name.replace(" ", "-")
                loaded, spec = prepare(case, folder, problems_for(steps))
                chosen = len(load_problems(spec))
                console.print(f"{case.name}: {len(loaded)} problems load, training on {chosen}", markup=False)
                run = _run(settings_of(case, spec, steps), options.folder or Path(temporary) / "runs", folder.name)
                rows.append((case, len(loaded), chosen, Facts.of(run)))
    except UserError as error:
        print_error(f"error: {error}")
        return 2
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        text = (error.stdout or b"").decode(errors="replace")
        print_error(f"benchmark failed: {error}; the run's last lines:\n{text[-2000:]}")
        return 1
    if options.json:
        figures = [
            {"case": case.name, "problems": loaded, "chosen": chosen} | asdict(facts)
            for case, loaded, chosen, facts in rows
        ]
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(table(rows), markup=False)
    return 0


def _run(settings: dict[str, object], folder: Path, name: str) -> RunFolder:
    fields = settings | {"run.folder": folder, "run.name": name}
    command = [sys.executable, "launch.py", *(f"--{key}={value}" for key, value in fields.items())]
    subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN_TIMEOUT_S, check=True
    )
    return RunFolder.open(folder / name)


def table(rows: Sequence[tuple[Case, int, int, Facts]]) -> str:
    """The figures as a Markdown table, one column per case."""
    lines: list[tuple[str, list[object]]] = [
        ("", [case.name for case, *_ in rows]),
        ("---", ["---:"] * len(rows)),
        ("model", [dict(case.settings)["policy.family"] for case, *_ in rows]),
        ("problems that load", [loaded for _, loaded, *_ in rows]),
        ("problems trained on", [chosen for _, _, chosen, _ in rows]),
    ]
    facts = [row[-1] for row in rows]
    lines += [
        ("warm start, seconds", [f"{fact.warm_start_s:.0f}" for fact in facts]),
        ("warm start, steps", [fact.warm_start_steps for fact in facts]),
        ("training, seconds", [f"{fact.training_s:.0f}" for fact in facts]),
        ("learner steps", [fact.steps for fact in facts]),
        *(
            (f"programs: {outcome.replace('_', ' ')}", [fact.outcomes[outcome] for fact in facts])
            for outcome in OUTCOMES
        ),
        ("samples trained on", [fact.trained_on for fact in facts]),
        ("policy versions that wrote them", [fact.versions for fact in facts]),
        ("infrastructure errors", [fact.infrastructure_errors for fact in facts]),
        ("dead letters", [fact.dead_letters for fact in facts]),
        ("malformed", [fact.malformed for fact in facts]),
    ]
    return "\n".join("| " + " | ".join([head, *map(str, cells)]) + " |" for head, cells in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
