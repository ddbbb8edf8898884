"""The pictures of a report, one function each; all write a PNG and draw nothing that is not in the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rltf.monitor import style
from rltf.monitor.timeline import Counts, Timeline, binned, clipped
from rltf.telemetry.recorder import Row
from rltf.telemetry.vocabulary import OUTCOME_WORDS, PRODUCTS, kind_of, outcome_shares, plural

Colour = tuple[float, float, float]

KIND_COLOURS = {"learner": style.RED, "actor": style.BLUE, "executor": style.GREEN}
_ERROR_COLOURS = (style.ORANGE, style.RED, style.PURPLE, style.SKY, style.BLUE, style.YELLOW, style.GREEN)


def held_out_curve(path: Path, rows: Sequence[Row], title: str = "Held-out pass@1") -> None:
    """Held-out pass@1 over learner steps and over RL seconds; band: one standard error; dashed: the warm start (the
    first row).
    """
    start = rows[0]["pass@1"]
    with style.figure(path, 9.5, 4.2, columns=2, sharey=True) as (drawn, axes):
        drawn.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        for axis, key, label in (
            (axes[0], "step", "learner steps"),
            (axes[1], "seconds", "seconds since the first training program"),
        ):
            x, y = np.array([row[key] for row in rows], float), np.array([row["pass@1"] for row in rows], float)
            error = np.array([row.get("pass@1_se", 0.0) for row in rows], float)
            axis.fill_between(x, y - error, y + error, color=style.BLUE, alpha=0.15, linewidth=0)
            axis.plot(x, y, color=style.BLUE, marker="o", markersize=4)
            axis.axhline(start, color=style.GREY, linestyle=(0, (4, 3)), linewidth=1.3)
            axis.set(xlabel=label, ylim=(0, 1))
            axis.set_xlim(-0.02 * x[-1], 1.04 * x[-1])
            axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
            axis.annotate(
                f"{y[-1]:.2f}",
                (x[-1], y[-1]),
                (0, 8),
                textcoords="offset points",
                ha="center",
                color=style.BLUE,
                fontweight="bold",
            )
        above = start < 0.9
        place: dict[str, Any] = {"ha": "right", "va": "bottom" if above else "top", "color": style.GREY, "fontsize": 10}
        offset = (0, 4 if above else -4)
        axes[0].annotate(
            f"warm start {start:.2f}", (0.98, start), offset, ("axes fraction", "data"), "offset points", **place
        )
        axes[0].set_ylabel("share of programs that pass")


def error_types(path: Path, rows: Sequence[Row], most: int = 7) -> None:
    """Share of the training batches' programs by error type over learner steps, stacked; what is left white passed.

    The `most` - 1 most frequent types have a band each, the rest are one. Steps are averaged in up to 60 groups.
    """
    chunks = [chunk for chunk in np.array_split(np.arange(len(rows)), min(60, len(rows))) if len(chunk)]
    totals: Counter[str] = Counter()
    for row in rows:
        totals.update(row.get("error_types", {}))
    names = [name for name, _ in totals.most_common(most if len(totals) <= most else most - 1)]
    steps = [float(np.mean([rows[i]["step"] for i in chunk])) for chunk in chunks]
    bands: dict[str, list[float]] = {name: [] for name in names}
    if len(totals) > most:
        bands["other errors"] = []
    for chunk in chunks:
        mix: Counter[str] = Counter()
        for i in chunk:
            mix.update(rows[i].get("error_types", {}))
        programs = max(1, sum(sum(rows[i].get("outcomes", {}).values()) for i in chunk))
        for name in names:
            bands[name].append(mix[name] / programs)
        if len(totals) > most:
            bands["other errors"].append(sum(count for name, count in mix.items() if name not in names) / programs)
    with style.figure(path, 8.5, 4.5) as (_, (axis,)):
        axis.set_title("Error types of the programs trained on")
        colours = [*_ERROR_COLOURS[: len(names)], style.PALE]
        axis.stackplot(steps, list(bands.values()), colors=colours, linewidth=0.6, edgecolor="white")
        axis.set(
            xlabel="learner steps",
            ylabel="share of programs",
            xlim=(steps[0], max(steps[-1], steps[0] + 1)),
            ylim=(0, 1),
        )
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        bottom = 0.0
        labels: list[tuple[float, str, object]] = []
        for (name, shares), colour in zip(bands.items(), colours, strict=False):
            labels.append((bottom + shares[-1] / 2, f"{name} {shares[-1]:.0%}", colour))
            bottom += shares[-1]
        labels.append(((1 + bottom) / 2, f"passed {1 - bottom:.0%}", "white"))
        style.end_labels(axis, labels, squares=True)


def throughput(path: Path, counts: Counts, begin: float, end: float) -> None:
    """Programs per second generated, graded and trained over the training window, smoothed over a twentieth of it (at
    least 6 s).
    """
    edges = np.linspace(begin, end, max(2, min(2000, int((end - begin) / 0.5))) + 1)
    middle = (edges[:-1] + edges[1:]) / 2 - begin
    reach = max(1, round(max(6.0, (end - begin) / 20) / (edges[1] - edges[0])))
    kernel = np.bartlett(2 * min(reach, (len(middle) - 1) // 2) + 3)[1:-1]
    with style.figure(path, 8.5, 4.2) as (_, (axis,)):
        axis.set_title("Throughput")
        labels = []
        for product in PRODUCTS:
            rate = counts.per_second(product, edges)
            smooth = np.convolve(rate, kernel, "same") / np.convolve(np.ones_like(rate), kernel, "same")
            axis.plot(middle, smooth, color=KIND_COLOURS[product.kind], linewidth=1.8)
            labels.append((float(smooth[-1]), f"{product.verb} (mean {np.mean(rate):.0f})", KIND_COLOURS[product.kind]))
        axis.set(xlabel="seconds since the first training program", ylabel="programs per second", xlim=(0, end - begin))
        axis.set_ylim(bottom=0)
        style.end_labels(axis, labels)


def run_timeline(
    path: Path, spans: Timeline, begin: float, end: float, window: tuple[float, float] | None, zoom_s: float = 20.0
) -> None:
    """Who worked and who waited for whom: the whole run from `begin` to `end`, and `zoom_s` seconds from the middle of
    `window`.

    One row per worker. Full colour: work, the shade tells the phase; pale: waiting, in the colour of the part waited
    for. In the upper picture the height of a colour is its share of the time; the lower one shows every single phase.
    """
    roles = [role for role in spans if kind_of(role) in KIND_COLOURS]
    colours = phase_colours(spans)
    low, high = window or (begin, end)
    middle = (low + high) / 2
    zoom = (max(low, middle - zoom_s / 2), min(high, middle + zoom_s / 2))
    height = 2.6 + 2 * 0.42 * len(roles) + 0.25 * ((len(colours) + 4) // 4)
    with style.figure(path, 11.0, height, rows=2) as (drawn, (whole, detail)):
        whole.set_title("The whole run (height: share of the time)")
        detail.set_title(f"{zoom[1] - zoom[0]:.0f} seconds of it, every phase")
        edges = np.linspace(begin, end, max(10, min(120, int((end - begin) / 4))) + 1)
        steps = np.repeat(edges, 2)[1:-1] - begin
        for index, role in enumerate(roles):
            bottom = np.full(len(edges) - 1, index + 0.42)
            bins = binned(spans[role], edges)
            for key in sorted(bins, key=lambda key: list(colours).index(key)):
                top = bottom - 0.84 * bins[key]
                whole.fill_between(steps, np.repeat(bottom, 2), np.repeat(top, 2), color=colours[key], linewidth=0)
                bottom = top
            shown = clipped(spans[role], *zoom)
            for key in colours:
                bars = [(span.start - begin, span.seconds) for span in shown if _key(span.name, span.waits_for) == key]
                if bars:
                    detail.broken_barh(bars, (index - 0.42, 0.84), color=colours[key], linewidth=0)
        whole.axvspan(zoom[0] - begin, zoom[1] - begin, facecolor="none", edgecolor=style.INK, linewidth=1)
        for axis, limits in ((whole, (0.0, end - begin)), (detail, (zoom[0] - begin, zoom[1] - begin))):
            axis.set(xlim=limits, ylim=(len(roles) - 0.5, -0.5), yticks=range(len(roles)), yticklabels=roles)
            axis.grid(False)
            axis.tick_params(axis="y", length=0)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]))
            axis.spines["left"].set_visible(False)
        detail.set_xlabel("seconds since the start of the run")
        present = {_key(span.name, span.waits_for) for role in roles for span in spans[role]}
        handles = [
            Patch(color=colour, label=_words(key, roles), linewidth=0)
            for key, colour in colours.items()
            if key in present
        ]
        drawn.legend(handles=handles, loc="outside lower left", ncols=4, handlelength=1.2, columnspacing=1.6)


def _key(name: str, waits_for: str | None) -> tuple[str, str | None]:
    return ("wait", waits_for) if waits_for is not None else (name, None)


def _words(key: tuple[str, str | None], roles: Sequence[str]) -> str:
    name, part = key
    if part is None:
        return name.replace("_", " ")
    number = sum(kind_of(role) == part for role in roles)
    return f"waits for {plural(part, number) if number else part}"


def phase_colours(spans: Timeline) -> dict[tuple[str, str | None], Colour]:
    """A colour for each (phase, None) and ("wait", part): work in shades of the worker's own colour, the longest phase
    the fullest.
    """
    seconds: dict[str, dict[str, float]] = {kind: {} for kind in KIND_COLOURS}
    waits: set[str] = set()
    for role, role_spans in spans.items():
        if (kind := kind_of(role)) in KIND_COLOURS:
            for span in role_spans:
                if span.waits_for is None:
                    seconds[kind][span.name] = seconds[kind].get(span.name, 0.0) + span.seconds
                else:
                    waits.add(span.waits_for)
    colours: dict[tuple[str, str | None], Colour] = {}
    for kind, phases in seconds.items():
        for rank, name in enumerate(sorted(phases, key=lambda name: -phases[name])):
            if (name, None) not in colours:
                colours[name, None] = _shade(KIND_COLOURS[kind], rank)
    for part in sorted(waits, key=lambda part: (part not in KIND_COLOURS, part)):
        colours["wait", part] = style.tint(KIND_COLOURS.get(part, style.GREY), 0.22)
    return colours


def _shade(colour: str, rank: int) -> Colour:
    """Full, darker, lighter, then ever lighter shades."""
    red, green, blue = style.tint(colour, 1.0)
    if rank % 2:
        factor = max(0.25, 1 - 0.3 * (rank + 1) / 2 - 0.15)
        return (red * factor, green * factor, blue * factor)
    return style.tint(colour, max(0.45, 1 - 0.28 * rank / 2))


def outcome_words(outcomes: Mapping[str, int]) -> str:
    """ "passed 61%, wrong answer 20%, ..."; empty for none."""
    return ", ".join(f"{OUTCOME_WORDS[name]} {share:.1%}" for name, share in outcome_shares(outcomes).items())
