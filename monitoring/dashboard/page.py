"""The parts of the page as Dash components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dash_cytoscape as cyto  # type: ignore[import-untyped] # it has no types
from dash import dcc, html

from monitoring.dashboard import charts, grid, panel, parts, style
from monitoring.dashboard.model import Model, Scene
from monitoring.health.checks import DEGRADED, DOWN, UP, Check

REFRESH_MILLISECONDS = 1000
PAIR = 2  # names of a flow


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
                        list(panel.RANGES), next(iter(panel.RANGES)), id="range", inline=True, className="range",
                        inputClassName="range-input",
                    ),
                ]
            ),
            html.Main(_sections(model.scene(1))),
            dcc.Interval(id="tick", interval=REFRESH_MILLISECONDS),
            dcc.Interval(id="slow", interval=panel.SLOW_MILLISECONDS),
            dcc.Store(id="theme", data="light"),
            dcc.Store(id="width", data=grid.WIDE),
            dcc.Store(id="chosen"),
            dcc.Store(id="failing", data=[]),
            dcc.Store(id="found"),
        ],
    )  # fmt: skip


def _sections(scene: Scene) -> list[Any]:
    """Return the map, what was chosen beside drops, balance and diagnosis, and the chart."""
    stack = [
        _card("What happened", "happened"),
        _card("Load balancer", "balance"),
        _card("Dropped by the policy", "drops"),
        _diagnosis(),
    ]
    return [
        html.Section(
            [_map(scene), _legend()],
            className="card wide map-card",
            style={f"--{width}": f"{grid.map_height(scene, width)}px" for width in grid.WIDTHS},
            **{"aria-label": "Map of services"},  # type: ignore[arg-type] # Dash takes any aria-*
        ),
        _side([place.name for place in scene.places]),
        html.Div(stack, className="stack"),
        html.Section(
            [html.H2("Packets a second, last 10 minutes"), charts.graph("history")], className="card wide"
        ),
    ]


def _card(title: str, name: str) -> html.Section:
    return html.Section([html.H2(title), html.Div(id=name)], className="card")


def _side(places: list[str]) -> html.Section:
    """Return the choice of a service or flow, and its panel."""
    return html.Section(
        [
            html.Div(
                [
                    html.Label("Service", htmlFor="place"),
                    dcc.Dropdown(places, id="place", placeholder="choose, or click on the map"),
                    html.Label("Flow", htmlFor="way"),
                    dcc.Dropdown([], id="way", placeholder="choose, or click on the map"),
                    html.Button("All services", id="close", n_clicks=0, className="ask"),
                ],
                className="choose",
            ),
            html.Div(panel.skeleton(()), id="details", className="details"),
        ],
        className="side",
        **{"aria-label": "The chosen service or flow"},  # type: ignore[arg-type] # Dash takes any aria-*
    )


def _diagnosis() -> html.Section:
    """Return the panel with the findings of `make diagnose`."""
    words = "Runs when a service is down or degraded, or when you ask."
    button = html.Button("Find the cause", id={"ask": "page"}, n_clicks=0, className="ask")
    result = html.Div(html.P(words, className="faint"), id="diagnosis")
    return html.Section(
        [html.H2("Diagnosis"), button, dcc.Loading(result, type="dot", delay_show=300)],
        className="card diagnosis-card",
    )


def failing(checks: Iterable[Check]) -> list[str]:
    """Return what is down or degraded: diagnose runs by itself only when this changes."""
    return sorted(f"{check.node} {check.state}" for check in checks if check.state != UP)


def diagnosis(found: dict[str, Any]) -> Any:
    """Return the findings of `make diagnose`, or that there are none."""
    if "error" in found:
        return html.P(found["error"], className="bad")
    if "covered" in found:  # in an exercise
        return html.P(f"Not during the exercise: {found['covered']}.", className="faint")
    if not found["findings"]:
        return html.P(f"No findings ({found['seconds']} s): the lab is as its tables say.", className="good")
    return parts.findings(found["findings"])


def map_layout(scene: Scene, width: str) -> dict[str, Any]:
    """Return the map's layout; it differs by `width`, so that a change of the width fits the map again."""
    return {"name": "preset", "fit": True, "padding": grid.grid_of(scene, width).padding, "width": width}


def _map(scene: Scene) -> cyto.Cytoscape:
    return cyto.Cytoscape(
        id="map", elements=[], stylesheet=style.style_sheet("light"),
        layout=map_layout(scene, grid.WIDE), style={"width": "100%"}, maxZoom=grid.MAX_ZOOM, responsive=True,
        userZoomingEnabled=False, userPanningEnabled=False, boxSelectionEnabled=False,  # the page scrolls
        autounselectify=True,  # `chosen` marks the choice
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


def way_options(scene: Scene, chosen: Sequence[str]) -> list[dict[str, str]]:
    """Return the flows that can be chosen; the chosen one stays in the list when it is quiet."""
    blocked = {f"{flow.source}|{flow.destination}" for flow in scene.blocked}
    ways = {f"{way.source}|{way.destination}" for way in scene.ways}
    kept = {"|".join(chosen)} if len(chosen) == PAIR else set()
    return [
        {"value": pair, "label": pair.replace("|", " \u2192 ") + ("  (dropped)" if pair in blocked else "")}
        for pair in sorted(blocked | ways | kept)
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
    if not scene.balance:
        return html.P("No instance of the product service.", className="faint")
    return [_share(name, count, total) for name, count in scene.balance.items()]


def _share(name: str, count: int, total: int) -> html.Div:
    percent = 100 * count / total if total else 0.0
    bar = html.Div(style={"width": f"{percent:.1f}%"}, className="bar" if count else "")
    return html.Div(
        [
            html.Span(name, className="bar-name"),
            html.Div(bar, className="bar-room"),
            html.Span(f"{count}  {percent:.1f} %", className="bar-number"),
        ],
        className="bar-row",
    )
