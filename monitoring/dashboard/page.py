"""The parts of the page as Dash components."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import dash_cytoscape as cyto  # type: ignore[import-untyped] # it has no types
from dash import dcc, html

from monitoring.colours import BLUE, VERMILION
from monitoring.dashboard import style
from monitoring.dashboard.details import Rows
from monitoring.dashboard.model import Model, Scene
from monitoring.dashboard.window import KEPT_SECONDS
from monitoring.health.checks import DEGRADED, DOWN, UP, Check

REFRESH_MILLISECONDS = 1000
RANGES = {"last 5 s": 5, "last minute": 60, "last 10 minutes": KEPT_SECONDS}


def layout(model: Model) -> html.Div:
    """Return the layout of the page."""
    return html.Div(
        className="page",
        children=[
            html.Header(
                [
                    html.H1("Container networking lab"),
                    html.Div(id="headline", className="headline", role="status"),
                    dcc.RadioItems(
                        list(RANGES), next(iter(RANGES)), id="range", inline=True, className="range",
                        inputClassName="range-input",
                    ),
                ]
            ),
            html.Main(_sections(model.scene(1))),
            dcc.Interval(id="tick", interval=REFRESH_MILLISECONDS),
            dcc.Store(id="theme", data="light"),
            dcc.Store(id="width", data="wide"),
            dcc.Store(id="chosen"),
            dcc.Store(id="failing", data=[]),
        ],
    )  # fmt: skip


def _sections(scene: Scene) -> list[Any]:
    """Return the map, what was chosen beside drops, balance and diagnosis, and the chart."""
    stack = [_card("Dropped by the policy", "drops"), _card("Load balancer", "balance"), _diagnosis()]
    return [
        html.Section(
            [_map(style.map_height(scene)), _legend()],
            className="card wide map-card",
            title="Map of services",
        ),
        _side([place.name for place in scene.places]),
        html.Div(stack, className="stack"),
        _card("Packets a second, last 10 minutes", "history", "card wide"),
    ]


def _card(title: str, name: str, classes: str = "card") -> html.Section:
    return html.Section([html.H2(title), html.Div(id=name)], className=classes)


def _side(places: list[str]) -> html.Section:
    """Return the choice of a service or flow, and its details."""
    return html.Section(
        [
            html.Div(
                [
                    html.Label("Service", htmlFor="place"),
                    dcc.Dropdown(places, id="place", placeholder="choose, or click on the map"),
                    html.Label("Flow", htmlFor="way"),
                    dcc.Dropdown([], id="way", placeholder="choose, or click on the map"),
                ],
                className="choose",
            ),
            dcc.Loading(html.Div(id="details", className="details"), type="dot", delay_show=300),
        ],
        className="side",
    )  # fmt: skip


def _diagnosis() -> html.Section:
    """Return the panel with the findings of `make diagnose`."""
    words = "Runs when a service is down or degraded, or when you ask."
    button = html.Button("Find the cause", id="ask", n_clicks=0, className="ask")
    result = html.Div(html.P(words, className="faint"), id="diagnosis")
    return html.Section(
        [html.H2("Diagnosis"), button, dcc.Loading(result, type="dot", delay_show=300)],
        className="card diagnosis-card",
    )


def failing(checks: Iterable[Check]) -> list[str]:
    """Return what is down or degraded: diagnose runs by itself only when this changes."""
    return sorted(f"{check.node} {check.state}" for check in checks if check.state != UP)


def diagnosis(found: dict[str, Any]) -> Any:
    """Return the findings of `make diagnose`: cause, evidence, what it breaks, repair."""
    if "error" in found:
        return html.P(found["error"], className="bad")
    if not found["findings"]:
        return html.P(f"No findings ({found['seconds']} s): the lab is as its tables say.", className="good")
    return html.Ol([html.Li(_finding(finding)) for finding in found["findings"]], className="findings")


def _finding(finding: dict[str, Any]) -> list[Any]:
    seen = [
        html.Div([html.Code(evidence["command"]), f" \u2192 {evidence['line']}"])
        for evidence in finding["evidence"]
    ]
    repair = [html.Div(["Repair: ", html.Code(command)]) for command in finding["repair"]]
    return [
        html.Strong(finding["cause"], className="bad"),
        html.Div(f"Breaks: {finding['breaks']}"),
        *seen,
        *repair,
    ]


def map_layout(width: str) -> dict[str, Any]:
    """Return the map's layout; it differs by `width`, so that a change of the width fits the map again."""
    return {"name": "preset", "fit": True, "padding": style.PADDING, "width": width}


def _map(height: int) -> cyto.Cytoscape:
    return cyto.Cytoscape(
        id="map", elements=[], stylesheet=style.style_sheet("light"),
        layout=map_layout("wide"),
        style={"width": "100%", "height": f"{height}px"}, maxZoom=1.4, responsive=True,
        userZoomingEnabled=False, userPanningEnabled=False, boxSelectionEnabled=False,  # the page scrolls
    )  # fmt: skip


def _legend() -> html.Div:
    """Return what the lines of the map mean, and the choice to show heartbeats and checks too."""
    checks = html.Span([html.Span(className="sample check"), "heartbeats, health checks, scrapes"])
    return html.Div(
        [
            html.Span([html.Span(className="sample"), "a flow: the thicker, the more packets"]),
            html.Span([html.Span(className="sample dropped"), "dropped by the policy"]),
            dcc.Checklist(
                [{"label": checks, "value": "checks"}],
                [],
                id="checks",
                inline=True,
                inputClassName="range-input",
            ),
        ],
        className="legend",
    )


