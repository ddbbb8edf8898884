"""Draws docs/architecture.svg from the code: rooms in layers by who imports whom, with the packages of each.

`python scripts/architecture.py` writes it, with `--check` it says whether the one that is there is up to date.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

import grimp

ROOT = Path(__file__).resolve().parents[1]
SVG = ROOT / "docs" / "architecture.svg"
WIDTH, BOX_WIDTH, BOX_HEIGHT, LAYER_HEIGHT, MARGIN = 980, 164, 48, 112, 16

Edges = Mapping[str, frozenset[str]]
"""Room -> the rooms that it imports."""


def imports_between_rooms() -> tuple[Edges, set[tuple[str, str]]]:
    """Who imports whom; and the pairs by which it goes round, which the drawing shows as going up."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph("rltf", cache_dir=None)
    rooms = {module.split(".")[1] for module in graph.modules if "." in module}
    edges: dict[str, set[str]] = {room: set() for room in rooms}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if "." in module and "." in imported and module.split(".")[1] != imported.split(".")[1]:
                edges[module.split(".")[1]].add(imported.split(".")[1])
    up = {(one.split(".")[1], other.split(".")[1]) for one, other in graph.nominate_cycle_breakers("rltf")}
    return {room: frozenset(imported) for room, imported in edges.items()}, up


