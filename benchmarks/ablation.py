"""What each kind of feedback is worth, and what sampling online is: the tables of the RLTF paper, at equal seconds of
training.

    python -m benchmarks.ablation [--quick] [--seeds SEED...] [--variants NAME...] [--seconds S] [--json FILE] [--folder
                                  FOLDER] [--config FILE] [--warm-starts RUN...] [--table] [--part.field VALUE ...]

Every variant of a seed begins with the same warm start, trains for so many seconds of wall-clock
(`learner.max_seconds`) with the same preset, and is evaluated on the held-out tasks at its end. Table 5 of the paper
(2307.04349) is `supervised`, `coarse`, `fine`, `adaptive`; Table 4 is `offline-coarse`, `offline`, `coarse`,
`adaptive`. A run leaves its figures in the file, in place of earlier ones of its variant and seed, so the whole can be
run in pieces; `--table` prints what the file holds and runs nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.running import ROOT, BenchmarkRunFailed, machine, raising_run_failed, run_command
from rltf.config import UserError
from rltf.driver.commands.train import parse
from rltf.monitor.run_folder import RunFolder

WARM_START = "warm start"
_STEPS = 1_000_000
"""More than any run takes: the seconds end it."""
_SAMPLES = 20
"""Programs for each held-out task before and after training."""
_KS = (1, 10)
_QUICK = {"warm_start.steps": "20", "evaluation.tasks": "8", "policy.max_program_tokens": "64", "policy.d_model": "64"}
_QUICK_SECONDS = 5.0

Figures = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One row of the tables."""

    words: str
    settings: dict[str, str]
    """Fields of the configuration that make it."""
    default: bool = True
    """Whether it is run unless others are named."""


