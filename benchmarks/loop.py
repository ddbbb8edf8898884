"""What the whole system costs beside one process: RL seconds to held-out pass@1 0.65 and samples/s, beside TRL's
GRPOTrainer.

    python -m benchmarks.loop [--quick] [--seeds SEED...] [--peer-to-target] [--peer-threads N] [--peer-micro-batch N]
                              [--json FILE] [--config FILE] [--part.field VALUE ...]

For each seed, one after the other: `launch.py` as it is (Ray, Redis, actor, executor, learner, driver), then TRL in a
process of its own (`benchmarks.trl_peer`, extra `benchmark`) from the same warm start, on the same problems in the same
order, with the same rewards and hyper-parameters. Seconds begin with the first training program, so neither start nor
warm start is in them. Held-out evaluations run beside training in the system and are in its seconds; TRL's clock stands
still for them. Both have their matrix products in bfloat16 where the CPU can; `--learner.mixed_precision never` has
both train in float32.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.running import ROOT, BenchmarkRunFailed, machine, raising_run_failed, run_command
from benchmarks.trl_peer import refuse_if_not_comparable
from rltf.config import Config, UserError
from rltf.driver.commands.train import parse
from rltf.monitor.run_folder import RunFolder

TARGET = 0.65
"""Held-out pass@1 that the seconds are counted to."""
OURS, PEER = "this system", "TRL"
_QUICK = {
    "warm_start.steps": "10",
    "learner.steps": "4",
    "learner.groups_per_step": "6",
    "actors.problems_per_batch": "6",
    "policy.max_program_tokens": "64",
    "evaluation.every": "2",
    "evaluation.tasks": "32",
}
_PARTS = ("generation", "reward", "training", "weights", "actor_waits", "learner_waits", "evaluation")
_PEER_PARTS = ("generation", "reward", "training")

Figures = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, 1 when a run failed, 2 when the command line is wrong or TRL is missing."""
    parser = argparse.ArgumentParser(prog="benchmarks.loop", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one seed, four small steps, hardly any warm start: only to see that it runs",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="seeds to run (default: 0 1 2)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the figures to this file as well, beside those of runs it holds",
    )
    parser.add_argument(
        "--config", type=Path, default=ROOT / "configs" / "starter.yaml", metavar="FILE", help="preset of both"
    )
    parser.add_argument(
        "--peer-threads", type=int, default=2, metavar="N", help="torch threads, and programs graded at once, of TRL"
    )
    parser.add_argument(
        "--peer-micro-batch",
        type=int,
        default=0,
        metavar="N",
        help="programs in one forward pass of TRL; 0: about ours",
    )
    parser.add_argument(
        "--peer-to-target", action="store_true", help=f"TRL ends at its first evaluation of at least {TARGET}"
    )
    options, extra = parser.parse_known_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with raising_run_failed() as ending:
        given = {word.partition("=")[0] for word in extra}
        quick = {f"--{key}": value for key, value in (_QUICK if options.quick else {}).items()}
        settings = [f"{name}={value}" for name, value in quick.items() if name not in given] + extra
        config = parse(["--config", str(options.config), *settings]).config
        refuse_if_not_comparable(config)
        folder = Path(config.run.folder).resolve() / time.strftime("benchmark-loop-%Y%m%d-%H%M%S")
        folder.mkdir(parents=True)
        runs = _earlier(options.json, options.seeds)
        for seed in options.seeds[: 1 if options.quick else None]:
            runs.append(_ours(config, ["--config", str(options.config.resolve()), *settings], folder, seed, console))
            runs.append(_peer(folder, seed, options, console))
            figures = _figures(config, runs)
            for file in filter(None, (folder / "loop.json", options.json)):
                file.write_text(json.dumps(figures, indent=1) + "\n")
        show(figures, console)
        console.print(f"runs, logs and figures: {folder}")
    return ending.code


# ---- running


def _earlier(file: Path | None, seeds: Sequence[int]) -> list[Figures]:
    """Runs of other seeds that the file of figures holds: a long benchmark can be run in parts."""
    if file is None or not file.exists():
        return []
    try:
        held = json.loads(file.read_text())
        if held["benchmark"] != "loop":
            raise ValueError
        return [row for row in held["runs"] if row["seed"] not in seeds]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"--json {file}: it exists and holds no figures of this benchmark; choose another file"
        ) from None


