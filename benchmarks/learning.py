"""The quick start's learning curves: the four starter presets on every seed, one table and one picture.

    python -m benchmarks.learning [--seeds SEED...] [--presets NAME...] [--folder FOLDER] [--picture FILE] [--json FILE]

Runs `launch.py` with one preset after the other. Presets with the model of `starter` begin from the warm start of its
run with the same seed, so their curves share the first point. Runs are kept in the folder. Those that are there already
are not repeated, and all that are there are shown, so the benchmark can be run in parts.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.running import ROOT, machine, raising_run_failed, run_command
from rltf.config import UserError
from rltf.monitor.curves import draw_curves, read_curve
from rltf.monitor.run_folder import RunFolder

LABELS = {
    "starter": "GRPO",
    "starter-rltf": "the paper's objective",
    "starter-t5": "GRPO, T5",
    "starter-control": "no RL",
}
"""Presets, the first being the one whose warm start others reuse, and what the picture calls them."""
FIRST, OWN_MODEL = "starter", {"starter", "starter-t5"}


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, 1 when a run failed, 2 when the command line is wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks.learning", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="seeds to run (default: 0 1 2)"
    )
    parser.add_argument(
        "--presets", nargs="+", choices=LABELS, default=list(LABELS), metavar="NAME", help=f"of {', '.join(LABELS)}"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "runs" / "learning", help="where the runs are (default: runs/learning)"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the curves into this PNG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options.folder.mkdir(parents=True, exist_ok=True)
    with raising_run_failed() as ending:
        for seed in options.seeds:
            for preset in sorted(options.presets, key=list(LABELS).index):
                if not _wall(options.folder, f"{preset}-{seed}").exists():
                    train(options.folder.resolve(), preset, seed, console)
        runs = found(options.folder)
        if options.json:
            figures = {
                "benchmark": "learning",
                "machine": machine(),
                "runs": [run for group in runs.values() for run in map(_figures, group)],
            }
            options.json.write_text(json.dumps(figures, indent=1) + "\n")
        if options.picture:
            curves = {
                LABELS[preset]: [read_curve(str(run.path), "seconds")[1] for run in group]
                for preset, group in runs.items()
            }
            draw_curves(options.picture, curves, "seconds since the first training program")
        console.print(table(runs), markup=False)
    return ending.code


def train(folder: Path, preset: str, seed: int, console: Console) -> None:
    """One run of `launch.py` in a Ray of its own. Raises RunFailed when it ends with an error."""
    name = f"{preset}-{seed}"
    command = [sys.executable, "launch.py", "--config", f"configs/{preset}.yaml", f"--run.seed={seed}"]
    command += [f"--run.folder={folder}", f"--run.name={name}", "--ray.address=local"]
    if preset not in OWN_MODEL:
        first = folder / f"{FIRST}-{seed}" / "warm_start"
        if not first.exists():
            raise UserError(
                f"{first} is missing: run the preset {FIRST} with seed {seed} first, {preset} begins from its warm "
                "start"
            )
        command.append(f"--warm_start.reuse={first}")
    _, wall_s = run_command(command, folder / f"{name}.log", name, console)
    _wall(folder, name).write_text(json.dumps({"wall_s": round(wall_s, 1)}) + "\n")


def found(folder: Path) -> dict[str, list[RunFolder]]:
    """The runs in the folder that ended well, by preset and in the order of their seeds."""
    names = {preset: sorted(path.stem for path in folder.glob(f"{preset}-[0-9]*.json")) for preset in LABELS}
    return {preset: [RunFolder.open(folder / name) for name in group] for preset, group in names.items() if group}


def _figures(run: RunFolder) -> dict[str, Any]:
    result = run.result()
    kept = {key: result[key] for key in ("curve", "steps", "samples", "seconds", "held_out")}
    return {"run": run.name, **kept, **json.loads(_wall(run.path.parent, run.name).read_text())}


def table(runs: dict[str, list[RunFolder]]) -> str:
    """The figures in Markdown: held-out pass@1 with its standard error over tasks, seconds of warm start, training and
    the whole run.
    """
    lines = [
        "| preset | seed | before training | after | training, s | learner steps | warm start, s | whole run, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for preset, group in runs.items():
        last = []
        for run in group:
            rows, result = run.held_out(), run.result()
            first, final = rows[0], rows[-1]
            last.append(float(final["pass@1"]))
            seconds = result["seconds"]
            wall_s = json.loads(_wall(run.path.parent, run.name).read_text())["wall_s"]
            cells = [
                preset,
                run.config()["run"]["seed"],
                _share(first),
                _share(final),
                f"{final['seconds']:.0f}",
                final["step"],
                f"{seconds.get('warm_start', 0.0):.0f}",
                f"{wall_s:.0f}",
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        if len(group) > 1:
            lines.append(f"| {preset} | mean | | {statistics.mean(last):.3f} ± {statistics.stdev(last):.3f} | | | | |")
    return "\n".join(lines)


def _share(row: dict[str, float]) -> str:
    return f"{row['pass@1']:.3f} ± {row['pass@1_se']:.3f}"


def _wall(folder: Path, name: str) -> Path:
    """Seconds of the whole command, start and end included; the file is there when the run has ended well."""
    return folder / f"{name}.json"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
