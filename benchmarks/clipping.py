"""What the gradient clip does to the two parts of the paper's objective, from the rows that runs left.

    python -m benchmarks.clipping RUN... [--json FILE]

RUN is the folder of a run of `launch.py`. For each kind of its steps: norms of the gradient before clipping, in how
many of them the clip (`learner.gradient_clip`) bound, and the mean factor that it put on the gradient. Where steps are
either supervised or reinforcement steps, the ratio of the two factors is the weight that the supervised term has beside
the other; Eq. 6 gives it 1. Where each step is both, the factor is on their sum and the weight is 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.running import machine, raising_run_failed
from rltf.config import UserError
from rltf.monitor.run_folder import RunFolder

Figures = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, 2 when the command line or a run is wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks.clipping", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    with raising_run_failed() as ending:
        found = [figures(RunFolder(run)) for run in options.runs]
        if options.json:
            options.json.write_text(
                json.dumps({"benchmark": "clipping", "machine": machine(), "runs": found}, indent=1) + "\n"
            )
        console.print(as_table(found))
    return ending.code


def figures(folder: RunFolder) -> Figures:
    """Of one run. Raises UserError when it took no step."""
    config, rows = folder.config(), folder.steps()
    if not rows:
        raise UserError(f"{folder.path}: no learner step was recorded")
    learner = config["learner"]
    limit = float(learner["gradient_clip"])
    kinds: dict[str, list[float]] = {}
    for row in rows:
        kinds.setdefault(row["objective"], []).append(float(row["gradient_norm"]))
    mixed = learner["supervised_mixing"] == "micro_batch"
    parts = {kind: _part(norms, limit) for kind, norms in kinds.items()}
    reinforcement = [part for kind, part in parts.items() if kind != "supervised"]
    weight = 1.0 if mixed else None
    if not mixed and reinforcement and "supervised" in parts:
        weight = parts["supervised"]["factor"] / reinforcement[0]["factor"]
    facts = {
        "run": folder.name,
        "policy": config["policy"]["model"] or config["policy"]["family"],
        "mixing": learner["supervised_mixing"],
    }
    return facts | {"gradient_clip": limit, "steps": parts, "supervised_weight": weight}


def _part(norms: Sequence[float], limit: float) -> Figures:
    factors = [min(1.0, limit / norm) if limit and norm else 1.0 for norm in norms]
    bound = sum(limit > 0 and norm > limit for norm in norms)
    spread = {"least": min(norms), "median": statistics.median(norms), "greatest": max(norms)}
    return {"number": len(norms), "bound": bound, "norm": spread, "factor": statistics.mean(factors)}


def as_table(found: Sequence[Figures]) -> Table:
    """One row for each kind of step of each run."""
    table = Table(box=None, pad_edge=False)
    for name in (
        "run",
        "policy",
        "mixing",
        "clip",
        "steps",
        "norm, median (range)",
        "bound in",
        "mean factor",
        "weight of L_sl to L_rl",
    ):
        table.add_column(name)
    for run in found:
        for kind, part in run["steps"].items():
            norm = part["norm"]
            table.add_row(
                run["run"],
                run["policy"],
                run["mixing"],
                f"{run['gradient_clip']:g}",
                f"{part['number']} {kind}",
                f"{norm['median']:.1f} ({norm['least']:.1f} to {norm['greatest']:.1f})",
                f"{part['bound']} of {part['number']}",
                f"{part['factor']:.3f}",
                "" if run["supervised_weight"] is None else f"{run['supervised_weight']:.2f}",
            )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
