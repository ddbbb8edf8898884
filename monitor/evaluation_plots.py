"""The pictures of an evaluation's results: pass@k over k, the error mix, pass rates by length and number of tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter, PercentFormatter, ScalarFormatter

from rltf.monitor import style

_ERROR_COLOURS = (
    *(style.RED, style.ORANGE, style.YELLOW, style.PURPLE, style.SKY, style.BLUE, style.GREEN),
    *(style.tint(colour, 0.5) for colour in (style.RED, style.BLUE, style.ORANGE, style.SKY, style.PURPLE)),
)


def draw(folder: Path, one: Mapping[str, Any], name: str, heading: Callable[[str], str]) -> list[Path]:
    """Draws the figures of one problem set (`sets` of results.json) into NAME-*.png; those that there is data for.

    `heading`: from a group of problems to how it is called.
    """
    everything = one["groups"]["all"]
    drawn: list[Path] = []
    if len(everything["pass_at_every_k"]) > 1:
        drawn.append(folder / f"{name}pass_at_k.png")
        pass_at_k(drawn[-1], everything, one["problems"])
    if everything["programs"]:
        drawn.append(folder / f"{name}errors.png")
        error_mix(drawn[-1], {heading(group): found for group, found in one["groups"].items() if found["programs"]})
        drawn.append(folder / f"{name}pass_rate.png")
        pass_rates(drawn[-1], everything)
    return drawn


def pass_at_k(path: Path, figures: Mapping[str, Any], title: str) -> None:
    """pass@k for every k, k on a logarithmic axis; bars: 95% intervals where they were estimated."""
    curve = figures["pass_at_every_k"]
    with style.figure(path) as (_, (axes,)):
        axes.plot(np.arange(1, len(curve) + 1), curve, color=style.BLUE)
        for name, found in figures["metrics"].items():
            if name.startswith("pass@"):
                k, value = int(name.removeprefix("pass@")), found["value"]
                ends = [[max(0.0, value - found["low"])], [max(0.0, found["high"] - value)]]
                axes.errorbar([k], [value], ends, fmt="o", color=style.BLUE, capsize=3)
                axes.annotate(f"{value:.1%}", (k, value), (0, 9), textcoords="offset points", ha="center")
        axes.set(xscale="log", xlabel="k", ylim=(0, 1), title=f"pass@k, {title}")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def error_mix(path: Path, groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Programs that ended in an error by its kind, in percent of all, a bar per difficulty; above it failed and passed
    (Figure 2 of the paper).
    """
    names = list(groups)
    with style.figure(path, width=9.0) as (_, (axes,)):
        bottom = np.zeros(len(names))
        kinds = list(next(iter(groups.values()))["error_mix"]["errors"])
        parts: list[tuple[str, Any, list[int]]] = [
            (kind, colour, [found["error_mix"]["errors"][kind] for found in groups.values()])
            for kind, colour in zip(kinds, _ERROR_COLOURS, strict=False)
        ]
        parts.append(("failure", style.PALE, [found["error_mix"]["failure"] for found in groups.values()]))
        parts.append(("pass", style.tint(style.GREEN, 0.8), [found["error_mix"]["pass"] for found in groups.values()]))
        programs = np.array([found["programs"] for found in groups.values()], float)
        for kind, colour, counts in parts:
            share = np.array(counts) / programs
            if share.any():
                axes.bar(names, share, bottom=bottom, color=colour, label=kind, width=0.6)
            bottom += share
        axes.set(ylim=(0, 1), title="What became of the programs")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))


def pass_rates(path: Path, figures: Mapping[str, Any]) -> None:
    """Share of programs that passes by their length, and by the number of tests of the problem."""
    with style.figure(path, 9.5, 4.2, columns=2) as (_, axes):
        for axis, key, label in (
            (axes[0], "by_length", "length of the program in tokens (characters where it has none)"),
            (axes[1], "by_tests", "tests of the problem"),
        ):
            bins: Sequence[Mapping[str, Any]] = figures[key]
            words = [str(one["from"]) if one["from"] == one["to"] else f"{one['from']}-{one['to']}" for one in bins]
            bars = axis.bar(words, [one["pass_rate"] for one in bins], color=style.BLUE)
            axis.bar_label(bars, [f"{one['programs']:,}" for one in bins], padding=2, fontsize=8, color=style.GREY)
            axis.set(xlabel=label, ylim=(0, 1.05))
            axis.tick_params("x", rotation=45)
            axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes[0].set_ylabel("share that passes")