def way_options(scene: Scene) -> list[dict[str, str]]:
    """Return the flows that can be chosen."""
    blocked = {f"{flow.source}|{flow.destination}" for flow in scene.blocked}
    ways = {f"{way.source}|{way.destination}" for way in scene.ways}
    return [
        {"value": pair, "label": pair.replace("|", " \u2192 ") + ("  (dropped)" if pair in blocked else "")}
        for pair in sorted(blocked | ways)
    ]


def headline(scene: Scene) -> list[Any]:
    """Return the state of the lab in one line."""
    checked = [(place.name, place.check) for place in scene.places if place.check]
    down = [name for name, check in checked if check.state == DOWN]
    degraded = [f"{name} ({check.why})" for name, check in checked if check.state == DEGRADED]
    dropped = sum(flow.packets for flow in scene.blocked)
    parts: list[Any] = []
    if scene.shop and scene.shop.up:
        parts = ["The shop is open \u00b7 "]
    elif scene.shop:
        parts = [html.Strong(f"The shop is closed: {scene.shop.why}", className="bad"), " \u00b7 "]
    parts.append(
        html.Strong(f"DOWN: {', '.join(down)}", className="bad") if down else f"{len(checked)} services up"
    )
    if degraded:
        parts.append(html.Strong(f" \u00b7 DEGRADED: {', '.join(degraded)}", className="half"))
    parts += [f" \u00b7 {style.amount(sum(way.packets_per_second for way in scene.ways))} packets/s"]
    parts.append(html.Span(f" \u00b7 {dropped} dropped", className="bad" if dropped else ""))
    return [*parts, *(html.Div(trouble, className="bad") for trouble in scene.troubles)]


def balance(scene: Scene) -> Any:
    """Return a bar for each instance's share of the requests."""
    total = scene.balance.total()
    if not total:
        return html.P("No request for products in this time.", className="faint")
    return html.Div(
        [
            html.Div(
                [
                    html.Span(name, className="bar-name"),
                    html.Div(
                        html.Div(style={"width": f"{100 * count / total:.1f}%"}, className="bar"),
                        className="bar-room",
                    ),
                    html.Span(f"{count}  {100 * count / total:.1f} %", className="bar-number"),
                ],
                className="bar-row",
            )
            for name, count in sorted(scene.balance.items())
        ]
    )


def history(points: list[tuple[int, int]], pair: tuple[str, str] | None) -> Any:
    """Return the graph of packets a second, of one pair or of all, over the time that its title names."""
    end = points[-1][0] if points else 0
    figure = {
        "data": [
            {
                "x": [datetime.fromtimestamp(second) for second, _ in points], "y": [packets for _, packets in points],
                "type": "scatter", "mode": "lines", "line": {"color": VERMILION if pair else BLUE, "width": 1.5},
                "fill": "tozeroy", "name": "packets/s",
            }
        ],
        "layout": {
            "height": 150, "margin": {"l": 42, "r": 12, "t": 4, "b": 28}, "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": "#7b8a98", "size": 11},
            "yaxis": {"rangemode": "tozero", "gridcolor": "rgba(128,128,128,0.25)"},
            "xaxis": {
                "gridcolor": "rgba(128,128,128,0.15)",
                "range": [datetime.fromtimestamp(end - KEPT_SECONDS), datetime.fromtimestamp(end)],
            },
        },
    }  # fmt: skip
    title = f"{pair[0]} \u2194 {pair[1]}" if pair else "all of the lab"
    graph = dcc.Graph(figure=figure, config={"displayModeBar": False}, className="graph")
    return [html.P(title, className="faint"), graph]


def packet_path(explanation: dict[str, Any]) -> list[Any]:
    """Return a packet's path hop by hop, its verdict and how to fix it."""
    if "error" in explanation:
        return [html.P(explanation["error"], className="bad")]
    flow, outcome = explanation["flow"], explanation["outcome"]
    port = f"/{flow['port']}" if flow["port"] else ""
    title = f"{flow['source']} \u2192 {flow['destination']} {flow['protocol']}{port}: {outcome['kind']}"
    hops = [
        html.Li(
            [
                html.Strong(hop["where"]),
                f"  {hop['what']}",
                html.Code(hop["shown_by"]) if hop["shown_by"] else "",
            ]
        )
        for hop in explanation["hops"]
    ]
    ending = [html.P([html.Strong("Why: "), f"{outcome['policy_id']} {outcome['why']}".strip()])]
    if outcome["fix"]:
        ending.append(html.P([html.Strong("To change it: "), outcome["fix"]]))
    good = outcome["kind"] == "allowed"
    return [
        html.Div(
            [html.H3(title, className="good" if good else "bad"), html.Ol(hops), *ending],
            id="story",
            className="story",
        )
    ]


def table(rows: Rows) -> html.Div:
    """Return a small table."""
    head = html.Thead(html.Tr([html.Th(heading, scope="col") for heading in rows.headings]))
    body = html.Tbody([html.Tr([html.Td(cell) for cell in row]) for row in rows.cells])
    title = [html.H3(rows.title)] if rows.title else []
    content = html.Table([head, body]) if rows.cells else html.P(rows.empty, className="faint")
    return html.Div([*title, content], className="table")