def _ours(config: Config, settings: Sequence[str], folder: Path, seed: int, console: Console) -> Figures:
    """One run of `launch.py` in a Ray of its own."""
    own = [f"--run.seed={seed}", f"--run.folder={folder}", f"--run.name=seed-{seed}", "--ray.address=local"]
    load, wall_s = run_command(
        [sys.executable, "launch.py", *settings, *own], folder / f"seed-{seed}.log", f"{OURS}, seed {seed}", console
    )
    run = RunFolder.open(folder / f"seed-{seed}")
    result, steps = run.result(), run.steps()
    curve = result.get("curve") or []
    if not curve or int(curve[-1][0]) != config.learner.steps or len(steps) != config.learner.steps:
        raise BenchmarkRunFailed(
            f"{OURS}, seed {seed}: {len(steps)} of {config.learner.steps} steps, held-out curve {curve}; see {run.path}"
        )
    end = float(steps[-1]["time"])
    seconds = float(curve[-1][1])
    busy = _busy(run, end - seconds, end)
    parts = {part: busy.get(part, 0.0) / len(steps) for part in _PARTS}
    samples = sum(int(row["samples"]) for row in steps)
    facts = {"load_average_before": load, "wall_s": wall_s, "learner_seconds_per_step": _learner_seconds(steps)}
    facts["dead_lettered"] = result["ledger"]["dead_letter"]
    return _row(OURS, seed, curve, seconds, len(steps), samples, parts) | facts


def _peer(folder: Path, seed: int, options: argparse.Namespace, console: Console) -> Figures:
    """TRL from the warm start of the run with this seed."""
    threads = options.peer_threads
    out = folder / f"seed-{seed}-trl.json"
    command = [sys.executable, "-m", "benchmarks.trl_peer", "--run", str(folder / f"seed-{seed}"), "--out", str(out)]
    command += ["--threads", str(threads), "--lanes", str(threads), "--micro-batch", str(options.peer_micro_batch)]
    command += ["--until", str(TARGET)] if options.peer_to_target else []
    load, wall_s = run_command(
        command, folder / f"seed-{seed}-trl.log", f"{PEER}, seed {seed}", console, {"OMP_NUM_THREADS": str(threads)}
    )
    result = json.loads(out.read_text())
    last, count = result["steps"][-1], len(result["steps"])
    parts = dict.fromkeys(_PARTS, 0.0) | {part: last[part] / count for part in ("generation", "reward")}
    parts["training"] = last["seconds"] / count - parts["generation"] - parts["reward"]
    kept = (
        "trl",
        "threads",
        "lanes",
        "micro_batch",
        "mixed_precision",
        "held_out_tasks",
        "prompts_checked_against_the_run",
        "infrastructure_failures",
    )
    row = _row(PEER, seed, result["curve"], last["seconds"], count, count * result["samples_per_step"], parts)
    return row | {"load_average_before": load, "wall_s": wall_s} | {key: result[key] for key in kept}


# ---- figures


def _busy(run: RunFolder, start: float, end: float) -> dict[str, float]:
    """Seconds between `start` and `end` by part, summed over the workers that did it; parts overlap in time."""
    names = {
        ("actor", "generate"): "generation",
        ("actor", "evaluate"): "evaluation",
        ("actor", "load_weights"): "weights",
        ("executor", "grade"): "reward",
        ("learner", "train"): "training",
        ("learner", "publish"): "weights",
        ("actor", "wait"): "actor_waits",
        ("learner", "wait"): "learner_waits",
    }
    seconds: dict[str, float] = {}
    for row in run.telemetry():
        part = names.get((row["role"].rpartition("-")[0], row["name"])) if row["kind"] == "phase" else None
        if part:
            seconds[part] = seconds.get(part, 0.0) + max(0.0, min(row["end"], end) - max(row["start"], start))
    return seconds


def _learner_seconds(steps: Sequence[Figures]) -> dict[str, float]:
    """The learner's own account of a mean step (prepare, collate, forward, backward, step, publish)."""
    # Not the waits: the first one began before the first training program.
    names = sorted({name for row in steps for name in row["seconds"]} - {"wait"})
    return {name: sum(row["seconds"].get(name, 0.0) for row in steps) / len(steps) for name in names}


