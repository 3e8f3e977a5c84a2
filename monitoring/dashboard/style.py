"""The map's elements and style sheet for cytoscape, light and dark.

Every state is a word and a line style; colour only repeats it. A service that is down shows DOWN and has a dashed
border, a degraded one shows why and has a double border; a dropped flow is dashed and has the id of the policy line,
or, between places of one column, the number of packets alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from monitoring.colours import BLUE, ORANGE, VERMILION
from monitoring.dashboard.model import Place, Scene, Way
from monitoring.health.checks import DEGRADED, UP, Check

_COLOURS = {  # ink, paper, faint, red
    "light": ("#1b2733", "#ffffff", "#6b7a88", VERMILION),
    "dark": ("#e8eef4", "#18222c", "#93a4b3", "#ff8a50"),
}
_MAX_ROWS = 7  # a column with more instances has one line for each

PADDING = 16
_THINNEST, _THICKEST = 1.5, 7.0
_BUSY = 500.0  # packets/s of the thickest line
Element = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """How large the map's nodes are, and how far apart, in points of the map: edges' labels fit between."""

    column: int
    row: int
    width: int
    height: int
    font: int
    label: int  # size of the font of edges' labels


_WIDE = Grid(column=250, row=88, width=132, height=62, font=13, label=12)
_COMPACT = Grid(column=290, row=36, width=180, height=28, font=13, label=12)
_NARROW = Grid(column=116, row=118, width=110, height=62, font=13, label=13)


def grid_of(scene: Scene, *, narrow: bool) -> Grid:
    """Return the grid for the map's width and its number of nodes."""
    if _most_rows(scene) > _MAX_ROWS:
        return _COMPACT
    return _NARROW if narrow else _WIDE


def _most_rows(scene: Scene) -> int:
    return max(Counter(place.column for place in scene.places).values())


def map_height(scene: Scene) -> int:
    """Return the pixels that the map needs at full size."""
    grid = grid_of(scene, narrow=False)
    rows = [place.row for place in scene.places]
    return round((max(rows) - min(rows)) * grid.row + grid.height + 2 * PADDING)


def style_sheet(theme: str) -> list[Element]:
    """Return the style sheet for "light" or "dark"."""
    ink, paper, faint, red = _COLOURS[theme]
    return [
        {
            "selector": "node",
            "style": {
                "label": "data(label)", "text-wrap": "wrap", "text-valign": "center", "text-halign": "center",
                "shape": "round-rectangle", "width": "data(width)", "height": "data(height)",
                "font-size": "data(font)", "color": ink,
                "background-color": paper, "border-width": 2, "border-color": BLUE,
            },
        },
        {"selector": "node.unchecked", "style": {"border-color": faint, "border-style": "dotted"}},
        {
            "selector": "node.down",
            "style": {"border-color": red, "border-width": 5, "border-style": "dashed", "color": red},
        },
        {
            "selector": "node.degraded",
            "style": {"border-color": ORANGE, "border-width": 6, "border-style": "double"},
        },
        *_edge_styles(ink, paper, faint, red),
        {"selector": ":selected", "style": {"border-color": BLUE, "line-color": BLUE, "border-width": 4}},
    ]  # fmt: skip


def _edge_styles(ink: str, paper: str, faint: str, red: str) -> list[Element]:
    return [
        {
            "selector": "edge",
            "style": {
                "label": "data(label)", "width": "data(width)", "line-color": faint, "curve-style": "bezier",
                "font-size": "data(font)", "color": ink, "text-background-color": paper, "text-background-opacity": 1,
                "text-background-padding": 2, "text-wrap": "wrap",
            },
        },
        {"selector": "edge.control", "style": {"label": "", "opacity": 0.35, "line-style": "dotted", "width": 1.5}},
        {"selector": "edge.unlabelled", "style": {"label": ""}},
        {
            "selector": "edge.control:selected, edge.unlabelled:selected",
            "style": {"label": "data(label)", "opacity": 1},
        },
        {
            "selector": "edge.dropped",
            "style": {
                "line-color": red, "color": red, "line-style": "dashed", "width": 3, "target-arrow-shape": "tee",
                "target-arrow-color": red, "curve-style": "unbundled-bezier", "control-point-distances": [46],
                "control-point-weights": [0.5], "font-weight": "bold",
            },
        },
    ]  # fmt: skip