def guarded_packages() -> dict[str, list[str]]:
    """Room -> the packages that the import contracts leave to it and few others."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found: dict[str, list[str]] = {}
    for contract in contracts:
        packages = [name for name in contract.get("protected_modules", ()) if not name.startswith("rltf")]
        for importer in contract.get("allowed_importers", ()) if packages else ():
            if importer.split(".")[1] != "*":
                found.setdefault(importer.split(".")[1], []).extend(packages)
    return found


def ground_of(edges: Edges) -> list[str]:
    """Rooms that most others import and that import only each other: their arrows would hide the rest."""
    users = {room: sum(room in imported for imported in edges.values()) for room in edges}
    common = {room for room in edges if users[room] * 3 >= (len(edges) - 1) * 2}
    return sorted(room for room in common if edges[room] <= common)


def layers_of(edges: Edges) -> list[list[str]]:
    """Rooms from the top down, each in the first layer below all that import it."""
    depth: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in depth:
            depth[room] = max((of(importer) + 1 for importer in edges if room in edges[importer]), default=0)
        return depth[room]

    layers: list[list[str]] = [[] for _ in range(max(map(of, edges)) + 1)]
    for room in sorted(edges):
        layers[depth[room]].append(room)
    return layers


def places_of(layers: list[list[str]], arrows: set[tuple[str, str]]) -> dict[str, float]:
    """Where each room stands from left to right: below those that import it, as far as there is room."""
    places: dict[str, float] = {}
    gap, least, greatest = BOX_WIDTH + MARGIN, MARGIN + BOX_WIDTH / 2, WIDTH - MARGIN - BOX_WIDTH / 2
    for layer in layers:
        wanted = {}
        for room in layer:
            above = [places[importer] for importer, imported in sorted(arrows) if imported == room]
            wanted[room] = sum(above) / len(above) if above else WIDTH / 2
        ordered = sorted(layer, key=lambda room: (round(wanted[room]), room))
        found: list[float] = []
        for room in ordered:
            found.append(max(wanted[room], found[-1] + gap) if found else wanted[room])
        shift = sum(wanted[room] - place for room, place in zip(ordered, found, strict=True)) / len(ordered)
        shift = max(least - found[0], min(shift, greatest - found[-1]))
        places |= {room: place + shift for room, place in zip(ordered, found, strict=True)}
    return places


def necessary(edges: Edges) -> set[tuple[str, str]]:
    """The imports that do not follow from others: A to B, where A imports nothing that leads to B."""
    reach: dict[str, set[str]] = {}

    def reached(room: str) -> set[str]:
        if room not in reach:
            reach[room] = set(edges[room]).union(*(reached(imported) for imported in edges[room]))
        return reach[room]

    return {
        (room, imported)
        for room in edges
        for imported in edges[room]
        if not any(imported in reached(other) for other in edges[room] - {imported})
    }


def draw() -> str:
    """The drawing as SVG text, the same for the same imports."""
    every, up = imports_between_rooms()
    downward = {
        room: frozenset(other for other in imported if (room, other) not in up) for room, imported in every.items()
    }
    ground = ground_of(downward)
    edges = {room: imported - frozenset(ground) for room, imported in downward.items() if room not in ground}
    layers, packages, strong = layers_of(edges), guarded_packages(), necessary(edges)
    places, boxes = places_of(layers, strong), {}
    for number, layer in enumerate(layers):
        boxes |= {room: Box(places[room], _y(number), BOX_WIDTH) for room in layer}
    for place, room in enumerate(ground):
        width = (WIDTH - MARGIN) / len(ground)
        boxes[room] = Box(MARGIN / 2 + (place + 0.5) * width, _y(len(layers)), width - MARGIN)
    height = MARGIN * 2 + len(layers) * LAYER_HEIGHT + BOX_HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        "<title>The rooms of the code in layers; an arrow goes from a room to one that it imports</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    pairs = [(room, other) for room in edges for other in every[room] if other not in ground or (room, other) in up]
    for room, other in sorted(pairs, key=lambda pair: (pair in strong, pair)):
        colour = "#c33" if (room, other) in up else "#345" if (room, other) in strong else "#d5d9e0"
        lines += _arrow(boxes[room], boxes[other], colour)
    for room, box in sorted(boxes.items()):
        lines += _drawn(
            box, room, ", ".join(packages.get(room, ())) or ("most rooms import it" if room in ground else "")
        )
    return "\n".join([*lines, "</svg>", ""])


def _y(layer: int) -> float:
    return MARGIN + layer * LAYER_HEIGHT + BOX_HEIGHT / 2


class Box(NamedTuple):
    """Where a room is drawn: the centre, and the width."""

    x: float
    y: float
    width: float


def _arrow(start: Box, end: Box, colour: str) -> list[str]:
    down = 1 if start.y < end.y else -1
    x1, y1, x2, y2 = start.x, start.y + down * BOX_HEIGHT / 2, end.x, end.y - down * BOX_HEIGHT / 2
    bend = (y2 - y1) / 2
    line = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    tip = f"M{x2:.0f} {y2:.0f}l-4 {-8 * down}h8z"
    return [
        f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>',
        f'<path d="{tip}" fill="{colour}"/>',
    ]


def _drawn(box: Box, room: str, below: str) -> list[str]:
    left, top = box.x - box.width / 2, box.y - BOX_HEIGHT / 2
    frame = f'x="{left:.0f}" y="{top:.0f}" width="{box.width:.0f}" height="{BOX_HEIGHT}" rx="6"'
    name_y = box.y - 2 if below else box.y + 5
    lines = [
        f'<rect {frame} fill="#eef2fb" stroke="#345"/>',
        f'<text x="{box.x:.0f}" y="{name_y:.0f}" text-anchor="middle" font-size="15">{escape(room)}</text>',
    ]
    if below:
        place = f'x="{box.x:.0f}" y="{box.y + 15:.0f}" text-anchor="middle" font-size="11" fill="#567"'
        lines.append(f"<text {place}>{escape(below)}</text>")
    return lines


def main() -> int:
    """Writes the drawing, or with `--check` compares it: 1 where it is out of date."""
    text = draw()
    if "--check" not in sys.argv[1:]:
        SVG.write_text(text)
        return 0
    if SVG.exists() and SVG.read_text() == text:
        return 0
    print("docs/architecture.svg is out of date: .venv/bin/python scripts/architecture.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
