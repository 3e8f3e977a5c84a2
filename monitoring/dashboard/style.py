"""The map's elements and style sheet for cytoscape, light and dark.

Every state is a word and a line style; colour only repeats it. A service that is down shows DOWN and has a dashed
border, a degraded one shows why and has a double border; a dropped flow is dashed and has the id of the policy line.
"""

from __future__ import annotations

from typing import Any

from monitoring.colours import BLUE, ORANGE, VERMILION
from monitoring.dashboard.model import Place, Scene, Way
from monitoring.health.checks import DEGRADED, UP, Check

_COLOURS = {  # ink, paper, faint, red
    "light": ("#1b2733", "#ffffff", "#6b7a88", VERMILION),
    "dark": ("#e8eef4", "#18222c", "#93a4b3", "#ff8a50"),
}
_COLUMN_WIDTH, _ROW_HEIGHT = 172, 104  # points of the map
_NARROW_WIDTH, _NARROW_HEIGHT = 142, 150
_THINNEST, _THICKEST = 1.5, 7.0
_BUSY = 500.0  # packets/s of the thickest line
Element = dict[str, Any]


def style_sheet(theme: str) -> list[Element]:
    """Return the style sheet for "light" or "dark"."""
    ink, paper, faint, red = _COLOURS[theme]
    return [
        {
            "selector": "node",
            "style": {
                "label": "data(label)", "text-wrap": "wrap", "text-valign": "center", "text-halign": "center",
                "shape": "round-rectangle", "width": 128, "height": 58, "font-size": 12, "color": ink,
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
                "font-size": 9, "color": ink, "text-background-color": paper, "text-background-opacity": 0.85,
                "text-background-padding": 2, "text-wrap": "wrap",
            },
        },
        {"selector": "edge.control", "style": {"label": "", "opacity": 0.35, "line-style": "dotted", "width": 1.5}},
        {"selector": "edge.control:selected", "style": {"label": "data(label)", "opacity": 1}},
        {
            "selector": "edge.dropped",
            "style": {
                "line-color": red, "color": red, "line-style": "dashed", "width": 3, "target-arrow-shape": "tee",
                "target-arrow-color": red, "curve-style": "unbundled-bezier", "control-point-distances": [46],
                "control-point-weights": [0.5], "font-weight": "bold",
            },
        },
    ]  # fmt: skip


def elements(scene: Scene, *, narrow: bool) -> list[Element]:
    """Return the map's nodes and edges: from left to right, or from top to bottom if the page is narrow."""
    return [
        *(_node(place, narrow=narrow) for place in scene.places),
        *map(_edge, scene.ways),
        *_dropped(scene),
    ]


def _node(place: Place, *, narrow: bool) -> Element:
    wide = {"x": place.column * _COLUMN_WIDTH, "y": place.row * _ROW_HEIGHT}
    lines = [place.name, *([_format_check(place.check)] if place.check else [])]
    label = "\n".join([*lines, f"{amount(place.packets_per_second)} packets/s"])
    return {
        "data": {"id": place.name, "label": label},
        "position": {"x": place.row * _NARROW_WIDTH, "y": place.column * _NARROW_HEIGHT} if narrow else wide,
        "classes": place.state or "unchecked",
        "grabbable": False,
    }


def _format_check(check: Check) -> str:
    if check.state == UP:
        return f"UP {check.milliseconds:.1f} ms"
    return (check.why if check.state == DEGRADED else f"DOWN {check.why}")[:24]


def _edge(way: Way) -> Element:
    share = min(way.packets_per_second / _BUSY, 1.0) ** 0.5
    label = f"{amount(way.packets_per_second)}/s  {amount(way.bytes_per_second)}B/s"
    if way.opened_per_second:
        label += f"\n{amount(way.opened_per_second)} new/s"
    return {
        "data": {
            "id": f"{way.source}|{way.destination}", "source": way.source, "target": way.destination,
            "label": label, "width": _THINNEST + (_THICKEST - _THINNEST) * share,
        },
        "classes": "control" if way.control else "way",
    }  # fmt: skip


def _dropped(scene: Scene) -> list[Element]:
    return [
        {
            "data": {
                "id": f"{flow.source}|{flow.destination}|{flow.policy_id}", "source": flow.source,
                "target": flow.destination, "label": f"{flow.policy_id}: {flow.packets} dropped", "width": 3,
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
