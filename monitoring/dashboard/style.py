"""The map's elements and style sheet for cytoscape, light and dark.

Every state is a word and a line style; colour only repeats it. A service that is down shows DOWN and has a dashed
border, a degraded one shows why and has a double border; a dropped flow is dashed and has the id of the policy line,
or, between places of one column, the number of packets alone. Many of them at once, as of a proof or a scan, have no
labels: the table of drops has the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.colours import BLUE, ORANGE, VERMILION
from lab.escape import shortened
from monitoring.dashboard.grid import NARROW, Grid, find_positions, grid_of
from monitoring.dashboard.model import Place, Scene, Way
from monitoring.health.checks import DEGRADED, UP, Check

_COLOURS = {  # ink, paper, faint, red, blue
    "light": ("#1b2733", "#ffffff", "#6b7a88", VERMILION, BLUE),
    "dark": ("#e8eef4", "#18222c", "#93a4b3", "#ff8a50", "#56b4e9"),
}
_THINNEST, _THICKEST = 1.5, 7.0
_BUSY = 500.0  # packets/s of the thickest line
_ONE_LINE = 40  # a node that is less high has one line of text
_WHOLE = 100  # milliseconds; longer times are shown without decimals
_MAX_LABELLED_DROPS = 6  # flows; labels of more would lie over each other
_MAX_STATE = 22  # characters that fit into a node
Element = dict[str, Any]


def style_sheet(theme: str) -> list[Element]:
    """Return the style sheet for "light" or "dark"."""
    ink, paper, faint, red, blue = _COLOURS[theme]
    return [
        {
            "selector": "node",
            "style": {
                "label": "data(label)", "text-wrap": "wrap", "text-valign": "center", "text-halign": "center",
                "shape": "round-rectangle", "width": "data(width)", "height": "data(height)",
                "font-size": "data(font)", "color": ink,
                "background-color": paper, "border-width": 2, "border-color": blue,
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
        {"selector": ".chosen", "style": {"border-color": blue, "line-color": blue, "border-width": 5}},
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
        {"selector": "edge.control", "style": {"label": "", "opacity": 0.7, "line-style": "dotted", "width": 1.5}},
        {"selector": "edge.unlabelled", "style": {"label": ""}},
        {
            "selector": "edge.control.chosen, edge.unlabelled.chosen",
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


def elements(scene: Scene, chosen: Sequence[str] = (), *, width: str, checks: bool) -> list[Element]:
    """Return the map's nodes and edges: from left to right, or from top to bottom if the page is narrow.

    Without `checks` it leaves out heartbeats, health checks and other traffic that no customer causes. The chosen place
    or flow has the class `chosen`.
    """
    found = _elements(scene, width, checks=checks)
    for element in found:
        data = element["data"]
        ends = [data["source"], data["target"]] if "source" in data else [data["id"]]
        if sorted(ends) == sorted(chosen):
            element["classes"] += " chosen"
    return found


def _elements(scene: Scene, width: str, *, checks: bool) -> list[Element]:
    grid, positions = grid_of(scene, width), find_positions(scene, width)
    short = width == NARROW
    return [
        *(_node(place, grid, positions[place.name]) for place in scene.places),
        *(_edge(way, scene, grid, short=short) for way in scene.ways if checks or not way.control),
        *_dropped(scene, grid),
    ]


def _node(place: Place, grid: Grid, position: tuple[float, float]) -> Element:
    state = [_format_check(place.check, grid)] if place.check else []
    rate = f"{amount(place.packets_per_second)} packets/s"
    if grid.height < _ONE_LINE:
        label = "  ".join([place.name, *state])
    else:
        label = "\n".join([place.name, *state, *([rate] if grid.label else [])])
    return {
        "data": {
            "id": place.name, "label": label, "width": grid.width, "height": grid.height, "font": grid.font,
        },
        "position": {"x": position[0], "y": position[1]},
        "classes": place.state or "unchecked",
        "grabbable": False,
    }  # fmt: skip


def _format_check(check: Check, grid: Grid) -> str:
    if check.state == UP:
        return f"UP {check.milliseconds:.{1 if check.milliseconds < _WHOLE else 0}f} ms"
    if not grid.label:  # there is no room for why; the panel has it
        return check.state.upper()
    return shortened(check.why if check.state == DEGRADED else f"DOWN {check.why}", _MAX_STATE)


def _edge(way: Way, scene: Scene, grid: Grid, *, short: bool) -> Element:
    is_blocked = any(
        {way.source, way.destination} == {flow.source, flow.destination} for flow in scene.blocked
    )
    share = min(way.packets_per_second / _BUSY, 1.0) ** 0.5
    label = f"{amount(way.packets_per_second)}/s"
    if not short:
        label += f"  {amount(way.bytes_per_second)}B/s"
        if way.opened_per_second:
            label += f"\n{amount(way.opened_per_second)} new/s"
    return {
        "data": {
            "id": f"{way.source}|{way.destination}", "source": way.source, "target": way.destination,
            "label": label, "width": _THINNEST + (_THICKEST - _THINNEST) * share, "font": grid.label or grid.font,
        },
        "classes": "control" if way.control else "unlabelled" if is_blocked or not grid.label else "way",
    }  # fmt: skip


def _dropped(scene: Scene, grid: Grid) -> list[Element]:
    columns = {place.name: place.column for place in scene.places}
    classes = "dropped unlabelled" if len(scene.blocked) > _MAX_LABELLED_DROPS else "dropped"
    return [
        {
            "data": {
                "id": f"{flow.source}|{flow.destination}|{flow.policy_id}", "source": flow.source,
                "target": flow.destination, "width": 3, "font": grid.label or grid.font,
                "label": f"{flow.packets} dropped"
                if columns[flow.source] == columns[flow.destination]  # there is no room for more
                else f"{flow.policy_id}: {flow.packets} dropped",
            },
            "classes": classes,
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
