"""Held-out curves of several runs in one picture::

    python -m rltf.monitor.curves OUT.png RUN [RUN...] [--x seconds|steps]

RUN is a run's folder or LABEL=FOLDER. Runs that share a label are drawn in one colour: thin lines, and a thick one for
their mean.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from rltf.config import UserError
from rltf.monitor import style
from rltf.monitor.run_record import RunRecord
from rltf.telemetry.console import harden_streams, print_error

Points = np.ndarray
"""(N, 2): x and pass@1."""


def draw_curves(
    path: Path, curves: Mapping[str, Sequence[Points]], x_label: str, title: str = "Held-out pass@1"
) -> None:
    """Draws the curves of each label; a mean spans what all runs of the label cover.

    Dashed: the warm start, the first points' mean.
    """
    start = float(np.mean([points[0, 1] for group in curves.values() for points in group]))
    with style.figure(path, 8.5, 4.8) as (_, (axis,)):
        axis.set_title(title)
        axis.set(xlabel=x_label, ylabel="share of programs that pass", ylim=(0, 1))
        axis.axhline(start, color=style.GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        labels: list[tuple[float, str, object]] = []
        for index, (label, group) in enumerate(curves.items()):
            colour = style.SERIES[index % len(style.SERIES)]
            mean = _mean(group)
            if len(group) > 1:
                for points in group:
                    axis.plot(points[:, 0], points[:, 1], color=style.tint(colour, 0.45), linewidth=1.1)
            axis.plot(
                mean[:, 0],
                mean[:, 1],
                color=colour,
                linewidth=2.4,
                marker="o" if len(group) == 1 else None,
                markersize=3.5,
                clip_on=False,
            )
            runs = f", mean of {len(group)}" if len(group) > 1 else ""
            labels.append((float(mean[-1, 1]), f"{label}{runs}: {mean[-1, 1]:.2f}", colour))
        labels.append((start, f"warm start: {start:.2f}", style.GREY))
        axis.set_xlim(0, max(float(points[-1, 0]) for group in curves.values() for points in group))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
        style.end_labels(axis, labels)


def _mean(group: Sequence[Points]) -> Points:
    """The mean of curves with different x: interpolated at every x that all of them reach."""
    if len(group) == 1:
        return np.asarray(group[0])
    last = min(points[-1, 0] for points in group)
    x = np.unique(np.concatenate([points[:, 0] for points in group]))
    x = x[x <= last]
    return np.column_stack([x, np.mean([np.interp(x, points[:, 0], points[:, 1]) for points in group], axis=0)])


def read_curve(run: str, x: str) -> tuple[str, Points]:
    """Label and points of RUN or LABEL=RUN. Raises UserError when it is no run folder or has no held-out evaluation."""
    label, equals, path = run.rpartition("=")
    folder = RunRecord.open(path)
    rows = folder.held_out()
    if not rows:
        raise UserError(f"{path} has no held-out evaluation to draw")
    points = np.array([[row["step" if x == "steps" else "seconds"], row["pass@1"]] for row in rows], float)
    return label if equals else folder.name, points


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 when a run cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m rltf.monitor.curves", description="Held-out curves of several runs in one picture."
    )
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run's folder, or LABEL=FOLDER; runs of one label share a colour and a mean",
    )
    parser.add_argument(
        "--x",
        choices=("seconds", "steps"),
        default="seconds",
        help="seconds since the first training program, or learner steps",
    )
    parser.add_argument("--title", default="Held-out pass@1")
    given = parser.parse_args(arguments)
    curves: dict[str, list[Points]] = {}
    try:
        for run in given.runs:
            label, points = read_curve(run, given.x)
            curves.setdefault(label, []).append(points)
    except UserError as error:
        print_error(f"error: {error}")
        return 2
    words = "seconds since the first training program" if given.x == "seconds" else "learner steps"
    draw_curves(given.out, curves, words, given.title)
    return 0


if __name__ == "__main__":
    harden_streams()
    sys.exit(main())
