"""What an evaluation leaves: results.json, its tables, pictures, and what is printed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.config import atomic_write, run_files
from rltf.driver.extras import code_version
from rltf.evaluation.results import ALL, heading, results_of
from rltf.evaluation.scores import SetScores, fold
from rltf.evaluation.tables import latex, markdown, percent, remarks
from rltf.monitor.evaluation_plots import draw
from rltf.monitor.run_folder import RunFolder
from rltf.telemetry.console import print_error, warn


def write_results(
    folder: RunFolder, sets: Sequence[SetScores], ks: Sequence[int], seed: int, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Folds the samples of the folder and writes results.json, results.md, results.tex and the pictures.

    `facts`: what was evaluated and how. Returns the results. Raises OSError when the disk does not take them.
    """
    executors = fold(sets, (row.sample for row in folder.samples() if row.sample is not None))
    facts = {**facts, "executors": sorted(executors), "seed": seed, "code_version": code_version()}
    results = results_of(sets, ks, seed, facts) | {"time": time.time()}
    for name, text in (
        (run_files.RESULTS, json.dumps(results, indent=1) + "\n"),
        ("results.md", f"# {facts['model']}\n\n{markdown([results])}"),
        ("results.tex", latex([results])),
    ):
        with atomic_write(folder.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for number, one in enumerate(results["sets"]):
        draw(folder.path, one, _prefix(one["problems"], number, len(results["sets"])), heading)
    return results


def _prefix(spec: str, number: int, of: int) -> str:
    """What the names of a set's pictures begin with: nothing where there is one set."""
    return f"{number + 1}-{re.sub('[^A-Za-z0-9]+', '-', spec).strip('-')[:40]}-" if of > 1 else ""


def show(folder: RunFolder, results: Mapping[str, Any], console: Console) -> bool:
    """Prints the figures, and what is missing last; whether every program has its verdict."""
    for one in results["sets"]:
        groups = one["groups"]
        table = Table("percent", title=f"{results['model']}: {one['problems']}")
        for group in groups:
            table.add_column(heading(group), justify="right")
        table.add_column(f"95% interval of {ALL}")
        for name, whole in groups[ALL]["metrics"].items():
            found = [figures["metrics"].get(name) for figures in groups.values()]
            values = [percent(each and each["value"]) for each in found]
            table.add_row(name, *values, f"[{percent(whole['low'])}, {percent(whole['high'])}]")
        for name in ("problems", "programs"):
            table.add_row(name, *[f"{figures[name]:,}" for figures in groups.values()])
        console.print(table)
    for one in results["sets"]:
        for sentence in remarks(one, results["k"]):
            warn(f"{one['problems']}: {sentence}")
    for sentence in folder.damage():
        print_error(sentence)
    console.print(f"Figures, tables and pictures: {folder.path}/{run_files.RESULTS}, results.md, ..", markup=False)
    console.print(f"Every program with its verdict: {folder.path}/{run_files.SAMPLES}/*.parquet", markup=False)
    return not folder.damage() and not any(one["without_verdict"] for one in results["sets"])