def _row(
    system: str, seed: int, curve: list[list[float]], seconds: float, steps: int, samples: int, parts: dict[str, float]
) -> Figures:
    return {
        "system": system,
        "seed": seed,
        "seconds_to_target": seconds_to(curve, TARGET),
        "samples_per_s": samples / seconds,
        "seconds_per_step": {"all": seconds / steps, **parts},
        "pass_at_1": {"before": curve[0][2], "after": curve[-1][2]},
        "seconds": seconds,
        "steps": steps,
        "samples": samples,
        "curve": curve,
    }


def seconds_to(curve: Sequence[Sequence[float]], target: float) -> float | None:
    """When a curve of [step, seconds, pass@1] first reaches `target`, linear between its points; None when it
    does not.
    """
    if curve and curve[0][2] >= target:
        return float(curve[0][1])
    for (_, before, low), (_, after, high) in zip(curve, curve[1:], strict=False):
        if low < target <= high:
            return before + (after - before) * (target - low) / (high - low)
    return None


def _figures(config: Config, runs: Sequence[Figures]) -> Figures:
    """The runs with the ratios of each seed and their medians, the configuration and the machine."""
    by_key = {(row["system"], row["seed"]): row for row in runs}
    seeds = sorted(row["seed"] for row in runs if row["system"] == PEER)
    pairs = [(by_key[OURS, seed], by_key[PEER, seed]) for seed in seeds]
    timed = [(ours["seconds_to_target"], peer["seconds_to_target"]) for ours, peer in pairs]
    ratios = {
        "seconds_to_target": [ours / peer if ours is not None and peer else None for ours, peer in timed],
        "samples_per_s": [ours["samples_per_s"] / peer["samples_per_s"] for ours, peer in pairs],
    }
    return {
        "benchmark": "loop",
        "target_pass_at_1": TARGET,
        "ratio_to_trl": {name: {"median": _median(values), "by_seed": values} for name, values in ratios.items()},
        "runs": list(runs),
        "machine": machine(),
        "config": config.model_dump(mode="json", exclude={"redis": {"url"}}),
    }


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known and len(known) == len(values) else None


# ---- the table


def show(figures: Figures, console: Console) -> None:
    """Prints the table and what has to be known to read it."""
    about = figures["machine"]
    mixed = any(row.get("mixed_precision") for row in figures["runs"])
    number_format = "bfloat16 products" if mixed else "float32"
    title = f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, Python {about['python']}, "
    title += f"TRL {about['libraries']['trl']}, {number_format}"
    table = Table(title=title)
    columns = [
        "seed",
        "",
        f"s to {figures['target_pass_at_1']}",
        "samples/s",
        "s per step",
        "generation",
        "reward",
        "training",
        "weights",
    ]
    for heading in [*columns, "actor waits", "learner waits", "evaluation", "pass@1"]:
        table.add_column(heading, justify="left" if heading == "" else "right")
    for row in figures["runs"]:
        parts = row["seconds_per_step"]
        held_out = f"{row['pass_at_1']['before']:.2f} → {row['pass_at_1']['after']:.2f}"
        shown = [_number(parts[part]) if row["system"] == OURS or part in _PEER_PARTS else "–" for part in _PARTS]
        table.add_row(
            str(row["seed"]),
            row["system"],
            _number(row["seconds_to_target"], 1, "not reached"),
            _number(row["samples_per_s"], 0),
            _number(parts["all"]),
            *shown,
            held_out,
        )
    ratios = {name: _number(ratio["median"]) for name, ratio in figures["ratio_to_trl"].items()}
    table.add_section()
    table.add_row("", f"{OURS} / {PEER}", ratios["seconds_to_target"], ratios["samples_per_s"], style="bold")
    width = console.width
    console.width = width if console.is_terminal else max(width, 170)
    console.print(table)
    console.width = width
    console.print(
        f"{OURS}: the parts run at the same time in processes of their own and do not add up to a step; "
        f"held-out evaluation, its grading among reward, is in the seconds. {PEER}: one part after the other, its "
        "clock stands still for "
        "evaluations. Last row: median of the seeds' ratios."
    )


def _number(value: float | None, digits: int = 2, missing: str = "–") -> str:
    return missing if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
