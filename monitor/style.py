"""How the plots look: one style, colours that colour-blind readers can tell apart (Okabe and Ito, 2008), labels at the
lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from rltf.config import atomic_write

matplotlib.use("Agg")

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
)
INK, GREY, PALE = "#222222", "#767676", "#DDDDDD"
SERIES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, GREY)

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.labelsize": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#EBEBEB",
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
}


@contextmanager
def figure(
    path: Path, width: float = 8.0, height: float = 4.5, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in the project's style (inches), written to `path` as PNG when the block ends without an exception."""
    with plt.rc_context(_STYLE):
        drawn, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)
        try:
            yield drawn, list(axes.flat)
            with atomic_write(path) as temporary:
                drawn.savefig(temporary, format="png")
        finally:
            plt.close(drawn)


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with white; `share` of it is left."""
    red, green, blue = to_rgb(colour)
    return (1 - share * (1 - red), 1 - share * (1 - green), 1 - share * (1 - blue))


def end_labels(
    axes: Axes, labels: Sequence[tuple[float, str, object]], gap: float = 0.055, squares: bool = False
) -> None:
    """Writes (y, text, colour) just right of the axes, moved apart vertically where they would overlap (gap: share of
    the height).

    With `squares` the text is black behind a square of the colour, for colours too light to read.
    """
    low, high = axes.get_ylim()
    least = gap * (high - low)
    placed = sorted(labels, key=lambda label: label[0])
    heights = [min(max(label[0], low), high) for label in placed]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + least)
    excess = (heights[-1] - high) if heights else 0.0
    if excess > 0:
        heights[-1] -= excess
        for i in range(len(heights) - 2, -1, -1):
            heights[i] = min(heights[i], heights[i + 1] - least)
    for height, (_, text, colour) in zip(heights, placed, strict=True):
        place: dict[str, Any] = {
            "xy": (1.0, height),
            "xycoords": ("axes fraction", "data"),
            "textcoords": "offset points",
            "va": "center",
            "fontsize": 10,
        }
        if squares:
            axes.annotate("■", xytext=(6, 0), color=colour, **place)
        axes.annotate(text, xytext=(19 if squares else 6, 0), color=INK if squares else colour, **place)