def elements(scene: Scene, *, narrow: bool, checks: bool) -> list[Element]:
    """Return the map's nodes and edges: from left to right, or from top to bottom if the page is narrow.

    Without `checks` it leaves out heartbeats, health checks and what else is no customer's traffic.
    """
    grid = grid_of(scene, narrow=narrow)
    turned = narrow and grid is _NARROW
    end = (_most_rows(scene) - 1) / 2
    places = [replace(place, row=min(place.row, end)) for place in scene.places] if turned else scene.places
    return [
        *(_node(place, grid, turned=turned) for place in places),
        *(_edge(way, scene, grid, turned=turned) for way in scene.ways if checks or not way.control),
        *_dropped(scene, grid),
    ]


def _node(place: Place, grid: Grid, *, turned: bool) -> Element:
    across, down = (place.row, place.column) if turned else (place.column, place.row)
    state = [_format_check(place.check)] if place.check else []
    label = (
        "  ".join([place.name, *state])
        if grid is _COMPACT
        else "\n".join([place.name, *state, f"{amount(place.packets_per_second)} packets/s"])
    )
    return {
        "data": {
            "id": place.name, "label": label, "width": grid.width, "height": grid.height, "font": grid.font,
        },
        "position": {"x": across * grid.column, "y": down * grid.row},
        "classes": place.state or "unchecked",
        "grabbable": False,
    }  # fmt: skip


def _format_check(check: Check) -> str:
    if check.state == UP:
        return f"UP {check.milliseconds:.1f} ms"
    return (check.why if check.state == DEGRADED else f"DOWN {check.why}")[:24]


def _edge(way: Way, scene: Scene, grid: Grid, *, turned: bool) -> Element:
    is_blocked = any(
        {way.source, way.destination} == {flow.source, flow.destination} for flow in scene.blocked
    )
    share = min(way.packets_per_second / _BUSY, 1.0) ** 0.5
    label = f"{amount(way.packets_per_second)}/s"
    if not turned:
        label += f"  {amount(way.bytes_per_second)}B/s"
        if way.opened_per_second:
            label += f"\n{amount(way.opened_per_second)} new/s"
    return {
        "data": {
            "id": f"{way.source}|{way.destination}", "source": way.source, "target": way.destination,
            "label": label, "width": _THINNEST + (_THICKEST - _THINNEST) * share, "font": grid.label,
        },
        "classes": "control" if way.control else "unlabelled" if is_blocked or grid is _COMPACT else "way",
    }  # fmt: skip


def _dropped(scene: Scene, grid: Grid) -> list[Element]:
    columns = {place.name: place.column for place in scene.places}
    return [
        {
            "data": {
                "id": f"{flow.source}|{flow.destination}|{flow.policy_id}", "source": flow.source,
                "target": flow.destination, "width": 3, "font": grid.label,
                "label": f"{flow.packets} dropped"
                if columns[flow.source] == columns[flow.destination]  # there is no room for more
                else f"{flow.policy_id}: {flow.packets} dropped",
            },
            "classes": "dropped",
        }
        for flow in scene.blocked
    ]  # fmt: skip


def amount(value: float) -> str:
    """Format a number in at most four characters and a unit."""
    for unit in ("", "k", "M", "G"):
        if abs(value) < 1000 or unit == "G":  # noqa: PLR2004 - SI
            return f"{value:.1f}{unit}" if 0 < abs(value) < 10 else f"{value:.0f}{unit}"  # noqa: PLR2004 - two digits
        value /= 1000
    return ""