_COARSE = {"rltf.fine": "false", "rltf.adaptive": "false"}
_OFFLINE = {"learner.publish_every": "0"}
VARIANTS = {
    "supervised": Variant("supervised only", {"learner.objective": "supervised"}),
    "coarse": Variant("+ coarse", _COARSE),
    "fine": Variant("+ coarse + fine", {"rltf.adaptive": "false"}),
    "adaptive": Variant("+ coarse + fine + adaptive", {}),
    "offline": Variant("offline: + coarse + fine + adaptive", _OFFLINE),
    "offline-coarse": Variant("offline: + coarse", _OFFLINE | _COARSE),
    "grpo": Variant("GRPO", {"learner.objective": "grpo", "learner.supervised_ratio": "0"}, False),
    "grpo-fine": Variant(
        "GRPO + fine",
        {"learner.objective": "grpo", "learner.supervised_ratio": "0", "grpo.fine": "true", "grpo.reward": "adaptive"},
        False,
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, 1 when a run failed, 2 when the command line is wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    default = [name for name, variant in VARIANTS.items() if variant.default]
    parser.add_argument(
        "--quick", action="store_true", help="a smaller model, hardly any warm start, 5 s: only to see that it runs"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="seeds to run (default: 0 1 2)"
    )
    names = f"variants to run, of {' '.join(VARIANTS)} (default: {' '.join(default)})"
    parser.add_argument("--variants", nargs="+", default=default, choices=list(VARIANTS), metavar="NAME", help=names)
    parser.add_argument(
        "--seconds", type=float, default=90.0, metavar="S", help="seconds of training of each run (default: 90)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="figures of the runs, kept and added to (default: in the folder)"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/ablation"), metavar="FOLDER", help="for runs (default: runs/ablation)"
    )
    parser.add_argument(
        "--config", type=Path, default=ROOT / "configs" / "starter-rltf.yaml", metavar="FILE", help="preset of all"
    )
    warm = (
        "finished runs whose warm starts are taken where seed, problems, model and warm start are the same (default: "
        "each is made)"
    )
    parser.add_argument("--warm-starts", type=Path, nargs="+", default=[], metavar="RUN", help=warm)
    parser.add_argument("--table", action="store_true", help="print what the file of figures holds, and run nothing")
    options, extra = parser.parse_known_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder: Path = options.folder.resolve()
    file: Path = options.json or folder / "ablation.json"
    seconds = _QUICK_SECONDS if options.quick else options.seconds
    quick = [f"--{key}={value}" for key, value in _QUICK.items()] if options.quick else []
    with raising_run_failed() as ending:
        found = _read(file)
        if not options.table:
            folder.mkdir(parents=True, exist_ok=True)
            ablation = Ablation(
                folder, file, ["--config", str(options.config.resolve()), *quick, *extra], seconds, found, console
            )
            ablation.earlier = [RunFolder.open(path) for path in options.warm_starts]
            for seed in options.seeds:
                for name in options.variants:
                    ablation.run(name, seed)
        console.print(tables(found["runs"]), markup=False)
    return ending.code


class Ablation:
    """Runs variants and keeps their figures."""

    def __init__(
        self, folder: Path, file: Path, settings: Sequence[str], seconds: float, figures: Figures, console: Console
    ) -> None:
        """`settings`: of all runs. Raises UserError for what no run could be started with."""
        self._folder, self._file, self._seconds, self._console = folder, file, seconds, console
        self.earlier: list[RunFolder] = []
        """Runs whose warm starts may be taken."""
        common = {"evaluation.every": 0, "evaluation.k": list(_KS), "evaluation.final_samples": _SAMPLES}
        common |= {"checkpoint.every": 0, "checkpoint.best": "false", "ray.address": "local", "ray.dashboard": "false"}
        self._settings = [*settings, *(f"--{key}={value}" for key, value in common.items())]
        self._figures = figures
        self._config = parse(self._settings).config
        self._figures |= {"machine": machine(), "seconds": seconds, "config": self._config.model_dump(mode="json")}
        self._figures["config"]["redis"]["url"] = ""  # may hold a password

    def run(self, name: str, seed: int) -> None:
        """One variant from the seed's warm start, which is made if it is not there yet."""
        evaluated = [RunFolder.open(path) for path in sorted(self._folder.glob(f"warm-start-{seed}-*/"))]
        warm = self._warm_start(seed, evaluated)
        if warm is None:
            # Its evaluation before the first step is that of the warm start.
            fields = {
                "learner.objective": "supervised",
                "learner.steps": 1,
                "evaluation.samples": _SAMPLES,
                "evaluation.final_samples": 1,
            }
            earlier = self._warm_start(seed, self.earlier)
            warm = self._start("warm-start", seed, fields | ({"warm_start.reuse": _model(earlier)} if earlier else {}))
        if (WARM_START, seed) not in [(row["variant"], row["seed"]) for row in self._figures["runs"]]:
            self._keep(WARM_START, seed, warm, "before")
        fields = {"warm_start.reuse": _model(warm), "learner.steps": _STEPS, "learner.max_seconds": self._seconds}
        fields |= VARIANTS[name].settings
        self._keep(name, seed, self._start(name, seed, fields), "after")

    def _warm_start(self, seed: int, runs: Sequence[RunFolder]) -> RunFolder | None:
        """A finished one with the same problems, model, warm start and seed."""
        for run in runs:
            if run.result().get("finished") and _begins(run.config()) == _begins(
                self._config.model_dump(mode="json")
            ) | {"seed": seed}:
                return run
        return None

    def _start(self, variant: str, seed: int, fields: Figures) -> RunFolder:
        name = f"{variant}-{seed}-{time.strftime('%H%M%S')}"
        own = {"run.seed": seed, "run.folder": self._folder, "run.name": name} | fields
        command = [sys.executable, "launch.py", *self._settings, *(f"--{key}={value}" for key, value in own.items())]
        run_command(command, self._folder / f"{name}.log", name, self._console)
        return RunFolder.open(self._folder / name)

    def _keep(self, name: str, seed: int, run: RunFolder, when: str) -> None:
        """Adds the figures of a finished run to the file. Raises RunFailed when it was not evaluated."""
        result, steps = run.result(), run.steps()
        scores = result.get("held_out", {}).get(when)
        if not result.get("finished") or scores is None or f"pass@{max(_KS)}" not in scores:
            raise BenchmarkRunFailed(
                f"{name}, seed {seed}: no evaluation with {_SAMPLES} programs a task; see {run.path}"
            )
        row: Figures = {"variant": name, "seed": seed, "tasks": result["held_out"]["tasks"], **scores}
        row |= {"trained_on": result["ledger"]["trained"], "generated": result["ledger"]["generated"]}
        row["supervised_steps"] = sum(step["objective"] == "supervised" for step in steps)
        row["reinforcement_steps"] = len(steps) - row["supervised_steps"]
        row["training_s"] = steps[-1]["training_s"]
        if when == "before":
            row |= {"supervised_steps": 0, "training_s": 0.0}
        self._figures["runs"] = [
            kept for kept in self._figures["runs"] if (kept["variant"], kept["seed"]) != (name, seed)
        ] + [row]
        unfinished = self._file.with_name(self._file.name + ".unfinished")
        unfinished.write_text(json.dumps(self._figures, indent=1) + "\n")
        unfinished.replace(self._file)
        self._console.print(
            f"{name}, seed {seed}: " + ", ".join(f"pass@{k} {scores[f'pass@{k}']:.3f}" for k in _KS), markup=False
        )


def _begins(config: Figures) -> Figures:
    """What a warm start depends on."""
    warm_start = {name: value for name, value in config["warm_start"].items() if name != "reuse"}
    return {
        "problems": config["problems"],
        "policy": config["policy"],
        "warm_start": warm_start,
        "seed": config["run"]["seed"],
    }


def _model(run: RunFolder) -> str:
    """Where the warm-started model of a run is."""
    return str(run.config()["warm_start"]["reuse"] or (run.path / "warm_start").resolve())


def _read(file: Path) -> Figures:
    """The figures that the file holds, of earlier pieces."""
    if not file.exists():
        return {"benchmark": "ablation", "runs": []}
    try:
        held: Figures = json.loads(file.read_text())
        if held["benchmark"] != "ablation" or not isinstance(held["runs"], list):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"--json {file}: it exists and holds no figures of this benchmark; choose another file"
        ) from None
    return held


def tables(runs: Sequence[Figures]) -> str:
    """Markdown: a row per variant, mean and standard deviation (n - 1) over its seeds."""
    heads = [
        *(f"pass@{k}" for k in _KS),
        "seeds",
        "seconds",
        "supervised steps",
        "reinforcement steps",
        "programs trained on",
    ]
    lines = ["| | " + " | ".join(heads) + " |", "|:---|" + "---:|" * len(heads)]
    for name in [WARM_START, *VARIANTS]:
        rows = [row for row in runs if row["variant"] == name]
        if rows:
            cells = [_spread([row[f"pass@{k}"] for row in rows]) for k in _KS]
            cells.append(" ".join(str(seed) for seed in sorted(row["seed"] for row in rows)))
            cells += [
                f"{statistics.mean(row[key] for row in rows):,.0f}"
                for key in ("training_s", "supervised_steps", "reinforcement_steps", "trained_on")
            ]
            lines.append(f"| {VARIANTS[name].words if name in VARIANTS else name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
