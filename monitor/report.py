"""report.md and its pictures from a run folder: what happened, in figures and in words.

`python -m rltf.monitor.report RUN` writes them anew.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rltf.config import UserError, atomic_write, disk_sentence, run_files
from rltf.monitor import plots
from rltf.monitor.report_fates import (
    dead_letters_section,
    events_section,
    ledger_section,
    left_out_section,
    programs_section,
)
from rltf.monitor.run_record import RunRecord
from rltf.monitor.timeline import Counts, Shares, Timeline, overlap, shares, timeline, training_window
from rltf.telemetry.console import harden_streams, print_error
from rltf.telemetry.declarations import METRICS, STEP_FIGURES
from rltf.telemetry.metrics import numbers_of
from rltf.telemetry.recorder import Row
from rltf.telemetry.vocabulary import PRODUCTS, estimate, figures_of, plural


def write_report(folder: RunRecord) -> Path:
    """Writes report.md and the PNGs into the folder and gives back report.md's path; of a run that ended early it shows
    what there is.

    All of it comes from the folder's files, so a later call writes the same again. What cannot be read of them is left
    out and told. Raises OSError when the report or one of its pictures cannot be written.
    """
    steps, evaluations, result = folder.steps(), folder.evaluations(), folder.result()
    counts = Counts()
    spans = timeline(counts.reading(folder.telemetry()))
    window = training_window(spans)
    events = folder.events()
    lines = [f"# Run {folder.name}", ""]
    lines += _results(evaluations, steps, result)
    configuration, doubts = _configuration(folder)
    lines += [f"- Warning: {warning}" for warning in (*result.get("warnings", ()), *folder.damage(), *doubts)] + [""]
    failures: list[OSError] = []
    draw = partial(_draw, folder.path, failures)
    for name, held_out in evaluations.items():
        lines += _curve(draw, name, held_out)
    lines += _errors(draw, steps)
    lines += _figures(steps)
    lines += _rates(draw, counts, window)
    lines += _seconds(draw, spans, window, result)
    lines += _ages(steps, result)
    lines += ledger_section(result)
    lines += dead_letters_section(result.get("dead_letters", ()))
    lines += left_out_section(result.get("left_out", ()))
    lines += events_section(events)
    lines += programs_section(result.get("examples", ()))
    lines += ["## Configuration", "", "```yaml", configuration, "```", ""]
    with atomic_write(folder.path / run_files.REPORT, durable=True) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    if failures:
        raise failures[0]
    return folder.path / run_files.REPORT


def _configuration(folder: RunRecord) -> tuple[str, list[str]]:
    """config.yaml, and what is wrong with it."""
    try:
        text = yaml.safe_dump(folder.config(), sort_keys=False).rstrip()
    except UserError as error:
        return "", [str(error)]
    try:
        folder.settings()
    except UserError as error:
        return text, [str(error)]
    return text, []


def _draw(folder: Path, failures: list[OSError], file: str, plot: Callable[..., None], *what: Any) -> None:
    """A picture that finds no room on the disk costs the report nothing else."""
    try:
        plot(folder / file, *what)
    except OSError as error:
        failures.append(error)


def _results(evaluations: Mapping[str, Sequence[Row]], steps: Sequence[Row], result: Mapping[str, Any]) -> list[str]:
    about = result.get("held_out") or {}
    lines = _held_out("Held-out", evaluations[""], about) or ["- No held-out evaluation was completed."]
    for name, rows in evaluations.items():
        if name:
            lines += _held_out(f"Held-out {name}", rows, about.get("sets", {}).get(name, {}))
    numbers = [f"{len(steps):,} learner steps"] if steps else ["no learner step"]
    numbers += [
        f"{result[name]:,} {words}"
        for name, words in (("samples", "programs graded"), ("versions", "policy versions"))
        if name in result
    ]
    lines.append(f"- {', '.join(numbers)}.")
    if reason := result.get("stopped_early"):
        lines.append(f"- Training ended before its last step: {reason}.")
    if seconds := result.get("seconds"):
        lines.append(
            "- Seconds: "
            + ", ".join(f"{phase.replace('_', ' ')} {value:.0f}" for phase, value in seconds.items())
            + "."
        )
    return lines


def _held_out(title: str, held_out: Sequence[Row], result: Mapping[str, Any]) -> list[str]:
    """The figures of a held-out set before and after training; `result`: what result.json says of the set."""
    if not held_out:
        return []
    lines, first, last = [], held_out[0], held_out[-1]
    for figure in figures_of(held_out):
        after = (
            f"**{estimate(last, figure)} after** it (step {last['step']})"
            if len(held_out) > 1
            else "not evaluated after it"
        )
        lines.append(f"- {title} {figure}: **{estimate(first, figure)} before** training, {after}.")
    about = result.get("about") or f"{last['tasks']:,}"
    lines.append(f"- {title} tasks: {about}; {last['samples']:,} sampled programs, standard errors over the tasks.")
    if missing := max(row.get("missing", 0) for row in held_out):
        lines.append(f"- Up to {missing:,} tasks of an evaluation have no graded program; they count as not passed.")
    if lost := max(row.get("lost", 0) for row in held_out):
        lines.append(
            f"- Up to {lost:,} programs of an evaluation have no verdict (infrastructure failures); they count "
            "as not passed."
        )
    return lines


def _curve(draw: Callable[..., None], name: str, held_out: Sequence[Row]) -> list[str]:
    if len(held_out) < 2:
        return []
    title = f"Held-out {name} pass@1" if name else "Held-out pass@1"
    file = f"held_out_{name}.png" if name else "held_out.png"
    draw(file, plots.held_out_curve, held_out, title)
    figures = figures_of(held_out)
    lines = [
        f"## {title}",
        "",
        f"![{title} over steps and seconds]({file})",
        "",
        f"| step | seconds | {' | '.join(figures)} | programs |",
        f"|---:|---:|{'---:|' * len(figures)}:---|",
    ]
    for row in held_out:
        scores = " | ".join(estimate(row, figure) for figure in figures)
        lines.append(
            f"| {row['step']} | {row['seconds']:.0f} | {scores} | {plots.outcome_words(row.get('outcomes', {}))} |"
        )
    return [*lines, ""]


def _errors(draw: Callable[..., None], steps: Sequence[Row]) -> list[str]:
    steps = [row for row in steps if row.get("outcomes")]
    if not steps:
        return []
    draw("error_types.png", plots.error_types, steps)
    tenth = max(1, len(steps) // 10)
    early, late = steps[:tenth], steps[-tenth:]
    before, after = _mix(early), _mix(late)
    names = sorted(
        before.keys() | after.keys(),
        key=lambda name: (name != "passed", -before.get(name, 0) - after.get(name, 0), name),
    )
    return [
        "## What went wrong in the programs",
        "",
        "![Error types over learner steps](error_types.png)",
        "",
        f"| share of the programs trained on | steps {early[0]['step']}-{early[-1]['step']} | steps "
        f"{late[0]['step']}-{late[-1]['step']} |",
        "|:---|---:|---:|",
        *(f"| {name} | {before.get(name, 0):.1%} | {after.get(name, 0):.1%} |" for name in names),
        "",
    ]


def _mix(steps: Sequence[Row]) -> dict[str, float]:
    """Shares of all programs of these steps: passed, and each error type."""
    errors: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for row in steps:
        errors.update(row.get("error_types", {}))
        outcomes.update(row["outcomes"])
    total = max(1, sum(outcomes.values()))
    return {"passed": outcomes["pass"] / total} | {name: count / total for name, count in errors.items()}


def _figures(steps: Sequence[Row]) -> list[str]:
    """Means over the first and the last tenth of the steps, of reinforcement where there are any, as declared."""
    rows = [row for row in steps if row.get("outcomes")] or steps
    tenth = max(1, len(rows) // 10)
    parts = [[numbers_of(row, "step", "tensorboard") for row in part] for part in (rows[:tenth], rows[-tenth:])]
    table = []
    for metric in METRICS["step"]:
        if metric.report == STEP_FIGURES and any(metric.name in row for part in parts for row in part):
            means = (_mean([row[metric.name] for row in part if metric.name in row]) for part in parts)
            unit = f" ({metric.unit})" if metric.unit else ""
            table.append(f"| `{metric.name}`{unit} | {' | '.join(means)} |")
    if not table:
        return []
    names = (f"steps {part[0]['step']}-{part[-1]['step']}" for part in (rows[:tenth], rows[-tenth:]))
    return [f"## {STEP_FIGURES}", "", f"| mean of | {' | '.join(names)} |", "|:---|---:|---:|", *table, ""]


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.4g}" if values else "–"


def _rates(draw: Callable[..., None], counts: Counts, window: tuple[float, float] | None) -> list[str]:
    if window is None:
        return []
    begin, end = window
    draw("throughput.png", plots.throughput, counts, begin, end)
    window_edges = np.array([begin, end])
    means = [f"{counts.per_second(product, window_edges)[0]:.1f} {product.verb}" for product in PRODUCTS]
    return [
        "## Throughput",
        "",
        "![Programs per second](throughput.png)",
        "",
        f"Programs per second over the {end - begin:.0f} s of training: {', '.join(means)} (those without advantage "
        "are not trained on).",
        "",
    ]


def _seconds(
    draw: Callable[..., None], spans: Timeline, window: tuple[float, float] | None, result: Mapping[str, Any]
) -> list[str]:
    workers = [role_spans for role, role_spans in spans.items() if role != "run" and role_spans]
    if not workers or window is None:
        return []
    begin = min(role_spans[0].start for role_spans in workers)
    end = max(role_spans[-1].end for role_spans in workers)
    draw("timeline.png", plots.run_timeline, spans, begin, end, window)
    lines = ["## Where the seconds go", "", "![Who worked and who waited for whom](timeline.png)", ""]
    common = overlap(spans, *window)
    if common is not None:
        lines += [
            f"Generation and training overlap: during **{common:.0%}** of the learner's training time at least one "
            "actor wrote "
            "training programs.",
            "",
        ]
    lines += [
        f"Shares of the {window[1] - window[0]:.0f} s between the first training program and the end of training, by "
        "kind of worker:",
        "",
    ]
    lines += ["| | working | waiting | outside any phase |", "|:---|:---|:---|---:|"]
    kinds = shares(spans, *window)
    for kind, share in kinds.items():
        waiting = _parts({f"for {_part(part, kinds)}": seconds for part, seconds in share.waiting.items()}, share)
        working = _parts(share.working, share)
        lines.append(
            f"| {share.workers} {plural(kind, share.workers)} | {working} | {waiting} | "
            f"{share.unaccounted / share.total:.1%} |"
        )
    return [*lines, ""]


def _parts(seconds: Mapping[str, float], share: Shares) -> str:
    """ "71.0% (generate 64.0%, load weights 7.0%)"."""
    parts = sorted(seconds.items(), key=lambda item: -item[1])
    if not parts:
        return "0.0%"
    words = ", ".join(f"{name.replace('_', ' ')} {value / share.total:.1%}" for name, value in parts)
    return f"{sum(seconds.values()) / share.total:.1%} ({words})"


def _part(part: str, kinds: Mapping[str, Shares]) -> str:
    return plural(part, kinds[part].workers) if part in kinds else part


def _ages(steps: Sequence[Row], result: Mapping[str, Any]) -> list[str]:
    """How old the samples were that were trained on, and how many were too old."""
    ages: Counter[str] = Counter()
    for row in steps:
        ages.update(row.get("ages", {}))
    if not ages:
        return []
    number, stale = sum(ages.values()), (result.get("ledger") or {}).get("stale", 0)
    return [
        "## How old the samples were",
        "",
        "Policy versions between the one that sampled a program and the learner's own.",
        "",
        "| age | samples | share |",
        "|:---|---:|---:|",
        *(
            f"| {age} | {ages[age]:,} | {ages[age] / number:.1%} |"
            for age in sorted(ages, key=lambda age: int(age.partition("-")[0]))
        ),
        "",
        f"Set aside because they were older than `buffer.max_staleness` allows: {stale:,}.",
        "",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 when RUN is no run folder, or the report cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m rltf.monitor.report", description="Writes report.md and its pictures of a run anew."
    )
    parser.add_argument("run", help="the run's folder")
    try:
        print(write_report(RunRecord.open(parser.parse_args(arguments).run)))
    except UserError as error:
        print_error(f"error: {error}")
        return 2
    except OSError as error:
        print_error(f"error: {disk_sentence(error, 'the report')}")
        return 2
    return 0


if __name__ == "__main__":
    harden_streams()
    sys.exit(main())
