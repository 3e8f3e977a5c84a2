"""Where the map's nodes are, and how large the map is: tiers from left to right, on a phone from top to bottom."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from monitoring.dashboard.model import Scene

WIDTHS = NARROW, WIDE, LARGE = "narrow", "wide", "large"  # of the page: a phone, a screen, a projector
_MAX_ROWS = 7  # a tier with more instances has one line of text for each
_ACROSS, _WRAPPED_ACROSS = 4, 3  # nodes beside one another on a phone; fewer if a tier has more than fit
_PAGE_POINTS = 372  # width of the map on a phone of 390 points
MAX_ZOOM = 1.4


@dataclass(frozen=True)
class Grid:
    """How large the map's nodes are, and how far apart, in points of the map: edges' labels fit between."""

    column: int
    row: int
    width: int
    height: int
    font: int
    label: int  # size of the font of edges' labels; 0: an edge has a label only when it is chosen
    padding: int = 16


_GRID = Grid(column=250, row=88, width=132, height=62, font=13, label=12)
_COMPACT = Grid(column=304, row=36, width=204, height=28, font=13, label=0)
_PHONE = Grid(column=116, row=118, width=110, height=62, font=13, label=13, padding=6)
_WRAPPED = Grid(column=116, row=64, width=110, height=48, font=13, label=0, padding=6)


def grid_of(scene: Scene, width: str) -> Grid:
    """Return the grid for the width of the page and the number of nodes."""
    most = max(Counter(place.column for place in scene.places).values())
    if width == NARROW:
        return _PHONE if most <= _ACROSS else _WRAPPED
    return _GRID if most <= _MAX_ROWS else _COMPACT


def find_positions(scene: Scene, width: str) -> dict[str, tuple[float, float]]:
    """Return the centre of each node in points of the map."""
    grid = grid_of(scene, width)
    if width != NARROW:
        return {place.name: (place.column * grid.column, place.row * grid.row) for place in scene.places}
    tiers: defaultdict[int, list[str]] = defaultdict(list)
    for place in sorted(scene.places, key=lambda place: place.row):
        tiers[place.column].append(place.name)
    across = _ACROSS if grid is _PHONE else _WRAPPED_ACROSS
    lines = [
        names[at : at + across] for _, names in sorted(tiers.items()) for at in range(0, len(names), across)
    ]
    return {
        name: ((at - (len(names) - 1) / 2) * grid.column, line * grid.row)
        for line, names in enumerate(lines)
        for at, name in enumerate(names)
    }


def map_height(scene: Scene, width: str) -> int:
    """Return the pixels that the map needs to be as wide as the page."""
    grid, positions = grid_of(scene, width), find_positions(scene, width).values()
    across = max(x for x, _ in positions) - min(x for x, _ in positions) + grid.width
    down = max(y for _, y in positions) - min(y for _, y in positions) + grid.height
    zoom = {NARROW: min((_PAGE_POINTS - 2 * grid.padding) / across, MAX_ZOOM), WIDE: 1.0, LARGE: MAX_ZOOM}[
        width
    ]
    return round(down * (1.0 if grid is _COMPACT else zoom) + 2 * grid.padding)
