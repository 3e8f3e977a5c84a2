"""The charts of the page as figures of plotly: packets a second, and a service's health, over the kept time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dash import dcc

from lab.colours import ORANGE, VERMILION
from monitoring.dashboard.window import KEPT_SECONDS
from monitoring.health.checks import DEGRADED, Check

_HEIGHT = 150
_BLUE = "#2f8fd0"  # 3:1 or more on the cards of both themes
Figure = dict[str, Any]


def packets(points: Sequence[tuple[int, int]]) -> Figure:
    """Return the chart of packets a second, of (second, packets)."""
    trace = {
        "x": [datetime.fromtimestamp(second) for second, _ in points], "y": [packets for _, packets in points],
        "type": "scatter", "mode": "lines", "line": {"color": _BLUE, "width": 1.5}, "fill": "tozeroy",
        "name": "packets/s",
    }  # fmt: skip
    return _figure([trace], points[-1][0] if points else 0, "packets/s")


def health(checks: Sequence[Check]) -> Figure:
    """Return the chart of a service's latency; a cross is a check without an answer, a diamond a degraded service."""
    answered = {
        "x": [datetime.fromtimestamp(check.time) for check in checks],
        "y": [check.milliseconds if check.up else None for check in checks],
        "type": "scatter", "mode": "lines+markers" if len(checks) == 1 else "lines", "connectgaps": False,
        "line": {"color": _BLUE, "width": 1.5}, "name": "answered", "hovertemplate": "%{y:.1f} ms",
    }  # fmt: skip
    traces = [answered]
    for name, symbol, colour, found in (
        ("DOWN", "x", VERMILION, [check for check in checks if not check.up]),
        ("degraded", "diamond", ORANGE, [check for check in checks if check.state == DEGRADED]),
    ):
        if found:
            traces.append(
                {
                    "x": [datetime.fromtimestamp(check.time) for check in found],
                    "y": [check.milliseconds if check.up else 0 for check in found],
                    "type": "scatter", "mode": "markers",
                    "marker": {"symbol": symbol, "color": colour, "size": 8}, "name": name,
                    "text": [check.why for check in found], "hovertemplate": "%{text}",
                }
            )  # fmt: skip
    return _figure(traces, checks[-1].time if checks else 0, "ms", legend=len(traces) > 1)


def _figure(traces: list[Figure], end: float, unit: str, *, legend: bool = False) -> Figure:
    layout = {
        "height": _HEIGHT, "margin": {"l": 46, "r": 12, "t": 6, "b": 28}, "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": "#7b8a98", "size": 12}, "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.2, "x": 1, "xanchor": "right"},
        "yaxis": {
            "rangemode": "tozero", "gridcolor": "rgba(128,128,128,0.25)", "nticks": 5,
            "title": {"text": unit, "standoff": 4},
        },
        "xaxis": {
            "type": "date",
            "gridcolor": "rgba(128,128,128,0.15)", "tickformat": "%H:%M", "nticks": 8,
            "range": [datetime.fromtimestamp(end - KEPT_SECONDS), datetime.fromtimestamp(end)],
        },
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def graph(identifier: Any, figure: Figure | None = None) -> dcc.Graph:
    """Return the component of a chart; without a figure it is empty."""
    empty = _figure([], 0, "")
    return dcc.Graph(
        figure=figure or empty, id=identifier, config={"displayModeBar": False}, className="graph",
        style={"height": f"{_HEIGHT}px"},
    )  # fmt: skip
